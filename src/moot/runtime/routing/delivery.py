"""Delivery: the way of a message from its sender to a mailbox.

The delivery resolves the address and gives the message to the transport. A message that cannot
arrive becomes a dead letter. Enqueueing is synchronous: the message that is delivered first is
first in the mailbox. Nothing else keeps the order of a pair of agents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

from moot.agent.ask import Ask, AskTable
from moot.agent.handlers import form_of_answer
from moot.clock import Clock
from moot.errors import AgentStopped, UnknownAgent
from moot.ids import CAPABILITY, TOPIC
from moot.messaging.dead_letters import DeadLetters, Reason
from moot.messaging.flow_control import FlowControl, Station
from moot.messaging.message import AgentMessage, ReplyTo
from moot.runtime.cell import Cell
from moot.runtime.phase import CLOSING, STOPPING, SystemPhase
from moot.runtime.routing.router import MessageRouter
from moot.runtime.routing.transport import LocalTransport, Transport
from moot.storable.values import Form, loose

if TYPE_CHECKING:
    from moot.agent.port import Turn
    from moot.runtime.durability.turn_journal import TurnJournal

__all__ = ["Delivery"]


class Delivery:
    """Takes messages to their mailboxes.

    ``connect(delivery)`` makes the transport; None stands for the local one. ``wake(cell)`` is called for each message
    that enters a mailbox here. ``asker_gone(cell, message)`` is called when the asker of a request no longer waits and
    ``cell`` has taken the request. ``handle_at_once(ask, cell, message)`` handles a request in the step of the task
    that awaits its answer, if that can be done, and says whether it was; None if it never can. The system sets
    ``was_parked()``: it is called when a durable backend has kept a message for an agent that is not there.
    """

    was_parked: Callable[[], None]

    def __init__(  # noqa: PLR0913 - it is where most parts meet
        self,
        clock: Clock,
        router: MessageRouter,
        flow: FlowControl,
        asks: AskTable,
        dead_letters: DeadLetters,
        *,
        phase: SystemPhase,
        journal: TurnJournal | None,
        connect: Callable[[Delivery], Transport] | None,
        wake: Callable[[Cell], None],
        asker_gone: Callable[[Cell, AgentMessage], None],
        handle_at_once: Callable[[Ask[Any], Cell, AgentMessage], bool] | None,
    ) -> None:
        self._clock = clock
        self._router = router
        self.cells = router.cells
        self.flow = flow
        self.asks = asks
        self.dead_letters = dead_letters
        self._phase = phase
        self.journal = journal
        self._wake = wake
        self._asker_gone = asker_gone
        self.handle_at_once = handle_at_once
        self.may_repeat = connect is not None
        """Whether a message may come twice. Inside one process it does not; a transport may deliver it again."""
        self.is_direct = connect is None and journal is None
        """Whether nothing stands between a turn and a mailbox: neither a transport nor a durable backend."""
        self.transport: Transport = LocalTransport(flow, asks)
        if connect is not None:
            self.transport = asks.transport = connect(self)

    def send(self, source: Cell, message: AgentMessage, body: bytes | None = None) -> None:
        """Deliver ``message``, which a turn of ``source`` sent. Without room it waits in the outbox of ``source``.

        ``body`` is the encoded message, if there is one.
        """
        target = self.cells.get(message.to)
        if (
            self.is_direct
            and target is not None
            and message.reply_to is None
            and target.phase is not STOPPING
            and target.mailbox.offer(message)  # (there is room, so nothing of the source's waits for this mailbox)
        ):
            if not target.queued:
                self._wake(target)
            return
        if message.reply_to is not None and self.asks.get(message.reply_to) is None:
            self.bury(message, Reason.EXPIRED, "nobody waits any more for the answer to what is forwarded")
            return
        if target is None:
            if message.to.startswith(TOPIC):
                self.publish(message, body)
                return
            try:
                target = self._router.resolve(message.to, message.content)
            except UnknownAgent as error:
                if self.journal is not None and _may_come(message):
                    self._park(self.journal, message, body)
                else:
                    self.refuse(message, Reason.UNKNOWN_AGENT, error)
                return
        if self.journal is not None:
            self.journal.accepted(target.id, message, body)
        if target.phase is STOPPING:
            self.refuse(message, Reason.STOPPED, AgentStopped(target.id))
        else:
            self.transport.carry(source, target, message)

    def _park(self, journal: TurnJournal, message: AgentMessage, body: bytes | None) -> None:
        """Keep ``message`` for an agent that is not there. It is a dead letter if too many are kept for it."""
        refused = journal.parked(message, body)
        if refused is None:
            self.was_parked()
        else:
            self.bury(message, Reason.OVERFLOW, refused)

    def unclaimed(self, agent_id: str, message: AgentMessage, text: str) -> None:
        """Make a dead letter of a stored message whose agent has not come, and tell its asker if there is one."""
        if message.to.startswith(TOPIC):
            message = msgspec.structs.replace(message, to=agent_id)
        self.dead_letters.add(message, Reason.UNCLAIMED, text, at=self._clock.now(), agent_id=agent_id)
        if message.reply_to is not None:
            self.asks.fail(message.reply_to, UnknownAgent(agent_id))

    def send_now(self, source: Cell, message: AgentMessage) -> None:
        """Deliver ``message`` outside a commit, as progress and due timers are."""
        self.send(source, message)
        if source.lanes:
            self.flow.settle_cycles(source)

    def control(self, target: Cell, message: AgentMessage) -> None:
        """Deliver news of the runtime itself, which no full mailbox keeps out."""
        if target.phase is not STOPPING:
            target.mailbox.force(message)
            self._wake(target)

    def publish(self, message: AgentMessage, body: bytes | None = None) -> int:
        """Deliver to all subscribers of a topic without waiting. Returns how many got the message."""
        delivered = 0
        for target in self._router.subscribers(message.to.removeprefix(TOPIC)):
            if target.phase is STOPPING:
                continue
            if self.journal is not None:
                self.journal.accepted(target.id, message, body)
            delivered += self.transport.publish(target, message)
        return delivered

    def request(self, ask: Ask[Any], target: Cell, message: AgentMessage) -> None:
        """Deliver the request of an ask that is in the table.

        Raises:
            MailboxFull: the mailbox is set to fail.
        """
        ask.target = target
        ask.message = message
        try:
            self.transport.request(ask, target, message)
        except BaseException:
            self.asks.close(ask)
            raise

    def withdraw(self, ask: Ask[Any], *, expired: bool) -> None:
        """The asker of ``ask`` no longer waits; see `moot.agent.ask.Asker.withdraw`."""
        self.asks.close(ask)
        target, message = ask.target, ask.message
        if target is None or message is None:
            return
        untaken = ask.lane is not None and self.flow.withdraw(ask.lane)
        if not untaken and target.mailbox.withdraw(message):
            untaken = True
            self.flow.admit(target)
        if not untaken:
            cell = self.cells.get(target.id)
            if cell is target and cell.agent.cancel_with_asker:
                self._asker_gone(cell, message)
        elif expired:
            self.bury(message, Reason.EXPIRED, "its deadline passed while it waited in the mailbox", receiver=target)
        elif self.journal is not None:
            self.journal.withdrawn(target.id, message)

    def drop(self, ask: Ask[Any]) -> None:
        """Nobody waits for the request of ``ask``. Withdraw it, unless it was taken and its turn is to go on."""
        target, message = ask.target, ask.message
        if target is None or message is None:
            return
        untaken = bool(ask.lane and ask.lane.messages) or target.mailbox.holds(message)
        cell = self.cells.get(target.id)
        if untaken:
            text = "all who asked for it gave up while it waited in the mailbox"
            self.bury(message, Reason.EXPIRED, text, receiver=target)
        if untaken or (cell is target and cell.agent.cancel_with_asker):
            ask.cancel()

    def progress(self, turn: Turn, to: ReplyTo, content: Any) -> None:
        """Hand a piece of an answer to the asker, if it streams the answer."""
        ask = self.asks.get(to)
        if ask is not None and ask.on_progress is not None:
            ask.on_progress(content, turn.attempt)

    def answer_form(self, cell: Cell, message: AgentMessage, to: ReplyTo) -> Form:
        """How the answer is stored that ``cell``, which handles ``message``, gives at ``to``."""
        if to == message.reply_to:
            handler = cell.table.get(message.message_type)
            return loose() if handler is None else handler.answer_form(message)
        ask = self.asks.get(to)
        return loose() if ask is None else form_of_answer(ask.content)

    def is_unwanted(self, cell: Cell, message: AgentMessage) -> bool:
        """Whether ``message`` is not to be handled: it came before, its asker is gone, or it is too late."""
        if self.may_repeat and (cell.is_repeat(message) or self.asks.is_withdrawn(message)):
            return True
        return self.is_late(cell, message)

    def is_late(self, cell: Cell, message: AgentMessage) -> bool:
        """Whether the deadline of ``message`` passed while it was in the mailbox. If so, it becomes a dead letter."""
        if message.deadline is None or message.reply_to is not None:
            return False  # (an asker withdraws its ask itself when the deadline passes)
        late = message.deadline < self._clock.now()
        if late:
            self.bury(message, Reason.EXPIRED, "its deadline passed before it was handled", receiver=cell)
        return late

    def bury_mail(self, cell: Cell) -> None:
        """Make dead letters of the mail of a stopped agent, and tell the askers."""
        messages: Iterable[AgentMessage] = self.flow.close(cell)
        if self.journal is not None and self._phase.now < CLOSING and not self._phase.is_over():
            messages = chain(messages, self._left_in_store(cell, self.journal))
        for message in messages:
            if self.may_repeat and cell.is_repeat(message):
                continue  # it has ended before
            self.refuse(message, Reason.STOPPED, AgentStopped(cell.id), receiver=cell)

    def _left_in_store(self, cell: Cell, journal: TurnJournal) -> Iterator[AgentMessage]:
        """The mail of ``cell`` that it has not come to, a page in memory at a time."""
        while page := journal.read_mail(cell.id):
            for message, _ in page:
                yield message

    def refuse(
        self, message: AgentMessage, reason: Reason, error: BaseException, *, receiver: Station | None = None
    ) -> None:
        """Make a dead letter of ``message``, and tell its asker if it is a request."""
        self.bury(message, reason, error, receiver=receiver)
        if message.reply_to is not None:
            self.asks.fail(message.reply_to, error)

    def bury(
        self,
        message: AgentMessage,
        reason: Reason,
        error: BaseException | str,
        *,
        attempts: int = 0,
        receiver: Station | None = None,
    ) -> None:
        """Make a dead letter of ``message``. A published message names the ``receiver`` that lost it."""
        ends_with_the_system = reason is Reason.STOPPED or reason is Reason.CANCELLED
        if ends_with_the_system and self.journal is not None and self._phase.now >= CLOSING:
            return  # it is stored for the next run, or will be asked again
        if receiver is not None and message.to.startswith(TOPIC):
            message = msgspec.structs.replace(message, to=receiver.id)
        text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        text = text.encode(errors="backslashreplace").decode()
        agent_id = receiver.id if receiver is not None else None
        self.dead_letters.add(message, reason, text, at=self._clock.now(), attempts=attempts, agent_id=agent_id)


def _may_come(message: AgentMessage) -> bool:
    """Whether the agent of ``message`` may yet be registered: it is addressed by its id, and no asker waits."""
    return message.reply_to is None and not message.to.startswith(CAPABILITY)
