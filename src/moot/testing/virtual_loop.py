"""A virtual clock: an event loop on which time passes only when nothing else happens.

When every task waits for a timer, the clock jumps to it, so an hour of timeouts takes
no time and always the same one. When every task waits and no timer is set, nothing
can ever happen again, and the loop says so at once instead of hanging.
Blocking functions run in place, because a thread would have a clock of its own.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["EPOCH", "Stalled", "VirtualClockLoop", "done_in_place", "run"]

T = TypeVar("T")

EPOCH = 1_700_000_000.0


class Stalled(RuntimeError):
    """Everything waits, and no timer is set: nothing will ever happen again."""

    def __str__(self) -> str:
        return (
            "every task waits and no timer is set, so nothing can happen any more; "
            "something awaits an answer, an event or real I/O that nobody will bring"
        )


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock starts at 0 and jumps to the next timer. ``epoch`` is what it reads as a date."""

    epoch = EPOCH

    def __init__(self) -> None:
        self._virtual_time = 0.0
        super().__init__(_JumpingSelector(self))
        # A timer is due when it is less than this ahead; added to a time of months, a nanosecond would be nothing.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual_time

    def jump(self, seconds: float) -> None:
        """Let virtual time pass."""
        self._virtual_time += seconds

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Run ``func`` in place and return its outcome as a done future."""
        return done_in_place(self.create_future(), func, *args)


class _JumpingSelector(selectors.SelectSelector):
    """Looks for real I/O without waiting, and lets virtual time pass instead of waiting."""

    def __init__(self, loop: VirtualClockLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            raise Stalled
        self._loop.jump(timeout)
        return []


def done_in_place(future: asyncio.Future[T], func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
    """Call ``func`` at once and put its outcome into ``future``: an executor without a thread."""
    try:
        future.set_result(func(*args))
    except Exception as error:
        future.set_exception(error)
    return future


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a virtual clock, as `asyncio.run` does on a real one."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(main)
