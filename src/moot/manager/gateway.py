"""Callers that are not agents: how their messages and asks enter the system.

They have no outbox and no turn. A message of theirs is accepted at once or waits for
room in person, up to a timeout of the caller's; an ask of theirs has nobody's deadline
to inherit.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import msgspec

from moot.agent.ask import Ask
from moot.errors import AskTimeout, MailboxFull, ManagerStopped
from moot.ids import OUTSIDE, TOPIC
from moot.manager.idempotency import IdempotentAsks
from moot.messaging.dedup import SeenIds
from moot.messaging.flow_control import Lane
from moot.messaging.message import AgentMessage
from moot.runtime.system import System

if TYPE_CHECKING:
    from moot.runtime.cell import Cell
    from moot.runtime.durability.turn_journal import Durability

__all__ = ["Gateway"]


class Gateway:
    """The door to a running system; the `Asker` of those who come in by it."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._cells = system.directory.cells
        self.withdraw = system.withdraw
        self._seen = SeenIds()
        self._entering: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._durability = durability = system.durability
        self._idempotent = IdempotentAsks(self._send, system.delivery.drop)
        if durability is not None:
            self._idempotent.drop = lambda ask: None  # it is accepted for good
            self._idempotent.recall, self._idempotent.settle = durability.recall, durability.journal.after_sync
            durability.readmit = self._readmit
        self.is_durable = durability is not None
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
        durability = self._durability
        if key in self._entering:
            timeout = await self._room_made(key, timeout)
        if key not in self._seen and (durability is None or not durability.given(*key)[0]):
            self._seen.add(key)
            try:
                lane = self.accept(message)
                if durability is not None:
                    durability.give(*key)
                if lane is not None:
                    await self._enter(key, lane, message, timeout)
            except BaseException:
                self._seen.discard(key)  # it was not accepted, so sending it again is no repetition
                if durability is not None:
                    durability.take_back(*key)
                raise
        await self.kept()

    async def _enter(self, key: tuple[str, str], lane: Lane, message: AgentMessage, timeout: float) -> None:
        """Wait for room, and let those wait along who tell the same once more."""
        done = self._entering[key] = asyncio.get_running_loop().create_future()
        try:
            await self.admitted_or_withdrawn(lane, message, timeout)
        finally:
            del self._entering[key]
            done.set_result(None)

    async def _room_made(self, key: tuple[str, str], timeout: float) -> float:
        """Return when nobody waits with a message of this id for room any more: what is left of the time.

        Raises:
            MailboxFull: that took longer than ``timeout`` seconds.
        """
        system = self._system
        end = system.now() + timeout
        while (entering := self._entering.get(key)) is not None:
            left = end - system.now()
            if left <= 0 or not (await asyncio.wait({entering}, timeout=left))[0]:
                raise system.target(key[0]).full(system.now())
        return max(0.0, end - system.now())

    def tell_nowait(self, message: AgentMessage) -> None:
        """Deliver a message, if there is room. Raises as `tell`, `MailboxFull` at once."""
        self._offer(message, waits=False)

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
        if target is not None and not target.stopping and self._durability is None and target.mailbox.offer(message):
            if not target.queued:
                self._system.dispatcher.wake(target)
            return None
        return self._offer(message)

    def _offer(self, message: AgentMessage, *, waits: bool = True) -> Lane | None:
        target = self._system.target(message.to)
        if self._durability is not None:
            self._durability.accepted(target.id, message)
        try:
            return self._system.flow.offer(target, message, waits=waits)
        except BaseException:
            if self._durability is not None:
                self._durability.withdrawn(target.id, message)
            raise

    async def kept(self) -> None:
        """Return when what was accepted outlives whatever the backend outlives."""
        if self._durability is not None:
            await self._durability.journal.synced()

    def post(self, ask: Ask[Any]) -> None:
        """Send the request of an ask; one whose id was given before shares the answer of the first."""
        if not self.is_open:
            raise ManagerStopped("ask an agent")
        if ask.given_id is None and self._durability is None:
            self._send(ask)
            return
        ask.deadline, ask.table = self._system.now() + ask.timeout, self._system.asks
        if ask.given_id is not None:
            self._idempotent.post(ask, ask.given_id)
        else:
            self._send_for(ask)

    def _send_for(self, ask: Ask[Any]) -> None:
        """Send the request of an ask whose answer leaves the process: only when what led to it is kept."""
        request: Ask[Any] = Ask(self, ask.to, ask.content, ask.message_type, ask.timeout, started=True)
        self._send(request)
        request.on_progress = ask.on_progress
        request.when_done(lambda ended: self._pass_on(ask, ended))
        ask.when_done(lambda ended: _end_with(request, ended))

    def _pass_on(self, ask: Ask[Any], request: Ask[Any]) -> None:
        if self._durability is not None:
            self._durability.journal.after_sync(lambda lost: ask.resolve(request.answer, request.error or lost))

    def _readmit(self, message: AgentMessage, address: str, given_id: str) -> AgentMessage:
        """A request of an id was kept: who asks again shares it."""
        request: Ask[Any] = Ask(self, address, message.content, message.message_type, math.inf, started=True)
        request.given_id = given_id
        request.name = message.reply_to.inbox if message.reply_to is not None else None
        reply_to = self._system.asks.open(request, math.inf)
        request.message, request.target = message, self._cells.get(message.to)
        self._idempotent.adopt((address, given_id), request)
        return msgspec.structs.replace(message, reply_to=reply_to)

    def _send(self, ask: Ask[Any]) -> None:
        system = self._system
        deadline = system.now() + ask.timeout
        durability = self._durability
        if durability is not None and ask.given_id is not None:
            durability.name_outside(ask)
            if durability.is_deferred(ask.to, ask.given_id):
                system.asks.open(ask, deadline)
                return
        target = self._cells.get(ask.to)
        if target is None or target.stopping:
            target = system.target(ask.to)
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
        if durability is not None and ask.given_id is not None:
            self._send_kept(ask, target, message, durability)
        elif target.mailbox.offer(message):
            ask.target, ask.message = target, message
            if not target.queued:
                system.dispatcher.wake(target)
        else:
            system.delivery.request(ask, target, message)

    def _send_kept(self, ask: Ask[Any], target: Cell, message: AgentMessage, durability: Durability) -> None:
        """Send a request that outlives its asker. One that is refused has left nothing behind."""
        try:
            durability.accepted(target.id, message)
        except BaseException:
            self._system.asks.close(ask)
            raise
        key = (ask.to, message.id)
        durability.give(*key)
        try:
            self._system.delivery.request(ask, target, message)
        except BaseException:
            durability.take_back(*key)
            durability.withdrawn(target.id, message)
            raise

    async def _deliver(self, message: AgentMessage, timeout: float) -> None:
        await self.admitted_or_withdrawn(self.accept(message), message, timeout)
        await self.kept()

    async def admitted_or_withdrawn(self, lane: Lane | None, message: AgentMessage, timeout: float) -> None:
        """Return when an accepted message has room; raises `MailboxFull` after ``timeout`` seconds, and undoes it."""
        if lane is None:
            return
        try:
            await self.admitted(lane, timeout)
        except BaseException:
            if self._durability is not None:
                self._durability.withdrawn(lane.target.id, message)
            raise

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


def _end_with(request: Ask[Any], ask: Ask[Any]) -> None:
    """End a request, if it is not done, as the ask has ended that it was made for."""
    if isinstance(ask.error, AskTimeout):
        request.expire()
    else:
        request.cancel()


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
