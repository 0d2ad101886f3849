"""Callers that are not agents: how their messages and asks enter the system.

They have no outbox and no turn. A message of theirs is accepted at once or waits for
room in person, up to a timeout of the caller's; an ask of theirs has nobody's deadline
to inherit.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

import msgspec

from moot.asks import Ask
from moot.dedup import SeenIds
from moot.errors import MailboxFull, ManagerStopped
from moot.flow import Lane
from moot.ids import TOPIC
from moot.message import AgentMessage
from moot.repeats import Repeats
from moot.system import System

__all__ = ["OUTSIDE", "Outside"]

OUTSIDE = "outside"
"""The sender's name of callers that are not agents."""


class Outside:
    """The door to a running system; the `Asker` of those who come in by it."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._cells = system.directory.cells
        self.withdraw = system.withdraw
        self._seen = SeenIds()
        self._repeats = Repeats(self._send, system.delivery.drop)
        self.is_open = True
        """Whether messages are still accepted."""

    async def tell(self, message: AgentMessage, timeout: float) -> None:
        """Deliver a message, waiting for room up to ``timeout`` seconds; one whose id was given before is not repeated.

        Raises:
            UnknownAgent, AgentStopped: nobody will handle it. MailboxFull: there was no room in time, or the mailbox
            is set to fail.
        """
        if message.given_id is None:
            await self._deliver(message, timeout)
            return
        key = (message.to, message.given_id)
        if key in self._seen:
            return
        self._seen.add(key)
        try:
            await self._deliver(message, timeout)
        except BaseException:
            self._seen.discard(key)  # it was not accepted, so sending it again is no repetition
            raise

    def tell_nowait(self, message: AgentMessage) -> None:
        """Deliver a message, if there is room. Raises as `tell`, `MailboxFull` at once."""
        self._system.flow.offer(self._system.target(message.to), message, waits=False)

    def publish(self, topic: str, content: Any, message_type: str) -> int:
        """Deliver to all subscribers of a topic, waiting for none; how many got it."""
        return self._system.delivery.publish(self.envelope(f"{TOPIC}{topic}", content, message_type))

    def envelope(self, to: str, content: Any, message_type: str) -> AgentMessage:
        """A new message from outside."""
        system = self._system
        return AgentMessage(OUTSIDE, to, content, message_type, system.next_sequence(), system.incarnation)

    def stamped(self, message: AgentMessage) -> AgentMessage:
        """An envelope that somebody else made, numbered as one of this run."""
        return msgspec.structs.replace(
            message, sequence=self._system.next_sequence(), incarnation=self._system.incarnation
        )

    def accept(self, message: AgentMessage) -> Lane | None:
        """Deliver a message; the lane that it waits in if the mailbox is full. Raises as `tell`."""
        target = self._cells.get(message.to)
        if target is not None and not target.stopping and target.mailbox.offer(message):
            if not target.queued:
                self._system.worker.notice(target)
            return None
        return self._system.flow.offer(self._system.target(message.to), message)

    def post(self, ask: Ask[Any]) -> None:
        """Send the request of an ask; one whose id was given before shares the answer of the first."""
        if not self.is_open:
            raise ManagerStopped("ask an agent")
        if ask.given_id is None:
            self._send(ask)
        else:
            ask.deadline, ask.table = self._system.now() + ask.timeout, self._system.asks
            self._repeats.post(ask, ask.given_id)

    def _send(self, ask: Ask[Any]) -> None:
        system = self._system
        target = self._cells.get(ask.to)
        if target is None or target.stopping:
            target = system.target(ask.to)
        deadline = system.now() + ask.timeout
        message = AgentMessage(
            OUTSIDE,
            target.id,
            ask.content,
            ask.message_type,
            system.next_sequence(),
            system.incarnation,
            0,
            system.asks.open(ask, deadline),
            deadline,
            given_id=ask.given_id,
        )
        if target.mailbox.offer(message):
            ask.target, ask.message = target, message
            if not target.queued:
                system.worker.notice(target)
        else:
            system.delivery.request(ask, target, message)

    async def _deliver(self, message: AgentMessage, timeout: float) -> None:
        lane = self.accept(message)
        if lane is not None:
            await self.admitted(lane, timeout)

    async def admitted(self, lane: Lane, timeout: float) -> None:
        """Return when the message in ``lane`` got room; raises `MailboxFull` after ``timeout`` seconds."""
        if not lane.messages:
            return
        system = self._system
        if not 0 <= timeout < math.inf:
            system.flow.withdraw(lane)
            raise ValueError(f"waiting for room needs a timeout of 0 s or more and an end, not {timeout:g}")
        lane.accepted = asyncio.get_running_loop().create_future()
        patience = _Patience(lane, lane.target.full(system.now()))
        expiring = system.wheel.entries(system.now() + timeout)
        expiring[patience] = None
        try:
            await lane.accepted
        except asyncio.CancelledError:
            system.flow.withdraw(lane)
            raise
        finally:
            expiring.pop(patience, None)


class _Patience:
    """On the wheel: how long a caller waits for room."""

    def __init__(self, lane: Lane, error: MailboxFull) -> None:
        self._lane = lane
        self._error = error

    def expire(self) -> None:
        accepted = self._lane.accepted
        if accepted is not None and not accepted.done():
            accepted.set_exception(self._error)
        self._lane.flow.withdraw(self._lane)
