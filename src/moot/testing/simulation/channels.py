"""Channels: how things travel from one agent to another in a simulation, and how long.

A channel leads from one sender to one receiver and is first in, first out, as a TCP
connection is: what is behind a held parcel waits, too. Channels overtake each other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from moot.testing.simulation.faults import FaultKind, Place, Plan

__all__ = ["Channel", "Channels", "Parcel"]


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


class Channels:
    """All channels of one simulation."""

    def __init__(self, loop: asyncio.AbstractEventLoop, plan: Plan) -> None:
        self._loop = loop
        self._plan = plan
        self._kinds = plan.faults.in_channels
        self._channels: dict[str, Channel] = {}
        self._busy: dict[Channel, None] = {}
        self._copies = 0
        self._idle: list[asyncio.Future[None]] = []
        self._is_open = True

    @property
    def can_fail(self) -> bool:
        """Whether anything can befall what travels here."""
        return self._is_open and bool(self._kinds)

    def of(self, name: str) -> Channel:
        """The channel of this name; the first call makes it."""
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = Channel(self._plan.place(name, self._kinds))
        return channel

    def put(
        self, channel: Channel, parcel: Parcel, struck: dict[FaultKind, float] | None, copy: Callable[[], Any]
    ) -> None:
        """Send a parcel, as late as the faults that ``struck`` it say; ``copy`` arrives a second time."""
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
            self.put(channel, Parcel(copy, _nothing), None, _nothing)
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

    def _note_idle(self) -> None:
        if not self.is_busy:
            for waiter in self._idle:
                if not waiter.done():
                    waiter.set_result(None)
            self._idle.clear()


def _nothing() -> None:
    """What is lost without an account: its ask has an end of its own."""
