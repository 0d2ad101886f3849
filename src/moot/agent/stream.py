"""Streams: the pieces of an answer while it is made, and the answer.

A piece is what the handler passes to ``ctx.progress``. It is not part of the turn: it leaves at
once, and stays when the turn is rolled back. So each piece says which run of the handler made
it. If a reader is too slow, the oldest pieces are lost, and memory is not used up. The answer
itself is never lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import msgspec

from moot.agent.ask import Ask

__all__ = ["Piece", "Stream"]

R = TypeVar("R")


class Piece(msgspec.Struct, frozen=True):
    """One piece, from the run number ``attempt`` of the handler."""

    content: Any
    attempt: int


class Stream(Generic[R]):
    """Iterate over the pieces, then ``await stream.reply()``. Leaving ``async with`` early withdraws the ask.

    ``lost`` counts pieces that came faster than they were read.
    """

    def __init__(self, ask: Ask[R], *, capacity: int = 1024) -> None:
        self._ask = ask
        self._pieces: deque[Piece] = deque(maxlen=capacity)
        self._changed = asyncio.Event()
        self.lost = 0
        ask.on_progress = self._arrived
        ask.when_done(lambda done: self._changed.set())
        ask.start()
        ask.watch()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        return (await self.next_piece()).content

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ask.cancel()

    async def next_piece(self) -> Piece:
        """The next piece with its attempt. Raises `StopAsyncIteration` after the last."""
        while not self._pieces:
            if self._ask.done:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._pieces.popleft()

    async def reply(self) -> R:
        """The answer. Raises the error of the ask."""
        return await self._ask

    def _arrived(self, content: Any, attempt: int) -> None:
        if len(self._pieces) == self._pieces.maxlen:
            self.lost += 1
        self._pieces.append(Piece(content, attempt))
        self._changed.set()
