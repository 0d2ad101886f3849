"""Interrupts: how a turn under way is ended from outside, and what happens when it does not end.

A turn is interrupted when its asker no longer waits (if its agent says so), when it
runs longer than its agent allows, or when its agent is restarted. Interrupting means
cancelling the runner's task for a reason that the recovery finds there. A handler may
swallow its cancellation; after ``patience`` seconds it is abandoned with its runner.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from moot.clock import Clock
from moot.context import AgentContext
from moot.errors import AgentStopped, TurnTimeout
from moot.timers import DeadlineWheel, Expiring

if TYPE_CHECKING:
    from moot.asks import AskTable
    from moot.runners import Runner

__all__ = ["AskerGone", "Guard", "Interrupts", "Restarting"]


class AskerGone(AgentStopped):
    """The asker of this turn no longer waits."""


class Restarting(AgentStopped):
    """The agent is about to be restarted; its turn will be run again by the new one."""


class Interrupts:
    """Interrupts turns. ``abandon(runner, reason)`` is called for one that swallowed its cancellation."""

    def __init__(self, wheel: DeadlineWheel, clock: Clock, asks: AskTable, *, patience: float = 5.0) -> None:
        self._wheel = wheel
        self._clock = clock
        self._asks = asks
        self._patience = patience
        self.abandon: Callable[[Runner, BaseException], None] = lambda runner, reason: None

    def guard(self, ctx: AgentContext[Any], runner: Runner, *, cancels: bool, run_timeout: float | None) -> Guard:
        """Let the asker and the run timeout of one run of a turn interrupt it; to be closed when the run is over."""
        guard = Guard(self, ctx, runner)
        if cancels and ctx.message.reply_to is not None:
            ask = self._asks.get(ctx.message.reply_to)
            if ask is not None:
                ask.turn = guard
        if run_timeout is not None:
            guard.seconds = run_timeout
            guard.entries = self._wheel.entries(self._clock.now() + run_timeout)
            guard.entries[guard] = None
        return guard

    def interrupt(self, runner: Runner, reason: BaseException) -> None:
        """End the turn that ``runner`` runs, for ``reason``; the first reason counts."""
        if runner.interruption is not None or runner.task is None or runner.ctx is None:
            return
        runner.interruption = reason
        runner.task.cancel(f"turn interrupted: {type(reason).__name__}")
        watch = _Patience(self, runner, reason)
        self._wheel.entries(self._clock.now() + self._patience)[watch] = None


class Guard:
    """Who may interrupt one run of a turn. `cancel` is its asker's, `expire` the wheel's."""

    __slots__ = ("_ctx", "_interrupts", "_runner", "entries", "seconds")

    def __init__(self, interrupts: Interrupts, ctx: AgentContext[Any], runner: Runner) -> None:
        self._interrupts = interrupts
        self._ctx = ctx
        self._runner = runner
        self.seconds = 0.0
        self.entries: dict[Expiring, None] | None = None

    def cancel(self) -> None:
        """The asker no longer waits."""
        self._interrupt(AskerGone(self._ctx.agent_id))

    def expire(self) -> None:
        """The run has taken too long."""
        self._interrupt(TurnTimeout(self._ctx.agent_id, self._ctx.message.message_type, self.seconds))

    def close(self) -> None:
        """The run is over."""
        if self.entries is not None:
            self.entries.pop(self, None)

    def _interrupt(self, reason: BaseException) -> None:
        if self._runner.ctx is self._ctx:
            self._interrupts.interrupt(self._runner, reason)


class _Patience:
    """On the wheel: how long an interrupted turn may take to end."""

    def __init__(self, interrupts: Interrupts, runner: Runner, reason: BaseException) -> None:
        self._interrupts = interrupts
        self._runner = runner
        self._reason = reason

    def expire(self) -> None:
        if self._runner.interruption is self._reason:
            self._interrupts.abandon(self._runner, self._reason)
