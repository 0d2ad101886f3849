"""At once: the request of an ask is handled in the step of the task that awaits it.

Most handlers answer without waiting for anything. Then neither the asker nor the agent needs a
pass of the event loop. The visit that the ready queue would bring is driven from here, on a
parked runner: in the runner's context, and with the runner's task as the current one, so that
everything which needs a task works in the handler. When the visit waits for something, the runner
goes on with it, and the asker waits as for any other ask.

It is done only where nobody can tell the difference but by the clock. The agent is idle, so
nothing is overtaken. The stack is shallow, so the turn has as much of it as it may need. After
some visits, or a millisecond, the next ask goes through the queue, so that the loop makes a pass
and nothing else starves. The walk of a request is otherwise the same: there is one kind of visit.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from moot.clock import stopwatch
from moot.runtime.dispatch.runner import Rest
from moot.runtime.phase import ACTIVE
from moot.runtime.stack import check_headroom, is_deep

if TYPE_CHECKING:
    from moot.messaging.message import AgentMessage
    from moot.runtime.cell import Cell
    from moot.runtime.dispatch.pool import RunnerPool

__all__ = ["AtOnce", "at_once_for"]

_MOST_NESTED = 16
_VISITS_PER_PASS = 64
_SECONDS_PER_PASS = 0.001
_HEADROOM = 60
"""Frames that delivering a request may need."""

_log = logging.getLogger("moot.runtime.dispatch.at_once")


class AtOnce:
    """Handles requests at once. ``time()`` measures how long the loop has made no pass, in seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pool: RunnerPool, time: Callable[[], float]) -> None:
        self._loop = loop
        self._pool = pool
        self._time = time
        self._nested = 0
        self._left = _VISITS_PER_PASS
        self._until = 0.0

    def handle(self, cell: Cell, message: AgentMessage) -> bool:
        """Handle ``message``, for whose answer the present task waits. Whether that was begun; if not, deliver it.

        Raises:
            RecursionError: the stack is too deep to deliver it. Nothing has happened.
        """
        mailbox, loop = cell.mailbox, self._loop
        if (
            cell.queued
            or cell.running >= cell.concurrency
            or mailbox.items
            or cell.lanes is not None
            or cell.limits is not None
            or cell.starting
            or cell.phase is not ACTIVE
            or self._nested >= _MOST_NESTED
            or sys.exception() is not None  # the handler would have it for its own
        ):
            return False
        if is_deep():
            check_headroom(_HEADROOM)
            return False
        task = asyncio.current_task(loop)
        if task is None or task.cancelling() or sys.exception() is not None or not self._has_time():
            return False  # a cancelled asker is to be told where it waits, and its error is none of the handler's
        runner = self._pool.lend()
        if runner is None:
            return False
        runner.cell = cell
        own: Any = runner.task
        mailbox.offer(message)
        visit = self._pool.run(cell, runner, 1)
        self._nested += 1
        _leave_task(loop, task)
        _enter_task(loop, own)
        try:
            waits_for = runner.context.run(visit.send, None)
        except StopIteration:
            self._pool.take_back(runner)
        except BaseException as error:
            runner.failure = error
            self._pool.resume(runner)
        else:
            runner.rest = Rest(visit, waits_for)
            self._pool.resume(runner)
        finally:
            _leave_task(loop, own)
            _enter_task(loop, task)
            self._nested -= 1
        return True

    def _has_time(self) -> bool:
        """Whether the loop can wait for one more visit before it makes a pass."""
        left = self._left
        if left == _VISITS_PER_PASS:
            self._loop.call_soon(self._passed)
            self._until = self._time() + _SECONDS_PER_PASS
        elif left == 0 or self._time() >= self._until:
            return False
        self._left = left - 1
        return True

    def _passed(self) -> None:
        self._left = _VISITS_PER_PASS


def at_once_for(loop: asyncio.AbstractEventLoop, pool: RunnerPool) -> AtOnce | None:
    """What handles requests at once on ``loop``; None where asyncio does not let one task work for another.

    On a virtual clock no time passes while handlers run, and there the number of visits decides alone.
    """
    if not _can_swap_tasks(loop):
        _log.warning("asyncio's hooks for other implementations of tasks have changed; asks take the ready queue")
        return None
    return AtOnce(loop, pool, stopwatch(loop))


def _can_swap_tasks(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether `_enter_task` and `_leave_task` do what asyncio's documentation of "Extending" says."""
    if _enter_task is None or _leave_task is None:
        return False
    other: Any = object()
    try:
        task = asyncio.current_task(loop)
        if task is not None:
            _leave_task(loop, task)
        try:
            _enter_task(loop, other)
            is_swapped = asyncio.current_task(loop) is other
            _leave_task(loop, other)
        finally:
            if task is not None:
                _enter_task(loop, task)
        return is_swapped and asyncio.current_task(loop) is task
    except (TypeError, RuntimeError, AttributeError):
        return False


_enter_task: Any = getattr(asyncio, "_enter_task", None)
_leave_task: Any = getattr(asyncio, "_leave_task", None)
