"""Interrupts: how a turn under way is ended from outside, and what happens when it does not end.

A turn is interrupted for one of three reasons: its asker no longer waits, and its agent is set
to care; it runs longer than its agent allows; or its agent is restarted. To interrupt a turn is
to cancel the task of its runner. The reason stays on the runner for the rollback. A handler may
swallow its cancellation; after ``patience`` seconds it is abandoned with its runner.

Most turns end at once, so no turn pays for being watched. The runners are looked at every
eighth of a run timeout, as long as a turn with a run timeout is under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from moot.clock import Clock
from moot.errors import AgentStopped, TurnTimeout
from moot.resilience.deadlines import DeadlineWheel

if TYPE_CHECKING:
    from moot.agent.context import AgentContext
    from moot.messaging.message import AgentMessage
    from moot.runtime.cell import Cell
    from moot.runtime.dispatch.pool import RunnerPool
    from moot.runtime.dispatch.runner import Runner

__all__ = ["AskerGone", "Interrupts", "Restarting", "ends_program"]

_ENDS = (KeyboardInterrupt, SystemExit)
_LOOKS_PER_TIMEOUT = 8


class AskerGone(AgentStopped):
    """The asker of this turn no longer waits."""

    template = "whoever asked {agent_id!r} no longer waits, so its turn was cancelled"


class Restarting(AgentStopped):
    """The agent is about to be restarted. The agent made anew runs this turn again."""


class Interrupts:
    """Interrupts turns.

    ``abandon(runner, reason)`` is called for a runner whose handler swallowed its cancellation. The dispatcher sets it.
    """

    abandon: Callable[[Runner, BaseException], None]

    def __init__(self, wheel: DeadlineWheel, clock: Clock, pool: RunnerPool, *, patience: float = 5.0) -> None:
        self._pool = pool
        self._wheel = wheel
        self._clock = clock
        self._patience = patience
        self._overtime = _Overtime(self)
        self.is_looking = False
        """Whether run timeouts are watched. If not, the next turn that has one calls `look`."""
        self._seen: dict[Runner, tuple[AgentContext[Any], float]] = {}

    def interrupt(self, runner: Runner, reason: BaseException) -> None:
        """End the turn that ``runner`` runs. If there is a second interruption, the ``reason`` of the first counts."""
        if runner.interruption is not None or runner.task is None or runner.message is None:
            return
        runner.interruption = reason
        runner.task.cancel(f"turn interrupted: {type(reason).__name__}")
        self._wheel.entries(self._clock.now() + self._patience)[_Patience(self, runner, reason)] = None

    def asker_gone(self, cell: Cell, message: AgentMessage) -> None:
        """The asker of ``message`` no longer waits. End the turn of that message, if one is under way."""
        for runner in self._pool.busy():
            if runner.message is message and runner.cell is cell:
                self.interrupt(runner, AskerGone(cell.id))

    def look(self) -> None:
        """Interrupt turns that have run for too long. It is up to an eighth of their timeout late, and never early."""
        now = self._clock.now()
        seen: dict[Runner, tuple[AgentContext[Any], float]] = {}
        shortest = None
        for runner in self._pool.busy():
            cell, ctx = runner.cell, runner.ctx
            timeout = cell.policies.timeouts.run_timeout if cell is not None else None
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
    """An entry on the wheel: the time of the next look."""

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts

    def expire(self) -> None:
        self._interrupts.look()


class _Patience:
    """An entry on the wheel: how long an interrupted turn may take to end."""

    def __init__(self, interrupts: Interrupts, runner: Runner, reason: BaseException) -> None:
        self._interrupts = interrupts
        self._runner = runner
        self._reason = reason

    def expire(self) -> None:
        if self._runner.interruption is self._reason:
            self._interrupts.abandon(self._runner, self._reason)


def ends_program(error: BaseException) -> bool:
    """Whether ``error`` is not a turn's own: it came from outside, or the turn wants to end the program."""
    if isinstance(error, GeneratorExit):
        return not _in_loop()  # else the turn has raised it itself; this one is collected after its loop was closed
    found = [error]
    while found:
        one = found.pop()
        if isinstance(one, _ENDS):
            return True
        if isinstance(one, BaseExceptionGroup) and not isinstance(one, Exception):
            found.extend(one.exceptions)
    return False


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
