"""The faulty link: carries what agents send each other, as badly as it is told to.

A channel leads from one sender to one receiver and is first in, first out, as a TCP
connection is: what is behind a held message waits, too. Channels overtake each other.
Answers go back through channels of their own. What a caller from outside sends, and
what an agent sends itself, is not carried, because it crosses nothing.
"""

from __future__ import annotations

import asyncio
import random
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from moot.asks import Ask
from moot.cell import Cell
from moot.deadletters import Reason
from moot.errors import AgentStopped, MailboxFull
from moot.message import AgentMessage, ReplyTo
from moot.outside import OUTSIDE
from moot.testing.faults import STRUCK, Crashed, FaultKind, Place
from moot.turn import Effects

if TYPE_CHECKING:
    from moot.context import AgentContext
    from moot.handlers import Handler
    from moot.testing.world import World

__all__ = ["FaultyLink"]

_PASSES = 1 / 8
"""How often the tasks of others come first when a turn begins; a runner of its own accord lets them every 256 turns."""
_SUSPENSIONS = 4
"""A crash comes at one of the first so many suspensions of a handler, or at its end."""


class Parcel:
    """Something on its way. ``lose`` is called if the link is closed before it arrives."""

    __slots__ = ("arrive", "hold", "lose")

    def __init__(self, arrive: Callable[[], object], lose: Callable[[], object], hold: float = 0.0) -> None:
        self.arrive = arrive
        self.lose = lose
        self.hold = hold


class Channel:
    """The way from one sender to one receiver. ``parcels`` are under way; the first is held by a timer."""

    __slots__ = ("parcels", "place")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.parcels: deque[Parcel] = deque()


class FaultyLink:
    """A `moot.link.Link`: carries messages, requests and answers through channels, and runs and crashes handlers."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._witness = world.witness
        self._loop = world.loop
        self._system = world.system
        self._delivery = world.system.delivery
        self._flow = world.system.flow
        self._asks = world.system.asks
        faults = world.plan.faults
        self._in_channels = faults.in_channels
        self._in_turns = faults.in_turns
        self._channels: dict[str, Channel] = {}
        self._agents: dict[str, Place] = {}
        self._busy: dict[Channel, None] = {}
        self._copies = 0
        self._idle: list[asyncio.Future[None]] = []
        self._running: dict[tuple[str, int], Cell] = {}
        self._paused: dict[Cell, float] = {}
        self._draw = random.Random(f"{world.seed}:passes").random
        self._is_open = True

    # messages
    def carry(self, source: Cell, target: Cell, message: AgentMessage) -> None:
        for listener in self._witness.entered:
            listener(target, message)
        if source is target or not self._carries:
            self._flow.put(source, target, message)
            return
        arrive = partial(self._arrive, source, target, message)
        lose = partial(self._delivery.refuse, message, Reason.STOPPED, AgentStopped(target.id))
        self._send(target, message, Parcel(arrive, lose), arrive)

    def request(self, ask: Ask[Any], target: Cell, message: AgentMessage) -> None:
        if message.sender == OUTSIDE:  # the door has told the witness
            ask.lane = self._flow.offer(target, message)
            return
        for listener in self._witness.requested:
            listener(ask, target, message)
        if message.sender == target.id or not self._carries:
            ask.lane = self._flow.offer(target, message)
            return
        copy = partial(self._arrive_request, target, message, is_copy=True)
        self._send(target, message, Parcel(partial(self._arrive_request, target, message), _nothing), copy)

    def publish(self, target: Cell, message: AgentMessage) -> bool:
        for listener in self._witness.entered:
            listener(target, message)
        if message.sender in (OUTSIDE, target.id) or not self._carries:
            return self._flow.publish(target, message)
        arrive = partial(self._arrive_published, target, message)
        lose = partial(self._delivery.refuse, message, Reason.STOPPED, AgentStopped(target.id), receiver=target)
        self._send(target, message, Parcel(arrive, lose), arrive)
        return True

    def answer(self, reply_to: ReplyTo, answer: Any, error: BaseException | None) -> bool:
        ask = self._asks.get(reply_to)
        arrive = partial(self._arrive_answer, reply_to, answer, error)
        if ask is None or ask.message is None or ask.target is None:
            return arrive()
        asker, answerer = ask.message.sender, ask.target
        if asker in (OUTSIDE, answerer.id) or not self._carries:
            return arrive()
        channel = self._channel(f"{answerer.id}>{asker}~answers")
        struck = channel.place.next()
        for kind in struck or ():
            self._world.note(f"answer {STRUCK[kind]}", ask.message, answerer.id)
        if struck is not None and "drop" in struck:
            return True
        self._put(channel, Parcel(arrive, _nothing), struck, arrive)
        return True

    # handlers
    async def run(self, cell: Cell, ctx: AgentContext[Any], handler: Handler, content: Any) -> Any:
        witness = self._witness
        message = ctx.message
        effects = ctx.effects = Effects(outputs=_Outputs(witness.sending) if witness.sending else [])
        self._running[cell.id, message.sequence] = cell
        self._world.taken(cell, ctx)
        if self._draw() < _PASSES:
            await asyncio.sleep(0)
        struck = self._place_of(cell).next() if self._in_turns else None
        for kind in struck or ():
            self._world.note(STRUCK[kind], message, cell.id, ctx.attempt)
        if struck is not None or cell in self._paused:
            await self._pause(cell, struck)
        crash = struck.get("crash") if struck is not None else None
        answer = handler.call(cell.agent, content, ctx) if handler.wants_context else handler.call(cell.agent, content)
        if handler.is_async or answer.__class__ is CoroutineType:
            if crash is not None and isinstance(answer, Coroutine):
                answer = _crashing(answer, cell.id, int(crash * (_SUSPENSIONS + 1)))
            answer = await answer
        if struck is not None:
            if "slow" in struck:
                await asyncio.sleep(struck["slow"])
            if crash is not None:
                raise Crashed(cell.id)
        if ctx.closed:
            raise AgentStopped(cell.id)  # it was abandoned meanwhile
        for listener in witness.returned:
            listener(cell, message, effects)
        return answer

    def cell_of(self, agent_id: str, message: AgentMessage) -> Cell | None:
        """The cell whose run of a handler for ``message`` has ended; None if it never got as far."""
        return self._running.pop((agent_id, message.sequence), None)

    # life
    async def wait_idle(self) -> None:
        """Return when nothing is under way."""
        while self.is_busy:
            waiter = self._loop.create_future()
            self._idle.append(waiter)
            await waiter

    @property
    def is_busy(self) -> bool:
        """Whether anything is under way."""
        return bool(self._busy or self._copies) and self._is_open

    def close(self) -> None:
        """Lose what is under way, each with its dead letter; from now on nothing is held."""
        self._is_open = False
        for channel in tuple(self._busy):
            for parcel in tuple(channel.parcels):
                parcel.lose()
            channel.parcels.clear()
        self._busy.clear()
        self._note_idle()

    # channels
    @property
    def _carries(self) -> bool:
        return self._is_open and bool(self._in_channels)

    def _send(self, target: Cell, message: AgentMessage, parcel: Parcel, copy: Callable[[], Any]) -> None:
        """Put a message on its channel, unless it is dropped."""
        channel = self._channel(f"{message.sender}>{target.id}")
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
        self._put(channel, parcel, struck, copy)

    def _put(
        self, channel: Channel, parcel: Parcel, struck: dict[FaultKind, float] | None, copy: Callable[[], Any]
    ) -> None:
        if struck is not None:
            parcel.hold = struck.get("delay", 0.0) + struck.get("reorder", 0.0)
            if "duplicate" in struck:
                self._copies += 1
                self._loop.call_later(parcel.hold + struck["duplicate"], self._repeat, channel, copy)
        if channel.parcels:
            channel.parcels.append(parcel)
        elif parcel.hold:
            channel.parcels.append(parcel)
            self._busy[channel] = None
            self._loop.call_later(parcel.hold, self._release, channel)
        else:
            parcel.arrive()

    def _repeat(self, channel: Channel, copy: Callable[[], Any]) -> None:
        self._copies -= 1
        if self._is_open:
            self._put(channel, Parcel(copy, _nothing), None, _nothing)
        self._note_idle()

    def _release(self, channel: Channel) -> None:
        """The first parcel has been held long enough; those behind it go, too, up to the next that is held."""
        parcels = channel.parcels
        if not parcels:  # the link was closed
            return
        parcels[0].arrive()
        parcels.popleft()
        while parcels and not parcels[0].hold:
            parcels[0].arrive()
            parcels.popleft()
        if parcels:
            self._loop.call_later(parcels[0].hold, self._release, channel)
        else:
            self._busy.pop(channel, None)
            self._note_idle()

    def _channel(self, name: str) -> Channel:
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = Channel(self._world.plan.place(name, self._in_channels))
        return channel

    def _note_idle(self) -> None:
        if not self.is_busy:
            for waiter in self._idle:
                if not waiter.done():
                    waiter.set_result(None)
            self._idle.clear()

    # arrivals
    def _arrive(self, source: Cell, target: Cell, message: AgentMessage) -> None:
        if target.stopping:
            self._delivery.refuse(message, Reason.STOPPED, AgentStopped(target.id))
        elif message.reply_to is not None and self._asks.get(message.reply_to) is None:
            self._delivery.bury(message, Reason.EXPIRED, "nobody waits any more for the answer to what was forwarded")
        else:
            self._flow.put(source, target, message)
            if source.lanes:
                self._flow.settle_cycles(source)

    def _arrive_published(self, target: Cell, message: AgentMessage) -> None:
        if target.stopping:
            self._delivery.refuse(message, Reason.STOPPED, AgentStopped(target.id), receiver=target)
        else:
            self._flow.publish(target, message)

    def _arrive_request(self, target: Cell, message: AgentMessage, *, is_copy: bool = False) -> None:
        """The request arrives. What becomes of a copy is no business of its asker's, who has the original's fate."""
        reply_to = message.reply_to
        ask = self._asks.get(reply_to) if reply_to is not None else None
        if target.stopping:
            if not is_copy:
                self._delivery.refuse(message, Reason.STOPPED, AgentStopped(target.id))
        elif ask is None and not is_copy:
            self._delivery.bury(message, Reason.EXPIRED, "nobody waits any more for what was asked")
        elif (source := self._system.directory.cells.get(message.sender)) and source.lanes and target in source.lanes:
            self._flow.put(source, target, message)  # it was asked while what it follows was still under way
        else:
            try:
                lane = self._flow.offer(target, message)
            except MailboxFull as error:
                if reply_to is not None and not is_copy:
                    self._arrive_answer(reply_to, None, error)
            else:
                if ask is not None and not is_copy:
                    ask.lane = lane

    def _arrive_answer(self, reply_to: ReplyTo, answer: Any, error: BaseException | None) -> bool:
        asks = self._asks
        asks.link = None
        try:
            return asks.resolve(reply_to, answer) if error is None else asks.fail(reply_to, error)
        finally:
            asks.link = self

    # turns
    def _place_of(self, cell: Cell) -> Place:
        place = self._agents.get(cell.id)
        if place is None:
            place = self._agents[cell.id] = self._world.plan.place(cell.id, self._in_turns)
        return place

    async def _pause(self, cell: Cell, struck: dict[FaultKind, float] | None) -> None:
        """Let an agent stand still: it begins no turn before its pause is over."""
        now = self._loop.time()
        until = max(self._paused.get(cell, 0.0), now + (struck.get("pause", 0.0) if struck is not None else 0.0))
        if until > now:
            self._paused[cell] = until
            await asyncio.sleep(until - now)
        if self._loop.time() >= self._paused.get(cell, 0.0):
            self._paused.pop(cell, None)


class _Outputs(list[AgentMessage]):
    """The outputs of a turn; says when one is added, which is when its content must be what it will be."""

    def __init__(self, listeners: list[Callable[..., None]]) -> None:
        super().__init__()
        self._listeners = listeners

    def append(self, message: AgentMessage) -> None:
        for listener in self._listeners:
            listener(message)
        super().append(message)


@types.coroutine
def _crashing(handler: Coroutine[Any, Any, Any], agent_id: str, suspension: int) -> Generator[Any, Any, Any]:
    """Run a handler, and crash it when it goes on after its n-th suspension."""
    given: Any = None
    failure: BaseException | None = None
    while True:
        try:
            waits_for = handler.send(given) if failure is None else handler.throw(failure)
        except StopIteration as end:
            return end.value
        given = failure = None
        try:
            given = yield waits_for
        except BaseException as error:
            failure = error
        if failure is None and suspension == 0:
            failure = Crashed(agent_id)
        suspension -= 1


def _nothing() -> None:
    """What is lost without an account: its ask has an end of its own."""
