"""The commit: how the effects of a turn take effect together, and how its answer leaves.

A commit waits for the shared state and for nothing else, and nothing fails once the effects
begin. A message that finds no room in a mailbox waits in the sender's outbox. A message that
cannot be delivered becomes a dead letter.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from moot.agent.effects import Effects
from moot.agent.records import NOTHING
from moot.messaging.reason import Reason
from moot.runtime.cell import Cell
from moot.runtime.dispatch.timers import Timers
from moot.runtime.durability.sealed import UNSEALED, Sealed
from moot.runtime.phase import STOPPING
from moot.runtime.routing.death_watch import DeathWatch
from moot.runtime.routing.delivery import Delivery

if TYPE_CHECKING:
    from moot.agent.context import AgentContext
    from moot.messaging.message import AgentMessage
    from moot.runtime.routing.directory import Directory
    from moot.state import Transaction

__all__ = ["Commit", "StopsItself"]

_log = logging.getLogger("moot.runtime.dispatch.commit")


class StopsItself(Protocol):
    """The supervisor, as the commit sees it."""

    def stopped_itself(self, cell: Cell) -> None:
        """The agent of ``cell`` said in a turn that it stops."""
        ...


class Commit:
    """Makes the effects of turns true.

    ``supervisor`` is told of agents that stop themselves. The supervisor sets this attribute.
    """

    supervisor: StopsItself

    def __init__(self, directory: Directory, delivery: Delivery, death_watch: DeathWatch, timers: Timers) -> None:
        self._directory = directory
        self._delivery = delivery
        self._asks = delivery.asks
        self._flow = delivery.flow
        self.journal = delivery.journal
        self._death_watch = death_watch
        self._timers = timers

    def run(self, cell: Cell, ctx: AgentContext[Any], answer: Any = NOTHING) -> Awaitable[None] | None:
        """Make the effects of a turn true, then send its ``answer``, which its handler returned.

        Asks that nobody awaited are withdrawn first. Everything that a durable backend stores is encoded before the
        first effect, and the journal is told in the same step as the effects. If the commit has to
        wait for shared state, await the result; else it is None.

        Raises (at once, or when awaited):
            StateConflict: the turn lost a race for shared state. InvalidPayload, MessageTooLarge: a part of the turn
            cannot be stored. After each of these errors nothing has happened.
        """
        effects = ctx.effects
        if effects is not None:
            if effects.asks:
                _end_asks(ctx, effects)
            if effects.state is not NOTHING:
                effects.state = cell.admitted_state(effects.state, ctx.message.message_type)
            elif effects.has_read_state and cell.take_state_back():
                raise TypeError(
                    f"the state of {cell.id!r} was changed in place, and that would be lost; "
                    "give the agent a new one instead: ctx.state = …"
                )
            if effects.answer is not NOTHING:
                answer = effects.answer
            elif effects.is_deferred:
                answer = NOTHING
            else:
                answer = _checked_answer(cell, ctx, answer)
        else:
            answer = _checked_answer(cell, ctx, answer)
        sealed = UNSEALED if self.journal is None else self.journal.seal(effects, ctx.message.reply_to, answer)
        if effects is not None and effects.transaction is not None:
            return self._finish_after(effects.transaction, cell, ctx, sealed, answer)
        self._take_effect(cell, ctx, sealed, answer)
        return None

    async def _finish_after(
        self, transaction: Transaction, cell: Cell, ctx: AgentContext[Any], sealed: Sealed, answer: Any
    ) -> None:
        if self.journal is not None and transaction.commits_at_once:
            with self.journal.whole:
                await transaction.commit()
                self._take_effect(cell, ctx, sealed, answer)
        else:
            await transaction.commit()
            self._take_effect(cell, ctx, sealed, answer)

    def _take_effect(self, cell: Cell, ctx: AgentContext[Any], sealed: Sealed, answer: Any) -> None:
        if self.journal is None:
            self._finish(cell, ctx, sealed, answer)
            return
        with self.journal.whole:
            self.journal.committed(cell, ctx, sealed)  # before an answer that waits for it to be stored
            self._finish(cell, ctx, sealed, answer)

    def _finish(self, cell: Cell, ctx: AgentContext[Any], sealed: Sealed, answer: Any) -> None:
        ctx.closed = True
        effects, reply_to = ctx.effects, ctx.message.reply_to
        if effects is not None:
            if effects.state is not NOTHING:
                cell.keep_state(effects.state)
            if effects.topics or effects.timers:
                self._subscribe_and_schedule(cell, effects, sealed)
            if effects.outputs:
                self._send(cell, effects.outputs, sealed)
            if effects.answers or effects.watches:
                self._answer_and_watch(cell, effects, sealed)
            if effects.stops and cell.phase is not STOPPING:
                self.supervisor.stopped_itself(cell)
        if reply_to is not None and answer is not NOTHING:
            self._asks.resolve(reply_to, answer, sealed.answer)

    def _send(self, cell: Cell, outputs: Sequence[AgentMessage], sealed: Sealed) -> None:
        send = self._delivery.send
        for message, body in zip(outputs, sealed.outputs):  # noqa: B905 - the bytes may be without end
            try:
                send(cell, message, body)
            except Exception as error:
                self._unsent(cell, message, error)
        if cell.lanes is not None:
            self._flow.settle_cycles(cell)

    def _unsent(self, cell: Cell, message: AgentMessage, error: Exception) -> None:
        """The runtime failed while it delivered ``message``. The others are sent all the same."""
        _log.critical("%s of agent %s could not be sent", message.message_type, cell.id, exc_info=error)
        target = self._directory.cells.get(message.to)
        if target is not None:
            target.mailbox.withdraw(message)
        self._delivery.refuse(message, Reason.FAILED, error)

    def _subscribe_and_schedule(self, cell: Cell, effects: Effects, sealed: Sealed) -> None:
        for topic, wanted in () if cell.phase is STOPPING else effects.topics:
            (self._directory.subscribe if wanted else self._directory.unsubscribe)(cell, topic)
        for timer, body in zip(effects.timers, sealed.timers):  # noqa: B905 - the bytes may be without end
            self._timers.put(cell, timer, body)

    def _answer_and_watch(self, cell: Cell, effects: Effects, sealed: Sealed) -> None:
        for (reply_to, answer), body in zip(effects.answers, sealed.answers):  # noqa: B905
            self._asks.resolve(reply_to, answer, body)
        for agent_id, wanted in () if cell.phase is STOPPING else effects.watches:
            (self._death_watch.add if wanted else self._death_watch.discard)(cell, agent_id)


def _checked_answer(cell: Cell, ctx: AgentContext[Any], answer: Any) -> Any:
    """``answer``, which the handler returned, as the asker gets it. Other answers were checked when they were given."""
    message = ctx.message
    if answer is NOTHING or message.reply_to is None:
        return answer
    handler = cell.table.get(message.message_type)
    return answer if handler is None else handler.answered(message, answer)


def _end_asks(ctx: AgentContext[Any], effects: Effects) -> None:
    """Withdraw the asks that the turn never awaited. Such an ask is most likely a mistake, so a warning is logged."""
    never_sent = [ask for ask in effects.asks if not ask.started]
    for ask in tuple(effects.asks):
        ask.cancel()
    if never_sent:
        asked = ", ".join(f"{ask.message_type!r} to {ask.to!r}" for ask in never_sent)
        warnings.warn(
            f"agent {ctx.agent_id!r} made asks that it never awaited, so they were not sent: {asked}; await them",
            RuntimeWarning,
            stacklevel=2,
        )
