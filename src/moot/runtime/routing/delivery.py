"""Delivery: the way of a message from whoever sends it to the mailbox it is for.

Resolves the address, gives the message to the flow, and makes a dead letter of what
cannot arrive. Enqueueing is synchronous: what is delivered first is first in the
mailbox, which is all that keeps the order of a pair of agents.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from moot.agent.ask import Ask, AskTable
from moot.clock import Clock
from moot.errors import AgentStopped, UnknownAgent
from moot.ids import CAPABILITY, TOPIC
from moot.messaging.dead_letters import DeadLetters, Reason
from moot.messaging.flow_control import FlowControl, Station
from moot.messaging.message import AgentMessage, ReplyTo
from moot.runtime.cell import Cell
from moot.runtime.routing.router import MessageRouter

if TYPE_CHECKING:
    from moot.agent.context import AgentContext
    from moot.runtime.durability.turn_journal import TurnJournal
    from moot.runtime.routing.transport import Link

__all__ = ["Delivery"]


class Delivery:
    """Takes messages to their mailboxes."""

    def __init__(
        self, clock: Clock, router: MessageRouter, flow: FlowControl, asks: AskTable, dead_letters: DeadLetters
    ) -> None:
        self._clock = clock
        self._router = router
        self._cells = router.cells
        self._flow = flow
        self.asks = asks
        self.dead_letters = dead_letters
        self.link: Link | None = None
        self.turn_journal: TurnJournal | None = None
        self.is_direct = True
        """Whether nothing stands between a turn and a mailbox: no link, and no backend that is to be told."""
        flow.lost = self._overflowed
        self.arrived: Callable[[Cell], None] = lambda cell: None
        self.asker_gone: Callable[[Cell, AgentMessage], None] = lambda cell, message: None

    def _overflowed(self, target: Station, message: AgentMessage) -> None:
        """The flow gave a message up; if it was a request, its asker is told."""
        if message.reply_to is not None:
            self.asks.fail(message.reply_to, target.full(self._clock.now()))

    def send(self, source: Cell, message: AgentMessage) -> None:
        """Deliver what a turn of ``source`` sent; what does not fit waits in its outbox."""
        target = self._cells.get(message.to)
        if (
            target is not None
            and message.reply_to is None
            and self.is_direct
            and not target.stopping
            and target.mailbox.offer(message)
        ):
            if not target.queued:  # (there was room, so nothing of the source's waits for this mailbox)
                self.arrived(target)
            return
        if self.asks.is_withdrawn(message):
            self.bury(message, Reason.EXPIRED, "nobody waits any more for the answer to what is forwarded")
            return
        if message.to.startswith(TOPIC):
            self.publish(message)
            return
        try:
            target = self._router.resolve(message.to)
        except UnknownAgent as error:
            if self.turn_journal is not None and _may_come(message):
                self.turn_journal.parked(message)
            else:
                self.refuse(message, Reason.UNKNOWN_AGENT, error)
            return
        if self.turn_journal is not None:
            self.turn_journal.accepted(target.id, message)
        if target.stopping:
            self.refuse(message, Reason.STOPPED, AgentStopped(target.id))
        elif self.link is not None:
            self.link.carry(source, target, message)
        else:
            self._flow.put(source, target, message)

    def send_now(self, source: Cell, message: AgentMessage) -> None:
        """Deliver outside a commit: progress, and timers that are due."""
        self.send(source, message)
        if source.lanes:
            self._flow.settle_cycles(source)

    def control(self, target: Cell, message: AgentMessage) -> None:
        """Deliver news of the runtime itself, which no full mailbox keeps out."""
        if not target.stopping:
            target.mailbox.force(message)
            self.arrived(target)

    def publish(self, message: AgentMessage) -> int:
        """Deliver to all subscribers of a topic, waiting for none; say how many got it."""
        delivered = 0
        for target in self._router.subscribers(message.to.removeprefix(TOPIC)):
            if target.stopping:
                continue
            if self.turn_journal is not None:
                self.turn_journal.accepted(target.id, message)
            flow = self.link if self.link is not None else self._flow
            delivered += flow.publish(target, message)
        return delivered

    def request(self, ask: Ask[Any], target: Cell, message: AgentMessage) -> None:
        """Deliver the request of an ask that is in the table.

        Raises:
            MailboxFull: the mailbox is set to fail.
        """
        ask.target = target
        ask.message = message
        try:
            if self.link is not None:
                self.link.request(ask, target, message)
            else:
                ask.lane = self._flow.offer(target, message)
        except BaseException:
            self.asks.close(ask)
            raise

    def withdraw(self, ask: Ask[Any], *, expired: bool) -> None:
        """Nobody waits for this ask any more; see `moot.agent.ask.Asker.withdraw`."""
        self.asks.close(ask)
        target, message = ask.target, ask.message
        if target is None or message is None:
            return
        untaken = ask.lane is not None and self._flow.withdraw(ask.lane)
        if not untaken and target.mailbox.withdraw(message):
            untaken = True
            self._flow.admit(target)
        if not untaken:
            cell = self._cells.get(target.id)
            if cell is target and cell.cancels:
                self.asker_gone(cell, message)
        elif expired:
            self.bury(message, Reason.EXPIRED, "its deadline passed while it waited in the mailbox", receiver=target)
        elif self.turn_journal is not None:
            self.turn_journal.withdrawn(target.id, message)

    def drop(self, ask: Ask[Any]) -> None:
        """Nobody waits for this request at present: withdraw it, unless it was taken and its turn is to go on."""
        target, message = ask.target, ask.message
        if target is None or message is None:
            return
        untaken = bool(ask.lane and ask.lane.messages) or any(one is message for one in target.mailbox.items or ())
        cell = self._cells.get(target.id)
        if untaken:
            text = "all who asked for it gave up while it waited in the mailbox"
            self.bury(message, Reason.EXPIRED, text, receiver=target)
        if untaken or (cell is target and cell.cancels):
            ask.cancel()

    def progress(self, ctx: AgentContext[Any], to: ReplyTo, content: Any) -> None:
        """Hand a piece of an answer to whoever streams it; nobody streaming is no error."""
        ask = self.asks.get(to)
        if ask is not None and ask.on_progress is not None:
            ask.on_progress(content, ctx.attempt)

    def is_late(self, cell: Cell, message: AgentMessage) -> bool:
        """Whether the deadline of a message of this agent's passed in the mailbox; it is a dead letter then."""
        if message.deadline is None or message.reply_to is not None:
            return False  # (the deadline of an ask is its asker's business, who withdraws it)
        late = message.deadline < self._clock.now()
        if late:
            self.bury(message, Reason.EXPIRED, "its deadline passed before it was handled", receiver=cell)
        return late

    def refuse(
        self, message: AgentMessage, reason: Reason, error: BaseException, *, receiver: Station | None = None
    ) -> None:
        """Make a dead letter of ``message``, and tell its asker if it is a request."""
        self.bury(message, reason, error, receiver=receiver)
        if message.reply_to is not None:
            self.asks.fail(message.reply_to, error)

    def bury_stored(self, cell: Cell, message: AgentMessage, reason: Reason, text: str, attempts: int) -> None:
        """Make a dead letter of mail that a durable backend has kept and ``cell`` cannot handle any more."""
        self.bury(message, reason, text, attempts=attempts, receiver=cell)

    def bury(
        self,
        message: AgentMessage,
        reason: Reason,
        error: BaseException | str,
        *,
        attempts: int = 0,
        receiver: Station | None = None,
    ) -> None:
        """Make a dead letter of ``message``; one that was published names the ``receiver`` that lost it."""
        ends_with_the_system = reason is Reason.STOPPED or reason is Reason.CANCELLED
        if ends_with_the_system and self.turn_journal is not None and self.turn_journal.is_closing:
            return  # it is kept for the next run, or will be asked again
        if receiver is not None and message.to.startswith(TOPIC):
            message = msgspec.structs.replace(message, to=receiver.id)
        text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        text = text.encode(errors="backslashreplace").decode()
        agent_id = receiver.id if receiver is not None else None
        self.dead_letters.add(message, reason, text, at=self._clock.now(), attempts=attempts, agent_id=agent_id)


def _may_come(message: AgentMessage) -> bool:
    """Whether the agent that a message is for may yet be registered: it is addressed by its id, and nobody waits."""
    return message.reply_to is None and not message.to.startswith(CAPABILITY)
