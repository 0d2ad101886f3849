"""The simulated loop: an event loop without a selector, on which a seed decides who goes next.

Asyncio promises that plain callbacks run in the order in which they were scheduled,
and promises nothing about the order of tasks. So callbacks stay first in, first out,
and of the tasks that could go on the seed picks one: what a program may not rely on
is what the simulation varies. Time passes only when nothing can go on; it jumps to
the next timer, and if there is none the loop says `Stalled`.

Two runs of one seed are the same run. Tasks and futures are hashed by the order of
their creation, so that a set of them is iterated in the same order in every process;
threads are refused, blocking functions run in place, and the garbage collector runs
at counted steps, because what it finalizes would otherwise join in at a random moment.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import math
import random
import threading
from collections import deque
from collections.abc import Callable
from itertools import count
from types import BuiltinFunctionType, MethodType
from typing import Any, TypeVar

from moot.testing.virtual_loop import EPOCH, Stalled, done_in_place

__all__ = ["Livelock", "SimulatedLoop"]

T = TypeVar("T")

_MOST_STEPS_AT_ONCE = 250_000
_STEPS_PER_COLLECTION = 1 << 16
_STEP_NAMES = frozenset(["task_wakeup", "__step", "__wakeup", "TaskWakeupMethWrapper"])


class Livelock(RuntimeError):
    """Something is always ready, and time cannot pass."""

    def __str__(self) -> str:
        return (
            f"{_MOST_STEPS_AT_ONCE:,} steps were made without a moment passing; something goes round in a circle: "
            "let it wait for something, or end"
        )


class SimulatedTask(asyncio.Task[Any]):
    """A task that is hashed by its number."""

    def __init__(self, number: int, coro: Any, **settings: Any) -> None:
        self._number = number  # before all else: asyncio keeps tasks in a set from their beginning
        super().__init__(coro, **settings)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimulatedFuture(asyncio.Future[Any]):
    """A future that is hashed by its number."""

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimulatedLoop(asyncio.BaseEventLoop):
    """An event loop whose clock starts at 0 and whose order of tasks is drawn from ``choice``.

    ``jumping()`` is called whenever nothing can go on and time is about to pass.
    """

    epoch = EPOCH
    # What asyncio's own `_run_once` works on, since Python 3.4: this loop is that method, written anew.
    _ready: deque[Any]
    _scheduled: list[Any]
    _stopping: bool

    def __init__(self, choice: random.Random) -> None:
        super().__init__()
        self._virtual_time = 0.0
        self._clock_resolution = 1e-6
        self._draw = choice.random
        self._numbers = count(1)
        self._callbacks: deque[Any] = deque()
        self._steps: list[Any] = []
        self._made = self._made_before = 0
        self._thread = threading.get_ident()
        self._is_step: Callable[[Any], bool] = _is_step
        self.jumping: Callable[[], None] | None = None
        self.set_task_factory(self._new_task)

    @property
    def steps(self) -> int:
        """Steps made so far."""
        return self._made

    @property
    def next_timer(self) -> float:
        """When the next timer is due, or a cancelled one would have been."""
        return self._scheduled[0].when() if self._scheduled else math.inf

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual_time

    @property
    def has_more(self) -> bool:
        """Whether anything is ready, or a timer is set."""
        is_ready = self._ready or self._callbacks or self._steps
        return bool(is_ready) or any(not timer.cancelled() for timer in self._scheduled)

    def create_future(self) -> asyncio.Future[Any]:
        """A future with a hash of its own."""
        return SimulatedFuture(next(self._numbers), self)

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.Handle:
        """As `call_soon`; from another thread it is an error."""
        if threading.get_ident() != self._thread:
            raise RuntimeError(
                "a thread called into a simulation, and no seed can repeat when it did; "
                "use ctx.run_sync, which runs in place here"
            )
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Run ``func`` in place and return its outcome as a done future."""
        return done_in_place(self.create_future(), func, *args)

    def _new_task(self, loop: asyncio.AbstractEventLoop, coro: Any, **settings: Any) -> asyncio.Task[Any]:
        number = next(self._numbers)
        settings.setdefault("name", f"task {number}")
        return SimulatedTask(number, coro, loop=loop, **settings)

    def _run_once(self) -> None:
        """Let one of what is ready go on; if nothing is, let time pass."""
        ready, steps, callbacks = self._ready, self._steps, self._callbacks
        while ready:
            handle = ready.popleft()
            callback = handle._callback
            if callback is not None:  # (None: it was cancelled)
                (steps if self._is_step(callback) else callbacks).append(handle)
        if callbacks and (not steps or self._draw() < 0.5):
            handle = callbacks.popleft()
        elif steps:
            index = int(self._draw() * len(steps)) if len(steps) > 1 else 0
            handle = steps[index]
            steps[index] = steps[-1]
            steps.pop()
        else:
            self._let_time_pass()
            return
        if not handle._cancelled:
            handle._run()
        self._made += 1
        if self._made % _STEPS_PER_COLLECTION == 0:
            gc.collect()
            if self._made - self._made_before >= _MOST_STEPS_AT_ONCE:
                raise Livelock

    def _let_time_pass(self) -> None:
        timers = self._scheduled
        if self.jumping is not None:
            self.jumping()
            if self._ready:
                return
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        if not timers:
            if self._stopping:
                return
            raise Stalled
        self._made_before = self._made
        self._virtual_time = max(self._virtual_time, timers[0].when())
        due = self._virtual_time + self._clock_resolution
        while timers and timers[0].when() < due:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            if not timer._cancelled:
                self._ready.append(timer)

    def _timer_handle_cancelled(self, handle: Any) -> None:
        """A cancelled timer stays in the heap until it would be due."""

    def _process_events(self, event_list: Any) -> None:
        """There is no I/O."""

    def _write_to_self(self) -> None:
        """There is no selector to wake."""


def _is_step(callback: Any) -> bool:
    """Whether a scheduled callback is the next step of a task: its start, or its wakeup by a future."""
    kind = callback.__class__
    if kind is MethodType or kind is BuiltinFunctionType:
        return callback.__name__ in _STEP_NAMES and isinstance(callback.__self__, asyncio.Task)
    return bool(kind.__name__ == "TaskStepMethWrapper")
