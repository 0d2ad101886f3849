"""Rollback: what follows when a turn fails.

The turn is rolled back. If its error may pass, it is run again in place. If not, its message
becomes a dead letter, and its asker is told. A retry in place keeps the order of a pair of
agents; the agent handles nothing else meanwhile. Two kinds of runs do not count as attempts:
after a lost race for shared state, and after an interruption by the agent's own restart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol

from moot.agent.context import AgentContext
from moot.agent.records import Records
from moot.errors import (
    AgentStopped,
    MessageError,
    MootError,
    Retry,
    StateConflict,
    TurnError,
)
from moot.messaging.dead_letters import Reason
from moot.messaging.message import AgentMessage, Batch, members_of
from moot.policies import Directive
from moot.resilience.retry import decisive
from moot.runtime.cell import Cell
from moot.runtime.dispatch.interrupts import AskerGone, Restarting
from moot.runtime.phase import STOPPING, SystemPhase
from moot.runtime.routing.delivery import Delivery

if TYPE_CHECKING:
    from moot.agent.port import Runtime
    from moot.clock import Clock
    from moot.runtime.dispatch.runner import Runner

__all__ = ["Rollback", "Supervises", "Verdict", "roll_back"]

Verdict = Literal["retried", "failed", "cancelled"]

_LONGEST = 10_000
_MOST_CONFLICTS = 100

_log = logging.getLogger("moot.runtime.dispatch.rollback")


class Supervises(Protocol):
    """The supervisor, as the rollback sees it."""

    def failed(self, cell: Cell, error: BaseException, default: Directive) -> None:
        """A turn of ``cell`` has failed for good. ``default`` is what to do where no policy says anything."""
        ...


class Rollback:
    """Decides what becomes of failed turns. ``hold(cell)`` waits for a restart under way.

    ``supervisor`` is told of each turn that has failed for good. The supervisor sets this attribute.
    """

    supervisor: Supervises

    def __init__(
        self,
        runtime: Runtime,
        clock: Clock,
        delivery: Delivery,
        phase: SystemPhase,
        hold: Callable[[Cell], Awaitable[None]],
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._delivery = delivery
        self._phase = phase
        self._hold = hold

    async def failed(
        self, cell: Cell, ctx: AgentContext[Any], error: BaseException, runner: Runner
    ) -> tuple[Verdict, AgentContext[Any] | None]:
        """Roll the turn back; the verdict, and the context of the next run or None.

        A cancellation gives a verdict, too. `check_runner` says whether the runner has to end with it. If this fails
        itself, because a policy does or the runtime, the turn is given up.
        """
        try:
            return await self._decided(cell, ctx, error, runner)
        except Exception as second:
            second.__context__ = error
            _log.critical("the failure of a turn of agent %s could not be handled", cell.id, exc_info=second)
            runner.settle()
            _close(ctx)
            self._give_up(cell, ctx, Reason.FAILED, _turn_error(cell, ctx, error))
            return "failed", None

    async def _decided(
        self, cell: Cell, ctx: AgentContext[Any], error: BaseException, runner: Runner
    ) -> tuple[Verdict, AgentContext[Any] | None]:
        if self._phase.is_over():
            runner.settle()
            self.broken_off(cell, ctx)
            return "cancelled", None
        error = decisive(runner.settle() or error, (Retry, StateConflict, *cell.policies.retry.retry_on))
        has_taken_effect = ctx.closed
        if isinstance(ctx.message, Batch) and not has_taken_effect:
            await self._take_apart(cell, ctx, error, runner)
            return "retried", None
        try:
            await roll_back(ctx)
            while not has_taken_effect and (isinstance(error, Restarting) or self._runs_again(cell, ctx, error)):
                restarting = isinstance(error, Restarting)
                try:
                    await (self._hold(cell) if restarting else self._wait(cell, ctx, error))
                except asyncio.CancelledError as cancelled:
                    error = runner.settle() or cancelled
                else:
                    if cell.phase is STOPPING:
                        break
                    return "retried", _next_run(ctx, error, counts=not restarting)
        except asyncio.CancelledError as cancelled:
            error = runner.settle() or cancelled
        return self._given_up(cell, ctx, error), None

    def _given_up(self, cell: Cell, ctx: AgentContext[Any], error: BaseException) -> Verdict:
        """The turn is not run again."""
        if self._phase.is_over():
            self.broken_off(cell, ctx)
            return "cancelled"
        if isinstance(error, AskerGone):
            self._give_up(cell, ctx, Reason.CANCELLED, error)
            return "cancelled"
        if isinstance(error, (asyncio.CancelledError, Restarting)) and cell.phase is STOPPING:
            self._give_up(cell, ctx, Reason.STOPPED, AgentStopped(cell.id))
            return "cancelled"
        message = ctx.message
        _log.error(
            "agent %s failed: %s %s from %s, conversation %s, attempt %d",
            *(cell.id, message.message_type, message.id, message.sender, message.conversation_id, ctx.attempt),
            exc_info=error,
        )
        if isinstance(error, MessageError):
            self._give_up(cell, ctx, Reason.INVALID, error)
        else:
            self._give_up(cell, ctx, Reason.FAILED, _turn_error(cell, ctx, error))
            self._supervise(cell, error, "resume")
        return "failed"

    def _supervise(self, cell: Cell, error: BaseException, default: Directive) -> None:
        """Let the supervisor decide. If its policy fails, the agent goes on."""
        try:
            self.supervisor.failed(cell, error, default)
        except Exception:
            _log.critical("the supervision of agent %s failed, so the agent goes on", cell.id, exc_info=True)
            cell.release()

    def broken_off(self, cell: Cell, ctx: AgentContext[Any]) -> None:
        """The system is over, and the turn with it. A durable backend keeps its messages for the next life."""
        _close(ctx)
        self._give_up(cell, ctx, Reason.STOPPED, AgentStopped(cell.id))

    def abandoned(self, cell: Cell, ctx: AgentContext[Any], error: BaseException) -> None:
        """Give up a turn whose handler does not end. Its agent is to be restarted."""
        _close(ctx)
        _log.error("agent %s swallowed its cancellation and was abandoned in the middle of a turn", cell.id)
        if cell.phase is STOPPING:
            self._give_up(cell, ctx, Reason.STOPPED, AgentStopped(cell.id))
            return
        self._give_up(cell, ctx, Reason.FAILED, _turn_error(cell, ctx, error))
        self._supervise(cell, error, "restart")

    def check_runner(self, error: BaseException) -> None:
        """Decide, when a failed turn is over, whether its runner may go on.

        Raises:
            BaseException: it may not, because its task is being cancelled, or the whole program ends.
        """
        if not isinstance(error, (Exception, asyncio.CancelledError)):
            raise error
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from None

    async def _take_apart(self, cell: Cell, ctx: AgentContext[Any], error: BaseException, runner: Runner) -> None:
        """Put the messages of a batch back, so that each is handled alone.

        After an interruption they are put back as they were.
        """
        try:
            await roll_back(ctx)
        except asyncio.CancelledError:
            runner.settle()
        finally:
            if cell.limits is not None:
                cell.take_back(ctx.messages)
                cell.limits.put_back(cell.mailbox, ctx.messages, alone=not isinstance(error, Restarting))

    def _runs_again(self, cell: Cell, ctx: AgentContext[Any], error: BaseException) -> bool:
        if (
            isinstance(error, AskerGone)
            or cell.phase is STOPPING
            or (ctx.deadline is not None and ctx.deadline <= self._clock.now())
        ):
            return False
        if isinstance(error, StateConflict):
            return ctx.records is None or ctx.records.conflicts < _MOST_CONFLICTS
        if ctx.attempt >= cell.policies.retry.max_attempts:
            return False
        return isinstance(error, (Retry, *cell.policies.retry.retry_on))

    async def _wait(self, cell: Cell, ctx: AgentContext[Any], error: BaseException) -> None:
        if isinstance(error, StateConflict):
            return
        if isinstance(error, Retry) and error.after is not None:
            delay = error.after
        else:
            name = f"{ctx.idempotency_key}/{ctx.attempt}"
            delay = cell.policies.retry.backoff.delay(ctx.attempt, self._runtime.random_for(name))
        await asyncio.sleep(delay)

    def give_up(self, cell: Cell, message: AgentMessage, error: Exception) -> None:
        """The runtime failed before it could run a turn about ``message``, which becomes a dead letter."""
        failure = TurnError(cell.id, message.message_type, type(error).__name__, _text(error), message.attempt)
        for one in members_of(message):
            self._bury(cell, one, Reason.FAILED, failure, message.attempt)

    def _give_up(self, cell: Cell, ctx: AgentContext[Any], reason: Reason, error: MootError) -> None:
        for message in ctx.messages:
            self._bury(cell, message, reason, error, ctx.attempt)

    def _bury(self, cell: Cell, message: AgentMessage, reason: Reason, error: MootError, attempts: int) -> None:
        """Make a dead letter, and tell the asker. Neither keeps the other from being done."""
        text = f"{error.error}: {error.text}" if isinstance(error, TurnError) else error
        try:
            self._delivery.bury(message, reason, text, attempts=attempts, receiver=cell)
        except Exception:
            _log.critical("message %s of agent %s is no dead letter", message.id, cell.id, exc_info=True)
        if message.reply_to is None:
            return
        try:
            self._delivery.asks.fail(message.reply_to, error)
        except Exception:
            _log.critical("the asker of message %s could not be told well", message.id, exc_info=True)
            ask = self._delivery.asks.get(message.reply_to)
            if ask is not None:
                self._delivery.asks.close(ask)
                ask.fail(error)


async def roll_back(ctx: AgentContext[Any]) -> None:
    """Undo a turn: its effects are dropped, its asks are withdrawn, and its children are stopped."""
    _close(ctx)
    if ctx.effects is not None:
        for child in ctx.effects.children:
            await ctx.runtime.stop_child(child)


def _close(ctx: AgentContext[Any]) -> None:
    """End the context of a turn, so that it can do nothing more, without waiting for anybody."""
    ctx.closed = True
    if ctx.effects is not None:
        if ctx.effects.has_read_state:
            ctx.cell.take_state_back()
        for ask in tuple(ctx.effects.asks):
            ask.cancel()


def _turn_error(cell: Cell, ctx: AgentContext[Any], error: BaseException) -> TurnError:
    failure = TurnError(cell.id, ctx.message.message_type, type(error).__name__, _text(error), ctx.attempt)
    failure.__cause__ = error
    return failure


def _text(error: BaseException) -> str:
    """The text of an error: its first 10,000 characters.

    Half a surrogate pair, as in the name of a file, is written out, because no backend could store it.
    """
    try:
        text = str(error)
        if len(text) > _LONGEST:
            text = f"{text[:_LONGEST]}… ({len(text):,} characters)"
        return text.encode(errors="backslashreplace").decode()
    except Exception as second:
        return f"(its text cannot be had: {type(second).__name__})"


def _next_run(ctx: AgentContext[Any], error: BaseException, *, counts: bool) -> AgentContext[Any]:
    records = ctx.records if ctx.records is not None else Records()
    conflict = isinstance(error, StateConflict)
    records.conflicts += conflict
    if isinstance(error, Retry) and error.fresh:
        records.forget()
    else:
        records.rerun()
    attempt = ctx.attempt + (counts and not conflict)
    return AgentContext(ctx.runtime, ctx.cell, ctx.message, attempt, ctx.message.trace, records)
