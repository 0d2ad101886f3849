"""Clocks: the one place from which the runtime learns the time.

Everything above takes its time from a `Clock`, so that a test or a simulator can
put a virtual one there. Readings are seconds since the Unix epoch, and they
never go backwards: they advance with the event loop's monotonic clock, so a
correction of the system's clock does not fire or lose a deadline. That clock
stands still while the machine sleeps; `LoopClock.take_in_sleep` adds that time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Clock", "LoopClock", "seconds_asleep", "stopwatch"]

_NOTICED = 0.5
"""A sleep shorter than so many seconds is not told from two clocks that were not read at once."""


class Clock(Protocol):
    """Seconds since the Unix epoch, never decreasing."""

    def now(self) -> float:
        """The present moment."""
        ...


class LoopClock:
    """A clock that advances with an event loop.

    On a loop that carries an ``epoch`` (a virtual-clock loop does) readings start there, so
    that two runs read the same times; on any other loop they start at the system's time.
    """

    __slots__ = ("_asleep", "_loop_time", "_offset")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        epoch: float | None = getattr(loop, "epoch", None)
        plain = type(loop).time is asyncio.BaseEventLoop.time
        self._loop_time = time.monotonic if plain else loop.time  # the same, two calls shorter
        self._offset = epoch if epoch is not None else time.time() - loop.time()
        self._asleep = seconds_asleep() if epoch is None else None

    def now(self) -> float:
        """The present moment."""
        return self._offset + self._loop_time()

    def take_in_sleep(self) -> float:
        """Add the time for which the machine has slept since the last call, and return it, in seconds.

        It is 0 on a loop that carries an ``epoch``, and where the system cannot tell a sleep from a corrected clock.
        """
        if self._asleep is None:
            return 0.0
        slept = seconds_asleep() - self._asleep
        if slept < _NOTICED:
            return 0.0
        self._asleep += slept
        self._offset += slept
        return slept


def seconds_asleep() -> float:
    """How long the machine has slept since it was started, in seconds; 0 where the system does not say (not Linux)."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


def stopwatch(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """What measures, in seconds, how long a step of ``loop`` takes.

    The loop's own time will not do: uvloop reads it once a pass. On a loop that carries an ``epoch`` steps take none.
    """
    return time.monotonic if getattr(loop, "epoch", None) is None else loop.time
