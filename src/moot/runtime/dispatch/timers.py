"""Timers: messages that are sent later, once or again and again.

A timer belongs to an agent. It fires as a message of that agent, and ends with the agent. On a
durable backend it outlives the process. If it came due while the process was down, or stood still,
it is sent once, however late, unless the timer says otherwise. A repeating timer keeps its beat.
The same message with the same period is one timer: an agent may set it in each of its lives.

The loop's clock stands still while the machine sleeps. So while timers are set, the clock is asked
now and then whether it slept, and then the timers are armed anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from moot.agent.effects import Timer
from moot.clock import LoopClock
from moot.messaging.dead_letters import Reason
from moot.messaging.message import AgentMessage, MessageName, Numbering
from moot.runtime.cell import Cell
from moot.runtime.routing.delivery import Delivery

if TYPE_CHECKING:
    from moot.clock import Clock
    from moot.telemetry.mail_observer import MailObserver

__all__ = ["LATE", "Timers"]

LATE = 1.0
"""A message that is late by less than so many seconds was not missed: a busy event loop is no pause."""
_LOOKS_EVERY = 5.0
"""The seconds after which the clock is asked again whether the machine slept."""

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
        self._take_in_sleep: Callable[[], float] | None = getattr(clock, "take_in_sleep", None)
        if getattr(loop, "epoch", None) is not None and isinstance(clock, LoopClock):
            self._take_in_sleep = None  # virtual time does not sleep
        self._looking: asyncio.TimerHandle | None = None

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
                self._withdrawn(found.timer.message)
        if not isinstance(timer, str) and not self._is_there(cell, timer):
            self._set(_Set(cell, timer, self._clock.now() + timer.delay), body)

    def restore(self, cell: Cell, timer: Timer, due: float) -> None:
        """Set a stored timer again, to fire from `arm` on.

        The timer says what becomes of it if it came due while the process was down.
        """
        now = self._clock.now()
        if due <= now and timer.every:
            due += _skipped(timer, now - due, late=0.0) * timer.every
        elif due <= now and timer.missed == "skip":
            self._end(timer.message)
            return
        self._set(_Set(cell, timer, due), is_armed=False)

    def arm(self, cell: Cell) -> None:
        """Let the restored timers of ``cell`` fire."""
        for one in self._of(cell):
            if one.handle is None:
                self._arm(one)

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
        if self._looking is not None:
            self._looking.cancel()

    def _of(self, cell: Cell) -> list[_Set]:
        return list(self._timers.get(cell, {}).values())

    def _set(self, one: _Set, body: bytes | None = None, *, is_armed: bool = True) -> None:
        message = one.timer.message
        self._timers.setdefault(one.cell, {})[message.name] = one
        if self._journal is not None:
            self._journal.put_timer(one.cell, one.timer, one.due, body)
        if is_armed:
            self._arm(one)
        if self._looking is None and self._take_in_sleep is not None:
            self._looking = self._loop.call_later(_LOOKS_EVERY, self._look, self._take_in_sleep)

    def _arm(self, one: _Set) -> None:
        one.handle = self._loop.call_later(max(0.0, one.due - self._clock.now()), self._fire, one)

    def _look(self, take_in_sleep: Callable[[], float]) -> None:
        """Arm the timers anew if the machine has slept. The loop's handles do not know of that time."""
        self._looking = self._loop.call_later(_LOOKS_EVERY, self._look, take_in_sleep) if self._timers else None
        if take_in_sleep() <= 0:
            return
        for one in [one for cell in self._timers for one in self._of(cell)]:
            if one.handle is not None:
                one.handle.cancel()
                self._arm(one)

    def _fire(self, one: _Set) -> None:
        with self._whole:
            self._send(one)

    def _send(self, one: _Set) -> None:
        timer = one.timer
        if self._take_in_sleep is not None:
            self._take_in_sleep()
        late = self._clock.now() - one.due
        if not timer.every:
            self._drop(one)
            if timer.missed == "skip" and late >= LATE:
                self._withdrawn(timer.message)
            else:
                self._deliver(one.cell, timer.message)
            return
        skipped = _skipped(timer, late, LATE) if late >= timer.every or late >= LATE else 0
        one.due += skipped * timer.every
        is_sent = timer.missed != "skip" or one.due <= self._clock.now()
        if is_sent:
            one.due += timer.every
        self._set(one)
        if is_sent:
            self._deliver(one.cell, self._numbering.renumbered(timer.message))

    def _deliver(self, cell: Cell, message: AgentMessage) -> None:
        try:
            self._delivery.send_now(cell, message)
        except Exception as error:
            _log.critical("%s of agent %s could not be sent", message.message_type, cell.id, exc_info=error)
            self._delivery.refuse(message, Reason.FAILED, error)

    def _is_there(self, cell: Cell, timer: Timer) -> bool:
        """Whether a repeating timer without a name is set already. It goes on, and keeps its beat."""
        if timer.name is not None or not timer.every:
            return False
        for found in self._of(cell):
            if found.timer.name is None and _is_alike(found.timer, timer):
                if found.timer.missed != timer.missed:
                    found.timer = msgspec.structs.replace(found.timer, missed=timer.missed)
                    if self._journal is not None:
                        self._journal.put_timer(cell, found.timer, found.due, None)
                self._withdrawn(timer.message)
                return True
        return False

    def _withdrawn(self, message: AgentMessage) -> None:
        if self._observer is not None:
            self._observer.withdrawn(message)

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


def _skipped(timer: Timer, behind: float, late: float) -> int:
    """How many beats of a repeating timer are not sent, when its next one came due ``behind`` seconds ago.

    With ``skip`` the newest is sent if it is late by less than ``late`` seconds.
    """
    if timer.missed == "all":
        return 0
    older = math.floor(behind / timer.every)
    newest_is_late = behind - older * timer.every >= late
    return older + 1 if timer.missed == "skip" and newest_is_late else older


def _is_alike(one: Timer, other: Timer) -> bool:
    """Whether two timers send the same message to the same agent, as often."""
    mine, theirs = one.message, other.message
    if (one.every, mine.to, mine.message_type) != (other.every, theirs.to, theirs.message_type):
        return False
    try:
        return _bytes(mine.content) == _bytes(theirs.content)  # one of them may have been read from a file
    except (TypeError, ValueError, RecursionError):
        return mine.content is theirs.content


def _bytes(content: Any) -> bytes:
    return msgspec.msgpack.encode(content, order="deterministic")
