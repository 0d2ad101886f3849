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
    from moot.runtime.durability.turn_journal import TurnJournal

__all__ = ["Gateway"]


class Gateway:
    """The door to a running system; the `Asker` of those who come in by it."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._cells = system.directory.cells
        self.numbering = system.numbering
        self.withdraw = system.withdraw
        self._seen = SeenIds()
        self._entering: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._turn_journal = turn_journal = system.turn_journal
        self._idempotent = IdempotentAsks(self._send, system.delivery.drop)
        if turn_journal is not None:
            self._idempotent.drop = lambda ask: None  # it is accepted for good
            self._idempotent.recall, self._idempotent.settle = turn_journal.recall, turn_journal.journal.after_sync
            turn_journal.readmit = self._readmit
        self.is_durable = turn_journal is not None
        self.is_open = True
        """Whether messages are still accepted."""

    async def tell(self, message: AgentMessage, timeout: float) -> None:
        """Deliver a message, waiting for room up to ``timeout`` seconds; one whose id was given before is not repeated.

        Raises:
            UnknownAgent, AgentStopped: nobody will handle it. MailboxFull: there was no room in time, or the mailbox
            is set to fail.
        """
        if message.idempotency_key is None:
            await self._deliver(message, timeout)
            return
        key = (message.to, message.idempotency_key)
        turn_journal = self._turn_journal
        if key in self._entering:
            timeout = await self._room_made(key, timeout)
        if key not in self._seen and (turn_journal is None or not turn_journal.given(*key)[0]):
            self._seen.add(key)
            try:
                lane = self.accept(message)
                if turn_journal is not None:
                    turn_journal.give(*key)
                if lane is not None:
                    await self._enter(key, lane, message, timeout)
            except BaseException:
                self._seen.discard(key)  # it was not accepted, so sending it again is no repetition
                if turn_journal is not None:
                    turn_journal.take_back(*key)
                raise
        await self.synced()

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
        return self._system.delivery.publish(self.numbering.envelope(OUTSIDE, f"{TOPIC}{topic}", content, message_type))

    def accept(self, message: AgentMessage) -> Lane | None:
        """Deliver a message; the lane that it waits in if the mailbox is full. Raises as `tell`."""
        target = self._cells.get(message.to)
        if target is not None and not target.stopping and self._turn_journal is None and target.mailbox.offer(message):
            if not target.queued:
                self._system.dispatcher.wake(target)
            return None
        return self._offer(message)

    def _offer(self, message: AgentMessage, *, waits: bool = True) -> Lane | None:
        target = self._system.target(message.to)
        if self._turn_journal is not None:
            self._turn_journal.accepted(target.id, message)
        try:
            return self._system.flow.offer(target, message, waits=waits)
        except BaseException:
            if self._turn_journal is not None:
                self._turn_journal.withdrawn(target.id, message)
            raise

    async def synced(self) -> None:
        """Return when what was accepted outlives whatever the backend outlives."""
        if self._turn_journal is not None:
            await self._turn_journal.journal.synced()

    def post(self, ask: Ask[Any]) -> None:
        """Send the request of an ask; one whose id was given before shares the answer of the first."""
        if not self.is_open:
            raise ManagerStopped("ask an agent")
        if ask.idempotency_key is None and self._turn_journal is None:
            self._send(ask)
            return
        ask.deadline, ask.table = self._system.now() + ask.timeout, self._system.asks
        if ask.idempotency_key is not None:
            self._idempotent.post(ask, ask.idempotency_key)
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
        if self._turn_journal is not None:
            self._turn_journal.journal.after_sync(lambda lost: ask.resolve(request.answer, request.error or lost))

    def _readmit(self, message: AgentMessage, address: str, idempotency_key: str) -> AgentMessage:
        """A request of an id was kept: who asks again shares it."""
        request: Ask[Any] = Ask(self, address, message.content, message.message_type, math.inf, started=True)
        request.idempotency_key = idempotency_key
        request.name = message.reply_to.inbox if message.reply_to is not None else None
        reply_to = self._system.asks.open(request, math.inf)
        request.message, request.target = message, self._cells.get(message.to)
        self._idempotent.adopt((address, idempotency_key), request)
        return msgspec.structs.replace(message, reply_to=reply_to)

    def _send(self, ask: Ask[Any]) -> None:
        system = self._system
        deadline = system.now() + ask.timeout
        turn_journal = self._turn_journal
        if turn_journal is not None and ask.idempotency_key is not None:
            turn_journal.name_outside(ask)
            if turn_journal.is_deferred(ask.to, ask.idempotency_key):
                system.asks.open(ask, deadline)
                return
        target = self._cells.get(ask.to)
        if target is None or target.stopping:
            target = system.target(ask.to)
        message = self.numbering.envelope(
            OUTSIDE,
            target.id,
            ask.content,
            ask.message_type,
            reply_to=system.asks.open(ask, deadline),
            deadline=deadline,
            idempotency_key=ask.idempotency_key,
        )
        if turn_journal is not None and ask.idempotency_key is not None:
            self._send_durable(ask, target, message, turn_journal)
        elif target.mailbox.offer(message):
            ask.target, ask.message = target, message
            if not target.queued:
                system.dispatcher.wake(target)
        else:
            system.delivery.request(ask, target, message)

    def _send_durable(self, ask: Ask[Any], target: Cell, message: AgentMessage, turn_journal: TurnJournal) -> None:
        """Send a request that outlives its asker. One that is refused has left nothing behind."""
        try:
            turn_journal.accepted(target.id, message)
        except BaseException:
            self._system.asks.close(ask)
            raise
        key = (ask.to, message.id)
        turn_journal.give(*key)
        try:
            self._system.delivery.request(ask, target, message)
        except BaseException:
            turn_journal.take_back(*key)
            turn_journal.withdrawn(target.id, message)
            raise

    async def _deliver(self, message: AgentMessage, timeout: float) -> None:
        await self.admitted_or_withdrawn(self.accept(message), message, timeout)
        await self.synced()

    async def admitted_or_withdrawn(self, lane: Lane | None, message: AgentMessage, timeout: float) -> None:
        """Return when an accepted message has room; raises `MailboxFull` after ``timeout`` seconds, and undoes it."""
        if lane is None:
            return
        try:
            await self.admitted(lane, timeout)
        except BaseException:
            if self._turn_journal is not None:
                self._turn_journal.withdrawn(lane.target.id, message)
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
