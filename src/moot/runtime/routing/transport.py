"""The link: what may lie between a commit and the mailboxes that it sends to. A seam for a simulator.

In production there is none (None, one attribute test a message), and delivery is
immediate. A simulator puts a `Link` there that delays, repeats or loses what agents
send each other, and makes turns fail. It decides nothing else: how a message enters
a mailbox, waits for room or becomes a dead letter stays with the flow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from moot.agent.ask import Ask
    from moot.agent.context import AgentContext
    from moot.agent.handlers import Handler
    from moot.messaging.message import AgentMessage, ReplyTo
    from moot.runtime.cell import Cell

__all__ = ["Link"]


class Link(Protocol):
    """Carries messages, requests and answers, and runs handlers."""

    def carry(self, source: Cell, target: Cell, message: AgentMessage) -> None:
        """Take a message that ``source`` has committed to the mailbox of ``target``, sooner, later or never."""
        ...

    def request(self, ask: Ask[Any], target: Cell, message: AgentMessage) -> None:
        """Take the request of an ask that is in the table to the mailbox of ``target``.

        Raises:
            MailboxFull: the mailbox is set to fail.
        """
        ...

    def publish(self, target: Cell, message: AgentMessage) -> bool:
        """Take a published message to one subscriber; False when its mailbox is known to be full."""
        ...

    def answer(self, reply_to: ReplyTo, answer: Any, error: BaseException | None) -> bool:
        """Take an answer, or an error, to whoever waits; False when nobody does."""
        ...

    async def run(self, cell: Cell, ctx: AgentContext[Any], handler: Handler, content: Any) -> Any:
        """Run a handler and return its answer; called in the place of the handler itself."""
        ...
