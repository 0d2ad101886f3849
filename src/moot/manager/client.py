"""The client: how programs that are not agents ask, tell, publish and stream.

The manager inherits these calls. A call is refused when the manager does not run; the
rest is left to `moot.manager.gateway`.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar, overload

import msgspec

from moot.agent.ask import Ask
from moot.agent.gather import gather
from moot.agent.port import DONE, Done
from moot.agent.stream import Stream
from moot.errors import ManagerStopped
from moot.ids import OUTSIDE, is_text
from moot.manager.gateway import Gateway
from moot.manager.sender import MessageSender
from moot.messaging.content import addressed, admitted
from moot.messaging.dead_letters import DeadLetters
from moot.messaging.message import AgentMessage, Request, message_type_of
from moot.storable.values import Unstorable

__all__ = ["Client"]

R = TypeVar("R")


class Client:
    """The calls of a manager that reach agents."""

    dead_letters: DeadLetters
    _gateway: Gateway | None = None
    """The gateway, while messages are accepted."""

    @overload
    def ask(self, to: str, content: Request[R], *, timeout: float = 30.0, message_id: str | None = None) -> Ask[R]: ...
    @overload
    def ask(
        self,
        to: str,
        content: Any,
        *,
        timeout: float = 30.0,
        message_type: str | None = None,
        message_id: str | None = None,
    ) -> Ask[Any]: ...
    def ask(
        self,
        to: str,
        content: Any,
        *,
        timeout: float = 30.0,
        message_type: str | None = None,
        message_id: str | None = None,
    ) -> Ask[Any]:
        """Ask an agent; await the result. Nothing is sent before it is awaited.

        Of the asks with one ``message_id`` to one address, only the first is handled. The others share its answer, also
        later. If it fails, the next one is sent. On a durable backend such an ask is handled even if the process dies
        or nobody waits any more, and its answer is kept for a week.

        Raises (when awaited):
            AskTimeout, UnknownAgent, AgentStopped, MailboxFull, ManagerStopped: no answer can be had. TurnError: the
            handler failed. InvalidPayload, UnknownMessageType: the agent cannot handle this message.

        Raises (at the call):
            InvalidPayload: the content could not be read again in another life. TypeError: plain content without
            ``message_type``. ValueError: the timeout is no time.
        """
        try:
            if not 0 < timeout < math.inf:
                raise ValueError(f"an ask needs a timeout above 0 s and an end, not {timeout:g}")
        except TypeError:
            raise TypeError(f"timeout= is a number of seconds, not {timeout!r}") from None
        gateway = self._gateway
        if gateway is None:
            raise ManagerStopped("ask an agent")
        try:  # as `addressed`, a call shorter
            content = content.__moot_admit__()
            kind = content.message_type if message_type is None else message_type_of(content, message_type)
        except (AttributeError, Unstorable):
            content, kind = addressed(content, message_type, OUTSIDE, to)
        ask: Ask[Any] = Ask(gateway.asker, to, content, kind, timeout)
        if message_id is not None:
            ask.asker, ask.idempotency_key = gateway, _checked_id(message_id)
        return ask

    gather = staticmethod(gather)

    def stream(self, ask: Ask[R]) -> Stream[R]:
        """Send an ask, and iterate over the pieces that its handler passes to ``ctx.progress`` from now on."""
        return Stream(ask)

    async def tell(
        self,
        to: str,
        content: Any,
        *,
        message_type: str | None = None,
        timeout: float = 30.0,
        message_id: str | None = None,
    ) -> None:
        """Send a message, waiting for room in the mailbox. Of those with one ``message_id`` only the first is handled.

        Raises:
            UnknownAgent, AgentStopped: no agent will handle it. MailboxFull: there was no room within ``timeout``
            seconds. ManagerStopped: the manager does not run. TypeError: plain content without ``message_type``.
        """
        gateway = self._gateway
        if gateway is None:
            raise ManagerStopped("tell an agent")
        try:  # as `addressed`, a call shorter
            content = content.__moot_admit__()
            kind = content.message_type if message_type is None else message_type_of(content, message_type)
        except (AttributeError, Unstorable):
            content, kind = addressed(content, message_type, OUTSIDE, to)
        numbering = gateway.numbering
        if message_id is not None:
            message = numbering.envelope(OUTSIDE, to, content, kind, 0, _checked_id(message_id))
            await gateway.tell(message, timeout)
            return
        # As `Numbering.envelope`, a call shorter.
        message = AgentMessage(OUTSIDE, to, content, kind, numbering.next_sequence(), numbering.incarnation)
        if gateway.is_durable:
            await gateway.tell(message, timeout)
        elif lane := gateway.accept(message):
            await gateway.admitted(lane, timeout)

    def tell_nowait(self, to: str, content: Any, *, message_type: str | None = None) -> None:
        """Send a message if there is room. Raises as `tell`, `MailboxFull` at once."""
        gateway = self._door("tell an agent")
        content, kind = addressed(content, message_type, OUTSIDE, to)
        gateway.tell_nowait(gateway.numbering.envelope(OUTSIDE, to, content, kind))

    async def publish(self, topic: str, content: Any, *, message_type: str | None = None) -> int:
        """Send to all subscribers of a topic without waiting. Returns how many got the message."""
        gateway = self._door("publish")
        delivered = gateway.publish(topic, *addressed(content, message_type, OUTSIDE, f"topic:{topic}"))
        await gateway.synced()
        return delivered

    def get_message_sender(self, name: str = OUTSIDE) -> MessageSender:
        """Send whole envelopes, or messages under a name of the caller's own."""
        return MessageSender(name, self._post)

    async def requeue(self, letter_id: int) -> str:
        """Send a dead letter again, as a new message whose ``causation`` names the old one. Returns the new id.

        Raises:
            KeyError: there is no such dead letter. As `tell`, and then the letter stays.
        """
        gateway = self._door("send a message")
        letter = self.dead_letters.get(letter_id)
        message = gateway.numbering.renumbered(letter.again())
        lane = gateway.accept(message)
        self.dead_letters.take(letter_id)  # in the step that sends it, so that it is never in both places or in none
        if lane is not None:
            try:
                await gateway.admitted(lane, 30.0)
            except BaseException:
                self.dead_letters.put_back(letter)
                raise
        await gateway.synced()
        return message.id

    async def _post(self, message: AgentMessage, timeout: float) -> str:
        gateway = self._door("send a message")
        content = admitted(message.content, message.message_type, message.sender, message.to)
        if content is not message.content:
            message = msgspec.structs.replace(message, content=content)
        if not message.incarnation:
            message = gateway.numbering.renumbered(message)
        await gateway.tell(message, timeout)
        return message.id

    def ready(self) -> Done:
        """All agents are registered: what an earlier life has left begins.

        A durable backend has kept mail and timers. They wait for this call, the first ask, tell or publish, for
        `settle`, `run_until_stopped`, or the end of the ``async with`` block, whichever comes first. So no kept turn
        asks an agent that is not there yet; one that does so all the same waits for it (option ``patience``). Agents
        registered before `start` wait for nothing. In memory nothing is kept, and the call does nothing.

        Raises:
            ManagerStopped: the manager does not run.
        """
        self._door("begin").open()
        return DONE

    def _door(self, what: str) -> Gateway:
        gateway = self._gateway
        if gateway is None:
            raise ManagerStopped(what)
        return gateway


def _checked_id(message_id: Any) -> str:
    if isinstance(message_id, str) and is_text(message_id):
        return message_id
    raise ValueError(f"{message_id!r} is no message id; use Unicode text")
