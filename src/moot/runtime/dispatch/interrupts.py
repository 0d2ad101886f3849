"""Interrupts: how a turn under way is ended from outside, and what happens when it does not end.

A turn is interrupted when its asker no longer waits (if its agent says so), when it
runs longer than its agent allows, or when its agent is restarted. Interrupting means
cancelling the runner's task for a reason that the rollback finds there. A handler may
swallow its cancellation; after ``patience`` seconds it is abandoned with its runner.

Most turns end at once, so none pays for being watched: run timeouts are found by a
look at the runners every eighth of the timeout, as long as there is one to look at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from moot.clock import Clock
from moot.errors import AgentStopped, TurnTimeout
from moot.resilience.deadlines import DeadlineWheel

if TYPE_CHECKING:
    from moot.agent.context import AgentContext
    from moot.messaging.message import AgentMessage
    from moot.runtime.cell import Cell
    from moot.runtime.dispatch.pool import Runner, RunnerPool

__all__ = ["AskerGone", "Interrupts", "Restarting"]

_LOOKS_PER_TIMEOUT = 8


class AskerGone(AgentStopped):
    """The asker of this turn no longer waits."""

    template = "whoever asked {agent_id!r} no longer waits, so its turn was cancelled"


class Restarting(AgentStopped):
    """The agent is about to be restarted; its turn will be run again by the new one."""


class Interrupts:
    """Interrupts turns. ``abandon(runner, reason)`` is called for one that swallowed its cancellation; the dispatcher
    sets it.
    """

    abandon: Callable[[Runner, BaseException], None]

    def __init__(self, wheel: DeadlineWheel, clock: Clock, pool: RunnerPool, *, patience: float = 5.0) -> None:
        self._pool = pool
        self._wheel = wheel
        self._clock = clock
        self._patience = patience
        self._overtime = _Overtime(self)
        self.is_looking = False
        """Whether run timeouts are watched; if not, a turn that has one is to call `look`."""
        self._seen: dict[Runner, tuple[AgentContext[Any], float]] = {}

    def interrupt(self, runner: Runner, reason: BaseException) -> None:
        """End the turn that ``runner`` runs, for ``reason``; the first reason counts."""
        if runner.interruption is not None or runner.task is None or runner.ctx is None:
            return
        runner.interruption = reason
        runner.task.cancel(f"turn interrupted: {type(reason).__name__}")
        self._wheel.entries(self._clock.now() + self._patience)[_Patience(self, runner, reason)] = None

    def asker_gone(self, cell: Cell, message: AgentMessage) -> None:
        """Nobody waits any more for the answer to ``message``: end its turn, if one is under way."""
        for runner in self._pool.busy():
            if runner.ctx is not None and runner.ctx.message is message and runner.cell is cell:
                self.interrupt(runner, AskerGone(cell.id))

    def look(self) -> None:
        """Interrupt turns that run for too long: up to an eighth of their timeout late, never early."""
        now = self._clock.now()
        seen: dict[Runner, tuple[AgentContext[Any], float]] = {}
        shortest = None
        for runner in self._pool.busy():
            cell, ctx = runner.cell, runner.ctx
            timeout = cell.timeouts.run_timeout if cell is not None else None
            if cell is None or timeout is None:
                continue
            shortest = timeout if shortest is None else min(shortest, timeout)
            if ctx is None or ctx.closed:
                continue  # (rolled back, it waits for its next run or for a restart)
            before, since = self._seen.get(runner, (ctx, now))
            since = since if before is ctx else now
            seen[runner] = (ctx, since)
            if now - since >= timeout:
                self.interrupt(runner, TurnTimeout(cell.id, ctx.message.message_type, timeout))
        self._seen = seen
        self.is_looking = shortest is not None
        if shortest is not None:
            self._wheel.entries(now + shortest / _LOOKS_PER_TIMEOUT)[self._overtime] = None


class _Overtime:
    """On the wheel: when to look again."""

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts

    def expire(self) -> None:
        self._interrupts.look()


class _Patience:
    """On the wheel: how long an interrupted turn may take to end."""

    def __init__(self, interrupts: Interrupts, runner: Runner, reason: BaseException) -> None:
        self._interrupts = interrupts
        self._runner = runner
        self._reason = reason

    def expire(self) -> None:
        if self._runner.interruption is self._reason:
            self._interrupts.abandon(self._runner, self._reason)
