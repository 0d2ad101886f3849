"""A call in a worker thread whose chunks are read in the event loop.

llama.cpp hands out an answer by calling back from a foreign thread. This is the
one place where the two sides meet: the thread appends and wakes the loop, the
loop drains and may raise a flag that the thread's next callback returns.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from moot.engine.errors import EngineError

__all__ = ["ThreadCall"]

OnChunk = Callable[[Mapping[str, Any]], bool]


class ThreadCall:
    """One request's bridge from its worker thread to the event loop.

    The buffer holds at most ``max_tokens`` chunks, and at most one wake-up of the loop is under way.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.is_cancelled = False
        self.is_over = False
        self._loop = loop
        self._chunks: deque[Mapping[str, Any]] = deque()
        self._arrived = asyncio.Event()
        self._is_notified = False
        self._is_finished = False

    def run(self, handle: Callable[[Mapping[str, Any], OnChunk], None], body: Mapping[str, Any]) -> None:
        """In the worker thread: the whole request, by a function that calls back with each chunk."""
        try:
            if not self.is_cancelled:
                handle(body, self._on_chunk)
        except ValueError as error:  # how the library reports a request that it cannot parse
            self._chunks.append({"error": {"code": 400, "message": str(error)}})
        except Exception as error:  # noqa: BLE001 - the waiting coroutine is told
            self._chunks.append({"error": {"code": 500, "message": f"{type(error).__name__}: {error}"}})
        self._is_finished = True
        self._notify()

    def fail(self, error: EngineError) -> None:
        """In the event loop: end the request with ``error``."""
        self.is_cancelled = True
        self._chunks.append({"error": error})
        self._arrived.set()

    async def wait_chunks(self) -> list[Mapping[str, Any]]:
        """What has arrived since the last call; waits until there is something."""
        await self._arrived.wait()
        self._arrived.clear()
        self._is_notified = False
        self.is_over = self._is_finished  # read before the chunks: nothing is appended once it is set
        chunks = []
        while self._chunks:
            chunks.append(self._chunks.popleft())
        return chunks

    def _on_chunk(self, chunk: Mapping[str, Any]) -> bool:
        if not self.is_cancelled and "prompt_progress" not in chunk:
            self._chunks.append(chunk)
            self._notify()
        return self.is_cancelled

    def _notify(self) -> None:
        if self._is_notified:
            return
        self._is_notified = True
        try:
            self._loop.call_soon_threadsafe(self._arrived.set)
        except RuntimeError:  # the loop is closed, so nobody waits any more
            self.is_cancelled = True
