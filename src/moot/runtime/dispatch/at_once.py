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
import inspect
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from moot.clock import stopwatch
from moot.runtime.dispatch.runner import Rest
from moot.runtime.phase import ACTIVE
from moot.runtime.stack import is_deep

if TYPE_CHECKING:
    from moot.agent.ask import Ask
    from moot.messaging.mailbox import Mailbox
    from moot.messaging.message import AgentMessage
    from moot.runtime.cell import Cell
    from moot.runtime.dispatch.pool import RunnerPool
    from moot.runtime.dispatch.runner import Runner, Visit

__all__ = ["AtOnce", "at_once_for"]

_MOST_NESTED = 16
_VISITS_PER_PASS = 64
_SECONDS_PER_PASS = 0.001

_log = logging.getLogger("moot.runtime.dispatch.at_once")


class AtOnce:
    """Handles requests at once. ``time()`` measures how long the loop has made no pass, in seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pool: RunnerPool, time: Callable[[], float]) -> None:
        self._loop = loop
        self._pool = pool
        self._time = time
        self._nested = 0
        self._asker: asyncio.Task[Any] | None = None
        """The task whose step it is; None until the first ask of a pass."""
        self._askers = self._visits = 0
        self._is_late = False
        self._share = self._left = _VISITS_PER_PASS
        self._until = 0.0

    def handle(self, ask: Ask[Any], cell: Cell, message: AgentMessage) -> bool:  # noqa: PLR0915 - calls would cost 3 %
        """Handle ``message``, the request of ``ask``, which the present task awaits; whether that was begun."""
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
            or sys.exception() is not None  # the asker handles an error, which would be the handler's, too
            or is_deep()
        ):
            return False
        task = asyncio.current_task(loop)
        if not isinstance(task, asyncio.Task) or task.cancelling():  # who is cancelled is to be told so where it asks
            return False
        if task is not self._asker and self._nested == 0:
            self._begin_share(task)
        if self._left == 0:
            return False
        if self._time() >= self._until:
            self._is_late = True
            return False
        runner = self._pool.lend()
        if runner is None:
            return False
        self._left -= 1
        self._visits += 1
        self._nested += 1
        runner.cell = cell
        own: Any = runner.task
        mailbox.offer(message)
        visit = self._pool.run(cell, runner, 1)
        _leave_task(loop, task)
        _enter_task(loop, own)
        try:
            waits_for = runner.context.run(visit.send, None)
        except StopIteration:
            self._pool.take_back(runner)
        except BaseException as error:
            if inspect.getcoroutinestate(visit) == inspect.CORO_CREATED:
                return self._unbegun(runner, visit, mailbox, message)
            runner.failure = error  # it ends the runner, as if the runner had run the visit
            self._resume(runner)
        else:
            ask.is_begun = True
            runner.rest = Rest(visit, waits_for)
            self._resume(runner)
        finally:
            _leave_task(loop, own)
            _enter_task(loop, task)
            self._nested -= 1
        if task.cancelling():
            ask.gives_way = True
        return True

    def _resume(self, runner: Runner) -> None:
        """The runner has the rest of a visit to go on with, or a failure to end with; it is watched from now on."""
        if self._pool.woken is not None:
            self._pool.woken()
        runner.open()

    def _begin_share(self, task: asyncio.Task[Any]) -> None:
        """``task`` asks for the first time in this step.

        What several tasks ask in one pass they share: in the next, each may have as much handled as the others.
        """
        if self._asker is None:
            self._loop.call_soon(self._passed)
            self._until = self._time() + _SECONDS_PER_PASS
        self._asker = task
        self._askers += 1
        self._left = self._share

    def _passed(self) -> None:
        enough = self._visits if self._is_late else _VISITS_PER_PASS
        self._share = max(1, enough // self._askers)
        self._askers = self._visits = 0
        self._is_late = False
        self._asker = None

    def _unbegun(self, runner: Runner, visit: Visit, mailbox: Mailbox, message: AgentMessage) -> Literal[False]:
        """The visit could not begin: a task that shares the context of ``runner`` is in it."""
        visit.close()
        mailbox.withdraw(message)
        self._pool.retire(runner)
        return False


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
