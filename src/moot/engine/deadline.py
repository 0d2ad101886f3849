"""Deadlines: turn a request's absolute deadline into a typed timeout around one wait.

A deadline is absolute and in seconds of the runtime's clock, so that it can be
handed down unchanged; only at the moment of waiting does it become a duration.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from moot.clock import Clock, LoopClock
from moot.engine.errors import EngineTimeout

__all__ = ["RunningLoopClock", "before_deadline"]


class RunningLoopClock:
    """The `LoopClock` of whichever event loop is running: for engines, which are made before there is one."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clock: Clock | None = None

    def now(self) -> float:
        """The present moment."""
        loop = asyncio.get_running_loop()
        if self._clock is None or self._loop is not loop:
            self._loop, self._clock = loop, LoopClock(loop)
        return self._clock.now()


@contextlib.asynccontextmanager
async def before_deadline(deadline: float | None, clock: Clock, engine: str) -> AsyncIterator[None]:
    """Run the body; raise `EngineTimeout` when ``deadline`` (of ``clock``) passes first."""
    if deadline is None:
        yield
        return
    left = max(0.0, deadline - clock.now())
    try:
        async with asyncio.timeout(left) as timer:
            yield
    except TimeoutError as error:
        if not timer.expired():
            raise
        raise EngineTimeout(engine, left) from error
