"""The gateway: how messages and asks of callers that are not agents enter the system.

Such a caller has no outbox and no turn. Its message is accepted at once, or the caller waits
for room, up to a timeout of its own. Its ask has no deadline to inherit.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import msgspec

from moot.agent.ask import Ask, Asker
from moot.errors import AskTimeout, MailboxFull, ManagerStopped
from moot.ids import OUTSIDE, TOPIC, checked_text
from moot.manager.idempotency import IdempotentAsks
from moot.messaging.dedup import SeenIds
from moot.messaging.flow_control import Lane
from moot.messaging.message import AgentMessage, ReplyTo, RequestKey
from moot.policies.fields import seconds_in
from moot.runtime.phase import RUNNING, STOPPING
from moot.runtime.system import System

if TYPE_CHECKING:
    from moot.runtime.durability.turn_journal import TurnJournal
    from moot.telemetry.mail_observer import MailObserver

__all__ = ["Gateway"]


class Gateway:
    """The door to a running system. It is the `Asker` of asks with an idempotency key, and of all asks on a journal.

    ``asker`` is the `Asker` of all other asks. On a system in memory that is `Requests`, with nothing between.
    """

    def __init__(self, system: System, observer: MailObserver | None = None) -> None:
        self._system = system
        self._cells = system.directory.cells
        self._flow = system.flow
        self._requests = system.requests
        self._wake = system.pool.wake
        self.open = system.opening.open
        self._observer = observer
        self._journal: TurnJournal | None = system.journal
        self._whole = nullcontext() if system.journal is None else system.journal.whole
        self._seen = SeenIds()
        self._entering: dict[RequestKey, tuple[Lane, asyncio.Future[None]]] = {}
        self._idempotent = IdempotentAsks(system.requests, system.delivery, system.journal)
        self.numbering = system.numbering
        self.withdraw = system.withdraw
        self.is_durable = system.journal is not None
        self._is_direct = system.journal is None and observer is None
        self.asker: Asker = system.requests if self._is_direct else self
        system.registrar.readmit = self._readmit

    async def tell(self, message: AgentMessage, timeout: float) -> None:
        """Deliver a message, waiting for room up to ``timeout`` seconds. Of those with one key only the first enters.

        Raises:
            UnknownAgent, AgentStopped: no agent will handle it. MailboxFull: there was no room in time, or the mailbox
            is set to fail.
        """
        self.open()
        if message.idempotency_key is None:
            lane = self._offer(message)
            if lane is not None:
                await self.admitted(lane, timeout)
        else:
            await self._tell_once((message.to, message.idempotency_key), message, timeout)
        if self._journal is not None:
            await self._journal.store.synced()

    async def _tell_once(self, key: RequestKey, message: AgentMessage, timeout: float) -> None:
        replies = self._journal.replies if self._journal is not None else None
        if key in self._entering:
            timeout = await self._room_made(key, timeout)
        if key in self._seen or (replies is not None and replies.is_known(key)):
            return
        self._seen.add(key)
        try:
            with self._whole:
                lane = self.accept(message)
                if replies is not None:
                    replies.accept(key)
            if lane is not None:
                await self._enter(key, lane, timeout)
        except BaseException:
            self._seen.discard(key)  # the message was not accepted, so sending it again is no repetition
            if replies is not None:
                replies.forget(key)
            raise

    async def _enter(self, key: RequestKey, lane: Lane, timeout: float) -> None:
        """Wait for room. Callers with the same key wait along."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._entering[key] = lane, done
        try:
            await self.admitted(lane, timeout)
        finally:
            del self._entering[key]
            done.set_result(None)

    async def _room_made(self, key: RequestKey, timeout: float) -> float:
        """Wait until no message of this key waits for room, and return what is left of ``timeout``.

        Raises:
            MailboxFull: that took longer than ``timeout`` seconds.
        """
        system = self._system
        end = system.now() + seconds_in("timeout=", timeout)
        while (entering := self._entering.get(key)) is not None:
            lane, done = entering
            left = end - system.now()
            if left <= 0 or not (await asyncio.wait({done}, timeout=left))[0]:
                raise lane.target.full(system.now())
        return max(0.0, end - system.now())

    def tell_nowait(self, message: AgentMessage) -> None:
        """Deliver a message, if there is room. Raises as `tell`, `MailboxFull` at once."""
        self._offer(message, waits=False)

    def publish(self, topic: str, content: Any, message_type: str) -> int:
        """Deliver to all subscribers of a topic without waiting. Returns how many got the message."""
        address = f"{TOPIC}{checked_text('a topic', topic)}"
        self.open()
        message = self.numbering.envelope(OUTSIDE, address, content, message_type)
        return self._system.delivery.publish(message)

    def accept(self, message: AgentMessage) -> Lane | None:
        """Deliver a message. If the mailbox is full, the result is the lane in which it waits. Raises as `tell`."""
        if self._is_direct:
            target = self._cells.get(message.to)
            if target is not None and target.phase is not STOPPING and target.mailbox.offer(message):
                if not target.queued:
                    try:
                        self._wake(target)
                    except RecursionError:  # the caller has run out of stack
                        target.mailbox.withdraw(message)
                        raise
                return None
        return self._offer(message)

    def _offer(self, message: AgentMessage, *, waits: bool = True) -> Lane | None:
        target = self._cells.get(message.to)
        if target is None or target.phase is STOPPING:
            target = self._system.router.reach(message.to, message.content)
        if self._observer is not None:
            self._observer.sending(message)
        if self._journal is not None:
            self.open()
            self._journal.accepted(target.id, message)
        try:
            lane = self._flow.offer(target, message, waits=waits)
        except BaseException:
            if self._journal is not None:
                self._journal.withdrawn(target.id, message)
            raise
        if self._observer is not None:
            self._observer.entered(message)
        return lane

    async def synced(self) -> None:
        """Return when all accepted messages are stored as safely as the backend can."""
        if self._journal is not None:
            await self._journal.store.synced()

    def post(self, ask: Ask[Any]) -> None:
        """Send the request of an ask. An ask whose key was given before shares the answer of the first."""
        if self._system.phase.now is not RUNNING:
            raise ManagerStopped("ask an agent")
        self.open()
        ask.deadline, ask.table = self._system.now() + ask.timeout, self._system.asks
        if ask.idempotency_key is not None:
            self._idempotent.post(ask, ask.idempotency_key)
        elif self._journal is not None:
            self._send_for(ask, self._journal)
        else:
            self._requests.enter(ask)

    def _send_for(self, ask: Ask[Any], journal: TurnJournal) -> None:
        """Send the request of ``ask``. Its answer leaves the process when all that led to it is stored."""
        request: Ask[Any] = Ask(self, ask.to, ask.content, ask.message_type, ask.timeout, started=True)
        self._requests.enter(request)
        request.on_progress = ask.on_progress
        request.when_done(
            lambda ended: journal.store.after_sync(lambda lost: ask.resolve(ended.answer, ended.error or lost))
        )
        ask.when_done(lambda ended: _end_with(request, ended))

    def _readmit(self, message: AgentMessage) -> AgentMessage:
        """Open the ask of a stored request, so that a caller that asks again under its key shares it."""
        asks = self._system.durable_asks
        key = asks.key_of(message) if asks is not None else None
        if asks is None or key is None:
            return message
        waited_for = self._idempotent.under_way(key)
        if waited_for is not None:  # a caller has asked again before the request was read
            waited_for.message, waited_for.target = message, self._cells.get(message.to)
            return msgspec.structs.replace(message, reply_to=ReplyTo(*key))
        request: Ask[Any] = Ask(self, key[0], message.content, message.message_type, math.inf, started=True)
        request.idempotency_key, request.request_key = key[1], key
        reply_to = asks.open(request, math.inf)
        request.message, request.target = message, self._cells.get(message.to)
        self._idempotent.adopt(key, request)
        return msgspec.structs.replace(message, reply_to=reply_to)

    async def admitted(self, lane: Lane, timeout: float) -> None:
        """Return when the message in ``lane`` got room.

        Raises:
            MailboxFull: there was no room for ``timeout`` seconds, and the message was not accepted.
        """
        waiting = tuple(lane.messages)
        try:
            await self._room_for(lane, timeout)
        except BaseException:
            for message in waiting:
                if self._journal is not None:
                    self._journal.withdrawn(lane.target.id, message)
                if self._observer is not None:
                    self._observer.withdrawn(message)
            raise

    async def _room_for(self, lane: Lane, timeout: float) -> None:
        if not lane.messages:
            return
        system = self._system
        try:
            if not 0 <= seconds_in("timeout=", timeout) < math.inf:
                raise ValueError(f"waiting for room needs a timeout of 0 s or more and an end, not {timeout:g}")
        except (TypeError, ValueError):
            self._flow.withdraw(lane)
            raise
        lane.accepted = asyncio.get_running_loop().create_future()
        patience = _Patience(lane, lane.target.full(system.now()))
        expiring = system.wheel.entries(system.now() + timeout)
        expiring[patience] = None
        try:
            await lane.accepted
        except asyncio.CancelledError:
            self._flow.withdraw(lane)
            raise
        finally:
            expiring.pop(patience, None)


def _end_with(request: Ask[Any], ask: Ask[Any]) -> None:
    """``ask`` has ended, so end the ``request`` that was made for it."""
    if isinstance(ask.error, AskTimeout):
        request.expire()
    else:
        request.cancel()


class _Patience:
    """An entry on the wheel: how long a caller waits for room."""

    def __init__(self, lane: Lane, error: MailboxFull) -> None:
        self._lane = lane
        self._error = error

    def expire(self) -> None:
        accepted = self._lane.accepted
        if accepted is not None and not accepted.done():
            accepted.set_exception(self._error)
        self._lane.flow.withdraw(self._lane)
