"""Gather: several asks are awaited at once; all of them, as many as are needed, or each as it ends.

Unlike asyncio's ways it makes no task for each ask, and it withdraws asks that are no longer
waited for. The deadlock detector is told which turn waits for which asks, where that is known.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Generic, Literal, Self, TypeVar, overload

from moot.agent.ask import Ask
from moot.errors import CoordinationError, Factual

__all__ = ["AskGroup", "QuorumFailed", "gather"]

R = TypeVar("R")


class QuorumFailed(Factual, CoordinationError):
    """Too many asks failed for the quorum to be reached; ``errors`` holds why."""

    quorum: int
    asked: int
    errors: tuple[BaseException, ...]

    def __str__(self) -> str:
        first = f"; the first failure: {self.errors[0]}" if self.errors else ""
        return (
            f"{len(self.errors)} of {self.asked} asks failed, so {self.quorum} answers cannot be had{first}; "
            "ask more agents or lower the quorum"
        )


class AskGroup(Generic[R]):
    """Asks that are told as they end, in the order in which they do; more may be added meanwhile.

        with AskGroup() as group:
            for agent in agents:
                group.add(ctx.ask(agent, question))
            async for ask in group:
                …  # ask.error is why it failed, or None; ask.answer

    The iteration ends when none is under way. Leaving the block withdraws those that still are.
    """

    def __init__(self) -> None:
        self._under_way: dict[Ask[R], None] = {}
        self._fresh: list[Ask[R]] = []
        self._ended: deque[Ask[R]] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        """How many asks are under way, or have ended and were not handed out."""
        return len(self._under_way) + len(self._ended)

    def add(self, ask: Ask[R]) -> None:
        """Send the request of an ask, and hand the ask out when it ends."""
        self._under_way[ask] = None
        if not ask.started:
            ask.start()
        if not ask.done:
            if not self._fresh:  # most answers come within one pass of the loop, before a deadline need be watched
                asyncio.get_running_loop().call_soon(self._watch)
            self._fresh.append(ask)
        ask.when_done(self._done)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for ask in [*self._under_way]:
            ask.cancel()
        self._fresh.clear()
        self._ended.clear()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Ask[R]:
        await self._any()
        if not self._ended:
            raise StopAsyncIteration
        return self._ended.popleft()

    async def ended(self) -> list[Ask[R]]:
        """All asks that have ended and were not handed out, as soon as there is one; none when none is under way.

        For many asks that end together this costs less than the iteration.
        """
        await self._any()
        told = list(self._ended)
        self._ended.clear()
        return told

    async def _any(self) -> None:
        """Return when an ask has ended, or none is under way."""
        if not self._ended and self._under_way:
            await asyncio.sleep(0)  # a pass of the loop costs less than a future
        while not self._ended and self._under_way:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def _watch(self) -> None:
        """Let the deadlines count, for asks that were not answered within a pass of the loop."""
        for ask in self._fresh:
            ask.watch()
        self._fresh.clear()

    def _done(self, ask: Ask[R]) -> None:
        self._under_way.pop(ask, None)
        self._ended.append(ask)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


@overload
async def gather(
    asks: Sequence[Ask[R]], quorum: int | None = None, *, return_exceptions: Literal[False] = False
) -> list[R]: ...
@overload
async def gather(asks: Sequence[Ask[R]], *, return_exceptions: Literal[True]) -> list[R | BaseException]: ...
@overload
async def gather(
    asks: Sequence[Ask[R]], quorum: int | None = None, *, return_exceptions: bool
) -> list[R] | list[R | BaseException]: ...
async def gather(
    asks: Sequence[Ask[R]], quorum: int | None = None, *, return_exceptions: bool = False
) -> list[R] | list[R | BaseException]:
    """Await several asks at once.

    Without ``quorum``: all answers, in the order of the asks. The first failure is raised, and the other asks are
    withdrawn. With ``return_exceptions`` each failure stands in the place of its answer. With ``quorum``: as soon as
    that many asks are answered, their answers, in the order of the asks. The other asks are withdrawn.

    Raises:
        QuorumFailed: too many asks failed for ``quorum`` answers to be had. ValueError: ``quorum`` is not between 1 and
        the number of asks, or an ask is there more than once.
    """
    _check_gathered(asks, quorum, return_exceptions=return_exceptions)
    needed = len(asks) if quorum is None else quorum
    spare = len(asks) if return_exceptions else len(asks) - needed  # how many may fail
    answered: list[Ask[R]] = []
    failed: list[Ask[R]] = []
    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(ask: Ask[R]) -> None:
        if finished.done():
            return
        (answered if ask.error is None else failed).append(ask)
        if len(answered) >= needed or len(failed) > spare or len(answered) + len(failed) == len(asks):
            finished.set_result(None)

    try:
        for ask in asks:
            if not ask.started:
                ask.start()
            ask.when_done(done)
        if needed and not finished.done():
            await _wait(asks, finished, for_all=needed == len(asks), fails_fast=not return_exceptions)
    finally:
        for ask in asks:
            if not ask.done:
                ask.cancel()
    if return_exceptions:
        return [ask.error if ask.error is not None else ask.answer for ask in asks]
    if len(answered) < needed:
        errors = [ask.error for ask in failed if ask.error is not None]
        raise errors[0] if quorum is None else QuorumFailed(quorum, len(asks), tuple(errors))
    return [ask.answer for ask in asks if ask.error is None]


def _check_gathered(asks: Sequence[Ask[Any]], quorum: int | None, *, return_exceptions: bool) -> None:
    if quorum is not None and (return_exceptions or not 1 <= quorum <= len(asks)):
        raise ValueError(f"a quorum of {quorum} cannot be had from {len(asks)} asks, nor with return_exceptions")
    if len(set(asks)) < len(asks):
        raise ValueError("an ask is gathered more than once; make one for each answer that is wanted")


async def _wait(asks: Sequence[Ask[Any]], finished: asyncio.Future[None], *, for_all: bool, fails_fast: bool) -> None:
    """Wait until ``finished``. After a pass of the loop deadlines count.

    With ``for_all`` the deadlock detector is told then, too.
    """
    await asyncio.sleep(0)
    if finished.done():
        return
    for ask in asks:
        ask.watch()
    table = next((ask.table for ask in asks if ask.table is not None), None) if for_all else None
    watch = table.waits if table is not None else None
    wait = watch.begin(asks, fails_fast=fails_fast) if watch is not None else None
    try:
        await finished
    finally:
        if watch is not None and wait is not None:
            watch.end(wait)
