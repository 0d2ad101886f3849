"""The faulty network: carries what agents send each other, as badly as it is told to.

A channel leads from one sender to one receiver and is first in, first out, as a TCP
connection is: what is behind a held message waits, too. Channels overtake each other.
Answers go back through channels of their own. What a caller from outside sends, and
what an agent sends itself, is not carried, because it crosses nothing.

A coin decides whether an idle agent handles a request at once, in the step of its asker. Such a
request is not carried, and neither is its answer, if the turn does not wait for anything.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from moot.agent.ask import Ask
from moot.errors import AgentStopped, MailboxFull
from moot.ids import OUTSIDE
from moot.messaging.dead_letters import Reason
from moot.messaging.message import AgentMessage, ReplyTo
from moot.runtime.cell import Cell
from moot.runtime.phase import STOPPING
from moot.testing.simulation.channels import Channels, Parcel
from moot.testing.simulation.faults import STRUCK

if TYPE_CHECKING:
    from moot.runtime.routing.delivery import Delivery
    from moot.testing.simulation.world import World

__all__ = ["FaultyNetwork"]


class FaultyNetwork:
    """A `moot.runtime.routing.transport.Transport` that carries messages, requests and answers through channels."""

    def __init__(self, world: World, delivery: Delivery) -> None:
        self._world = world
        self._witness = world.witness
        self._delivery = delivery
        self._flow = delivery.flow
        self._asks = delivery.asks
        self._channels = Channels(world.loop, world.plan)
        self._draw = random.Random(f"{world.seed}:at once").random
        self._at_once: set[int] = set()  # the keys of asks whose requests are being handled in their askers' steps
        self.wait_idle = self._channels.wait_idle
        self.close = self._channels.close

    @property
    def is_busy(self) -> bool:
        """Whether anything is under way."""
        return self._channels.is_busy

    def carry(self, source: Cell, target: Cell, message: AgentMessage) -> None:
        for listener in self._witness.entered:
            listener(target, message)
        if source is target or not self._channels.can_fail:
            self._flow.put(source, target, message)
            return
        arrive = partial(self._arrive, source, target, message)
        lose = partial(self._delivery.refuse, message, Reason.STOPPED, AgentStopped(target.id))
        self._send(target, message, Parcel(arrive, lose), arrive)

    def request(self, ask: Ask[Any], target: Cell, message: AgentMessage) -> None:
        for listener in self._witness.requested:
            listener(ask, target, message)
        if ask.is_awaited and self._is_handled_at_once(ask, target, message):
            return
        if message.sender in (OUTSIDE, target.id) or not self._channels.can_fail:
            ask.lane = self._flow.offer(target, message)
            return
        copy = partial(self._arrive_request, target, message, is_copy=True)
        self._send(target, message, Parcel(partial(self._arrive_request, target, message), _nothing), copy)

    def publish(self, target: Cell, message: AgentMessage) -> bool:
        for listener in self._witness.entered:
            listener(target, message)
        if message.sender in (OUTSIDE, target.id) or not self._channels.can_fail:
            return self._flow.publish(target, message)
        arrive = partial(self._arrive_published, target, message)
        lose = partial(self._delivery.refuse, message, Reason.STOPPED, AgentStopped(target.id), receiver=target)
        self._send(target, message, Parcel(arrive, lose), arrive)
        return True

    def answer(self, reply_to: ReplyTo, answer: Any, error: BaseException | None) -> bool:
        ask = self._asks.get(reply_to)
        arrive = partial(self._asks.arrived, reply_to, answer, error)
        if ask is None or ask.message is None or ask.target is None:
            return arrive()
        asker, answerer = ask.message.sender, ask.target
        if asker in (OUTSIDE, answerer.id) or ask.key in self._at_once or not self._channels.can_fail:
            return arrive()
        channel = self._channels.of(f"{answerer.id}>{asker}~answers")
        struck = channel.place.next()
        for kind in struck or ():
            self._world.note(f"answer {STRUCK[kind]}", ask.message, answerer.id)
        if struck is not None and "drop" in struck:
            return True
        self._channels.put(channel, Parcel(arrive, _nothing), struck, arrive)
        return True

    def _is_handled_at_once(self, ask: Ask[Any], target: Cell, message: AgentMessage) -> bool:
        handle = self._delivery.handle_at_once
        if handle is None or self._draw() < 0.5 or self._channels.of(f"{message.sender}>{target.id}").parcels:
            return False  # (what its asker has sent before is still on its way)
        self._at_once.add(ask.key)
        try:
            return handle(ask, target, message)
        finally:
            self._at_once.discard(ask.key)

    def _send(self, target: Cell, message: AgentMessage, parcel: Parcel, copy: Callable[[], Any]) -> None:
        """Put a message on its channel, unless it is dropped."""
        channel = self._channels.of(f"{message.sender}>{target.id}")
        struck = channel.place.next()
        if struck is not None:
            for kind in struck:
                self._world.note(STRUCK[kind], message, target.id)
            if "drop" in struck:
                for listener in self._witness.dropped:
                    listener(target, message)
                return
            if "duplicate" in struck:
                for listener in self._witness.duplicated:
                    listener(target, message)
        self._channels.put(channel, parcel, struck, copy)

    def _arrive(self, source: Cell, target: Cell, message: AgentMessage) -> None:
        if target.phase is STOPPING:
            self._delivery.refuse(message, Reason.STOPPED, AgentStopped(target.id))
        elif message.reply_to is not None and self._asks.get(message.reply_to) is None:
            self._delivery.bury(message, Reason.EXPIRED, "nobody waits any more for the answer to what was forwarded")
        else:
            self._flow.put(source, target, message)
            if source.lanes:
                self._flow.settle_cycles(source)

    def _arrive_published(self, target: Cell, message: AgentMessage) -> None:
        if target.phase is STOPPING:
            self._delivery.refuse(message, Reason.STOPPED, AgentStopped(target.id), receiver=target)
        else:
            self._flow.publish(target, message)

    def _arrive_request(self, target: Cell, message: AgentMessage, *, is_copy: bool = False) -> None:
        """The request arrives. What becomes of a copy is no business of its asker's, who has the original's fate."""
        reply_to = message.reply_to
        ask = self._asks.get(reply_to) if reply_to is not None else None
        if target.phase is STOPPING:
            if not is_copy:
                self._delivery.refuse(message, Reason.STOPPED, AgentStopped(target.id))
        elif ask is None and not is_copy:
            self._delivery.bury(message, Reason.EXPIRED, "nobody waits any more for what was asked")
        elif (source := self._delivery.cells.get(message.sender)) and source.lanes and target in source.lanes:
            self._flow.put(source, target, message)  # it was asked while what it follows was still under way
        else:
            try:
                lane = self._flow.offer(target, message)
            except MailboxFull as error:
                if reply_to is not None and not is_copy:
                    self._asks.arrived(reply_to, None, error)
            else:
                if ask is not None and not is_copy:
                    ask.lane = lane
                    self._flow.blocked(target)  # a circle may close where a request arrives late


def _nothing() -> None:
    """What is lost without an account: its ask has an end of its own."""
