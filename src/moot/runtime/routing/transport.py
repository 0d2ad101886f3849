"""The transport: what lies between a commit and the mailboxes that it sends to.

In one process nothing does, and delivery is immediate. The transport of a cluster reaches other
nodes. The transport of a simulator delays, repeats or loses messages between agents. A
transport decides nothing else: entering a mailbox, waiting for room and becoming a dead letter
stay with the flow control.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from moot.agent.ask import Ask, AskTable
    from moot.messaging.flow_control import FlowControl
    from moot.messaging.message import AgentMessage, ReplyTo
    from moot.runtime.cell import Cell

__all__ = ["LocalTransport", "Transport"]


class Transport(Protocol):
    """Carries messages, requests and answers.

    No method may raise, but where it says so: the commit that calls it has begun, and cannot be taken back.
    """

    def carry(self, source: Cell, target: Cell, message: AgentMessage) -> None:
        """Take a message that ``source`` has committed to the mailbox of ``target``, sooner, later or never."""
        ...

    def request(self, ask: Ask[Any], target: Cell, message: AgentMessage) -> None:
        """Take the request of an ask that is in the table to the mailbox of ``target``.

        Raises:
            MailboxFull: the mailbox is full and set to fail.
        """
        ...

    def publish(self, target: Cell, message: AgentMessage) -> bool:
        """Take a published message to one subscriber. False when its mailbox is known to be full."""
        ...

    def answer(self, reply_to: ReplyTo, answer: Any, error: BaseException | None) -> bool:
        """Take an answer, or an error, to its asker. False when the asker does not wait any more."""
        ...


class LocalTransport:
    """The `Transport` of one process: everything arrives at once."""

    def __init__(self, flow: FlowControl, asks: AskTable) -> None:
        self._flow = flow
        self.carry = flow.put
        self.publish = flow.publish
        self.answer = asks.arrived

    def request(self, ask: Ask[Any], target: Cell, message: AgentMessage) -> None:
        ask.lane = self._flow.offer(target, message)
