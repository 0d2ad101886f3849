"""FlowControl: how messages wait for room, and how that never freezes the system.

A commit never waits. A message that finds no room in the receiver's mailbox waits in a *lane*:
the sender's outbox towards that receiver, in order. A station with lanes is blocked and starts
no new turn; that is the back-pressure. Lanes that wait for the same receiver take turns. A
mailbox may be set to lose a message instead (`moot.messaging.overflow`); then no sender waits.

Blocked stations in a circle could wait for ever. So the system looks for a circle whenever a
station becomes blocked. It breaks the circle by growing the smallest mailbox on it (T. Parks,
"Bounded Scheduling of Process Networks", 1995) up to twice its capacity. When no mailbox can
grow, the message that waits longest for the smallest one becomes a dead letter. (Reserving room
at commit instead was tried: it froze most random systems with small mailboxes.) Output that is
not delivered within the sender's ``patience`` becomes a dead letter too, whatever the reason.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Literal, Protocol

import msgspec

from moot.clock import Clock
from moot.errors import AgentStopped, MailboxFull
from moot.ids import TOPIC
from moot.messaging.dead_letters import DeadLetters, Reason
from moot.messaging.mailbox import Mailbox
from moot.messaging.message import AgentMessage, ReplyTo
from moot.messaging.station_policies import StationPolicies
from moot.policies import SEND_TIMEOUT
from moot.resilience.deadlines import DeadlineWheel, Expiring

__all__ = ["Askers", "FlowControl", "Lane", "Station"]

_BLOCKED = "the receiver's mailbox stayed full"


class Station:
    """A place where messages arrive and leave: a mailbox, and the lanes on both sides of it.

    ``lanes`` are this station's undelivered output by receiver. ``queue`` are the lanes that wait for its mailbox.
    ``lost`` counts the messages that found no room.
    """

    __slots__ = ("_mark", "id", "lanes", "lost", "mailbox", "policies", "queue")

    def __init__(self, station_id: str, policies: StationPolicies) -> None:
        self.id = station_id
        self.policies = policies
        self.mailbox = Mailbox(policies.capacity)
        self.lost = 0
        self.lanes: dict[Station, Lane] | None = None
        self.queue: deque[Lane] | None = None
        self._mark = 0.0

    def full(self, now: float) -> MailboxFull:
        """The error for a message that finds no room; its estimate is the time since the last such error."""
        since, self._mark = now - self._mark, now
        return MailboxFull(self.id, self.mailbox.capacity, min(max(since, 0.01), 1.0))


class Lane:
    """Messages on their way to one full mailbox, in order.

    ``source`` is the station whose outbox the lane is. It is None for a message of a caller from outside and for an
    ask. If such a sender waits, it waits for ``accepted``.
    """

    __slots__ = ("accepted", "expiring", "flow", "messages", "source", "target")

    def __init__(self, flow: FlowControl, source: Station | None, target: Station) -> None:
        self.flow = flow
        self.source = source
        self.target = target
        self.messages: deque[AgentMessage] = deque()
        self.accepted: asyncio.Future[None] | None = None
        self.expiring: dict[Expiring, None] | None = None

    def expire(self) -> None:
        """The patience of the sender is over; the wheel calls this."""
        self.flow.abandon(self, _BLOCKED)


class Askers(Protocol):
    """The asks that wait for answers."""

    def fail(self, reply_to: ReplyTo, error: BaseException) -> bool:
        """Tell the asker at ``reply_to`` that no answer comes. False when the asker does not wait any more."""
        ...


class FlowControl:
    """Moves messages between stations. ``askers`` are told of requests that are lost.

    ``wake(station)`` is called for each message that enters a mailbox, and when the last lane of a station is gone.
    ``blocked(station)`` is called when a station gets lanes that are on no circle of lanes.
    """

    def __init__(
        self,
        wheel: DeadlineWheel,
        clock: Clock,
        dead_letters: DeadLetters,
        askers: Askers,
        *,
        wake: Callable[[Any], None],
        blocked: Callable[[Station], None],
    ) -> None:
        self._wheel = wheel
        self._clock = clock
        self._dead_letters = dead_letters
        self._askers = askers
        self._wake = wake
        self.blocked = blocked

    def put(self, source: Station, target: Station, message: AgentMessage) -> None:
        """Deliver ``message``, which a turn of ``source`` sent: at once, or through the outbox of ``source``."""
        lane = source.lanes.get(target) if source.lanes is not None else None
        if lane is not None:
            lane.messages.append(message)
        elif self._enter(target, message) != "full":
            return
        elif target.policies.fails_when_full:
            self._bury(target, message, f"mailbox of {target.id!r} is full and set to fail")
        elif (patience := source.policies.patience if source is not target else SEND_TIMEOUT) == 0:  # keeps its timers
            self._bury(target, message, f"mailbox of {target.id!r} is full, and {source.id!r} does not wait")
        else:
            lane = self._queue(source, target, message)
            lane.expiring = self._wheel.entries(self._clock.now() + patience)
            lane.expiring[lane] = None
            if source.lanes is None:
                source.lanes = {}
            source.lanes[target] = lane

    def offer(self, target: Station, message: AgentMessage, *, waits: bool = True) -> Lane | None:
        """Deliver a message from outside a commit (of a caller, or an ask): at once, or as a lane of its own.

        If the mailbox is set to lose the message, it counts as delivered. By then it is a dead letter.

        Raises:
            MailboxFull: there is no room, and the mailbox is set to fail or the message does not wait.
        """
        if self._enter(target, message) != "full":
            return None
        if target.policies.fails_when_full or not waits:
            raise target.full(self._clock.now())
        return self._queue(None, target, message)

    def publish(self, target: Station, message: AgentMessage) -> bool:
        """Deliver to a subscriber without waiting. False when there was no room; the message is a dead letter then."""
        fate = self._enter(target, message)
        if fate == "full":
            self._bury(target, message, f"subscriber {target.id!r} is full")
        return fate == "entered"

    def admit(self, target: Station) -> None:
        """Fill the room in ``target`` from the lanes that wait for it, one message of each in turn."""
        queue = target.queue
        if target.mailbox.goes_on:
            target.mailbox.refill()
        while queue and target.mailbox.room > 0:
            lane = queue.popleft()
            target.mailbox.offer(lane.messages.popleft())
            self._wake(target)
            if lane.messages:
                queue.append(lane)
            else:
                self._finished(lane)

    def settle_cycles(self, source: Station) -> None:
        """Break every circle of blocked stations with ``source`` on it. Called when ``source`` becomes blocked."""
        while source.lanes and (cycle := _cycle_through(source)):
            smallest = min(cycle, key=lambda lane: (lane.target.mailbox.capacity, lane.target.id))
            growable = [lane for lane in cycle if lane.target.mailbox.grown < lane.target.mailbox.capacity]
            if growable:
                target = min(growable, key=lambda lane: (lane.target.mailbox.capacity, lane.target.id)).target
                target.mailbox.grow(max(1, target.mailbox.capacity // 8))
                self.admit(target)
            else:
                self._bury(
                    smallest.target,
                    smallest.messages.popleft(),
                    "a circle of full mailboxes could not be widened further",
                )
                if not smallest.messages:
                    self._drop(smallest)
        if source.lanes:
            self.blocked(source)

    def abandon(self, lane: Lane, error: str) -> None:
        """Give up a lane: its messages become dead letters, and its source goes on."""
        messages = tuple(lane.messages)
        self._drop(lane)
        for message in messages:
            self._bury(lane.target, message, error)

    def withdraw(self, lane: Lane) -> bool:
        """Take back a message from outside. False if it no longer waits in ``lane``."""
        waiting = bool(lane.messages)
        if waiting:
            self._drop(lane)
        return waiting

    def close(self, target: Station) -> list[AgentMessage]:
        """Empty a station that has stopped, and return the messages that it will not handle, in order."""
        messages = target.mailbox.drain()
        for lane in tuple(target.queue or ()):
            messages.extend(lane.messages)
            if lane.accepted is not None and not lane.accepted.done():
                lane.accepted.set_exception(AgentStopped(target.id))
            self._drop(lane)
        return messages

    def _enter(self, target: Station, message: AgentMessage) -> Literal["entered", "lost", "full"]:
        """Put a message into a mailbox. If that is full, its policy may choose a message to lose."""
        if target.mailbox.offer(message):
            try:
                self._wake(target)
            except RecursionError:  # the sender has run out of stack
                target.mailbox.withdraw(message)
                raise
            return "entered"
        displace = target.policies.displace
        lost = None
        if displace is not None:
            target.mailbox.refill()
            lost = displace(target.mailbox, message)
        if lost is None:
            return "full"
        if lost is message:
            self._bury(target, lost, f"mailbox of {target.id!r} is full, and this was the one to drop")
            return "lost"
        target.mailbox.refill()
        self._wake(target)
        self._bury(target, lost, f"mailbox of {target.id!r} was full, and a newer message took its room")
        return "entered"

    def _queue(self, source: Station | None, target: Station, message: AgentMessage) -> Lane:
        lane = Lane(self, source, target)
        lane.messages.append(message)
        if target.queue is None:
            target.queue = deque()
        target.queue.append(lane)
        return lane

    def _drop(self, lane: Lane) -> None:
        lane.messages.clear()
        queue = lane.target.queue
        if queue is not None and lane in queue:
            queue.remove(lane)
        self._finished(lane)

    def _finished(self, lane: Lane) -> None:
        source = lane.source
        if source is not None and source.lanes is not None:
            if lane.expiring is not None:
                lane.expiring.pop(lane, None)
            source.lanes.pop(lane.target, None)
            if not source.lanes:
                source.lanes = None
                self._wake(source)
        if lane.accepted is not None and not lane.accepted.done():
            lane.accepted.set_result(None)

    def _bury(self, target: Station, message: AgentMessage, error: str) -> None:
        target.lost += 1
        if message.to.startswith(TOPIC):  # the letter names the one subscriber that lost it
            message = msgspec.structs.replace(message, to=target.id)
        self._dead_letters.add(message, Reason.OVERFLOW, error, at=self._clock.now(), agent_id=target.id)
        if message.reply_to is not None:
            self._askers.fail(message.reply_to, target.full(self._clock.now()))


def _cycle_through(start: Station) -> list[Lane] | None:
    """The lanes of one circle of blocked stations through ``start``, or None; depth first, in order of arrival."""
    path: list[Lane] = []
    seen: set[Station] = set()
    stack = list((start.lanes or {}).values())
    marks: list[int] = [0] * len(stack)
    while stack:
        lane, depth = stack.pop(), marks.pop()
        del path[depth:]
        path.append(lane)
        if lane.target is start:
            return path
        if lane.target in seen:
            continue
        seen.add(lane.target)
        onward = list((lane.target.lanes or {}).values())
        stack.extend(onward)
        marks.extend([depth + 1] * len(onward))
    return None
