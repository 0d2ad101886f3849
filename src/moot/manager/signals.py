"""Signals: Ctrl-C and SIGTERM as something to await."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from types import FrameType
from typing import Any

__all__ = ["StopSignals", "stop_signal"]


class StopSignals:
    """Counts the stop signals that came."""

    def __init__(self) -> None:
        self._first = asyncio.Event()
        self._second = asyncio.Event()

    def came(self) -> None:
        """Count one more signal."""
        (self._second if self._first.is_set() else self._first).set()

    def give_way(self) -> None:
        """The stop came from elsewhere, so `wait` for no signal any more."""
        self._first.set()

    async def wait(self) -> None:
        """Return at the first signal."""
        await self._first.wait()

    async def unless_repeated(
        self, stopping: Coroutine[Any, Any, None], abort: Callable[[], Awaitable[object]]
    ) -> None:
        """Await ``stopping``. If a second signal comes meanwhile, call ``abort`` to end it sooner."""
        ends = asyncio.ensure_future(stopping)
        again = asyncio.ensure_future(self._second.wait())
        try:
            await asyncio.wait({ends, again}, return_when=asyncio.FIRST_COMPLETED)
            if not ends.done():
                await abort()
            await ends
        finally:
            again.cancel()


@contextlib.contextmanager
def stop_signal() -> Iterator[StopSignals]:
    """Catch SIGINT and SIGTERM inside the block, and put the earlier handlers back after it.

    Outside the main thread signals cannot be caught, so the block never sees one.
    """
    loop = asyncio.get_running_loop()
    signals = StopSignals()
    before: dict[signal.Signals, Any] = {}

    def handler(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(signals.came)

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, handler)
    except ValueError:
        before.clear()
    try:
        yield signals
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)
