"""The message sender: how code that is no agent speaks under a name of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from moot.messaging.message import AgentMessage, message_type_of

__all__ = ["MessageSender"]


class MessageSender:
    """Sends messages from outside; call it with an envelope, or use `send`.

    ``post`` delivers one envelope within a timeout in seconds.
    """

    def __init__(self, name: str, post: Callable[[AgentMessage, float], Awaitable[str]]) -> None:
        self.name = name
        self._post = post

    async def __call__(self, message: AgentMessage, *, timeout: float = 30.0) -> str:
        """Deliver ``message`` as it is, waiting for room up to ``timeout``; its id. Raises as `AgentManager.tell`."""
        if not isinstance(message, AgentMessage):
            raise TypeError(f"a sender is called with an AgentMessage, not {type(message).__name__}; or use send()")
        return await self._post(message, timeout)

    async def send(self, to: str, content: Any, *, message_type: str | None = None, timeout: float = 30.0) -> str:
        """Deliver ``content`` under this sender's name. Returns its id. Raises as `AgentManager.tell`."""
        return await self._post(AgentMessage(self.name, to, content, message_type_of(content, message_type)), timeout)
