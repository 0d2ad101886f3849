"""Timers: messages that are sent later, once or again and again.

A timer belongs to an agent. It fires as a message of that agent, and ends with the agent. On a
durable backend it outlives the process. If it came due while the process was down, it is sent
once, however late, unless the timer says otherwise. A repeating timer keeps its beat.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from typing import TYPE_CHECKING

import msgspec

from moot.agent.effects import Timer
from moot.messaging.dead_letters import Reason
from moot.messaging.message import AgentMessage, MessageName, Numbering
from moot.runtime.cell import Cell
from moot.runtime.routing.delivery import Delivery

if TYPE_CHECKING:
    from moot.clock import Clock
    from moot.telemetry.mail_observer import MailObserver

__all__ = ["Timers"]

_log = logging.getLogger("moot.runtime.dispatch.timers")


class _Set(msgspec.Struct, eq=False):
    """A timer that is set."""

    cell: Cell
    timer: Timer
    due: float
    handle: asyncio.TimerHandle | None = None


class Timers:
    """The timers of all agents. ``numbering`` numbers the messages of repeating timers."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        delivery: Delivery,
        numbering: Numbering,
        observer: MailObserver | None = None,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._delivery = delivery
        self._numbering = numbering
        self._timers: dict[Cell, dict[MessageName, _Set]] = {}
        self._journal = delivery.journal
        self._whole = delivery.journal.whole if delivery.journal is not None else contextlib.nullcontext()
        self._observer = observer

    def __len__(self) -> int:
        """How many messages are scheduled."""
        return sum(map(len, self._timers.values()))

    def put(self, cell: Cell, timer: Timer | str, body: bytes | None) -> None:
        """Set a timer of an agent, in place of the one that has its name; or, with a name, cancel that one.

        ``body`` is the encoded timer, if there is one.
        """
        name = timer if isinstance(timer, str) else timer.name
        if name is not None:
            for found in [one for one in self._of(cell) if one.timer.name == name]:
                self._drop(found)
                if self._observer is not None:
                    self._observer.withdrawn(found.timer.message)
        if not isinstance(timer, str):
            self._set(_Set(cell, timer, self._clock.now() + timer.delay), body)

    def restore(self, cell: Cell, timer: Timer, due: float) -> None:
        """Set a stored timer again. The timer says what becomes of it if it came due while the process was down."""
        now = self._clock.now()
        if due <= now and timer.every:
            beats = 1 + math.floor((now - due) / timer.every)
            skipped = {"once": beats - 1, "skip": beats, "all": 0}[timer.missed]
            due += skipped * timer.every
        elif due <= now and timer.missed == "skip":
            self._end(timer.message)
            return
        self._set(_Set(cell, timer, due))

    def withdraw(self, cell: Cell) -> list[tuple[Timer, float]]:
        """Fire the timers of ``cell`` no more, and return them with the times at which they are due.

        They stay in the store.
        """
        found = self._timers.pop(cell, {}).values()
        for one in found:
            if one.handle is not None:
                one.handle.cancel()
        return [(one.timer, one.due) for one in found]

    def ended(self, cell: Cell) -> None:
        """The agent of ``cell`` has stopped for good: its timers are not sent."""
        for found in self._of(cell):
            self._drop(found)
            self._delivery.bury(found.timer.message, Reason.STOPPED, f"agent {cell.id!r}, which scheduled it, stopped")

    def close(self) -> None:
        """The system stops: no timer fires any more."""
        for found in [one for cell in self._timers for one in self._of(cell)]:
            if found.handle is not None:
                found.handle.cancel()
            self._delivery.bury(found.timer.message, Reason.STOPPED, "it was scheduled for after the stop")
        self._timers.clear()

    def _of(self, cell: Cell) -> list[_Set]:
        return list(self._timers.get(cell, {}).values())

    def _set(self, one: _Set, body: bytes | None = None) -> None:
        message = one.timer.message
        self._timers.setdefault(one.cell, {})[message.name] = one
        if self._journal is not None:
            self._journal.put_timer(one.cell, one.timer, one.due, body)
        one.handle = self._loop.call_later(max(0.0, one.due - self._clock.now()), self._fire, one)

    def _fire(self, one: _Set) -> None:
        with self._whole:
            self._send(one)

    def _send(self, one: _Set) -> None:
        timer = one.timer
        if not timer.every:
            self._drop(one)
            self._deliver(one.cell, timer.message)
            return
        one.due += timer.every
        self._set(one)
        self._deliver(one.cell, self._numbering.renumbered(timer.message))

    def _deliver(self, cell: Cell, message: AgentMessage) -> None:
        try:
            self._delivery.send_now(cell, message)
        except Exception as error:
            _log.critical("%s of agent %s could not be sent", message.message_type, cell.id, exc_info=error)
            self._delivery.refuse(message, Reason.FAILED, error)

    def _drop(self, one: _Set) -> None:
        if one.handle is not None:
            one.handle.cancel()
        message = one.timer.message
        mine = self._timers.get(one.cell)
        if mine is not None:
            mine.pop(message.name, None)
            if not mine:
                del self._timers[one.cell]
        self._end(message)

    def _end(self, message: AgentMessage) -> None:
        if self._journal is not None:
            self._journal.end_timer(message)
