"""Gathering: several asks awaited at once, all of them or as many as are needed.

Unlike `asyncio.gather` it makes no task for each, withdraws what is no longer waited for, and tells the deadlock
detector who waits for whom.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal, TypeVar, overload

from moot.asks import Ask
from moot.errors import QuorumFailed

__all__ = ["gather"]

R = TypeVar("R")


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

    Without ``quorum``: all answers, in the order of the asks; the first failure is raised and the rest
    are withdrawn, or, with ``return_exceptions``, stands in the place of its answer. With ``quorum``: as soon as
    that many have answered, their answers, in the order of the asks; the rest are withdrawn.

    Raises:
        QuorumFailed: too many failed for ``quorum`` answers to be had.
        ValueError: ``quorum`` is not between 1 and the number of asks, or an ask is there more than once.
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
            await _all_done(asks, finished) if needed == len(asks) else await finished
    finally:
        for ask in asks:
            if not ask.done:
                ask.cancel()
    if return_exceptions:
        return [ask.error if ask.error is not None else ask.answer for ask in asks]
    if len(answered) < needed:
        errors = [ask.error for ask in failed if ask.error is not None]
        raise errors[0] if quorum is None else QuorumFailed(quorum, len(asks), errors)
    return [ask.answer for ask in asks if ask.error is None]


def _check_gathered(asks: Sequence[Ask[Any]], quorum: int | None, *, return_exceptions: bool) -> None:
    if quorum is not None and (return_exceptions or not 1 <= quorum <= len(asks)):
        raise ValueError(f"a quorum of {quorum} cannot be had from {len(asks)} asks, nor with return_exceptions")
    if len(set(asks)) < len(asks):
        raise ValueError("an ask is gathered more than once; make one for each answer that is wanted")


async def _all_done(asks: Sequence[Ask[Any]], finished: asyncio.Future[None]) -> None:
    """Wait for all asks, and say so if that takes longer than a pass of the loop."""
    await asyncio.sleep(0)
    if finished.done():
        return
    table = next((ask.table for ask in asks if ask.table is not None), None)
    watch = table.waits if table is not None else None
    wait = watch.begin(asks) if watch is not None else None
    try:
        await finished
    finally:
        if watch is not None and wait is not None:
            watch.end(wait)
