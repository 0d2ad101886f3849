"""The mail observer: sees what enters a system from outside, and what is taken back before it was handled.

What turns send, and every request, is seen by a transport. Together they see all mail. A
simulation checks its laws with them.
"""

from __future__ import annotations

from typing import Protocol

from moot.messaging.message import AgentMessage

__all__ = ["MailObserver"]


class MailObserver(Protocol):
    """The calls are made in the event loop and must be quick; they must not raise."""

    def sending(self, message: AgentMessage) -> None:
        """A caller from outside is about to send a message."""
        ...

    def entered(self, message: AgentMessage) -> None:
        """The message was accepted."""
        ...

    def withdrawn(self, message: AgentMessage) -> None:
        """A message that was accepted, or a timer's, has been taken back by its sender."""
        ...
