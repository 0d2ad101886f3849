"""Random histories of a few replicas, and for each replicated type the plain model that says what it must show.

A history is a list of steps: a replica writes, a delta reaches a replica (perhaps again, perhaps late, perhaps never),
a replica joins the whole state of another, or asks it for what it has not seen. The model of a replica is the set of
events that have reached it; an event names those that it ends. What is seen and not ended by anything seen, stands.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from hypothesis import strategies as st

from moot.state.crdt import GCounter, LWWMap, LWWRegister, MVRegister, ORMap, ORSet, PNCounter

KEYS = ("x", "y", "z")

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "deliver", "deliver", "whole", "since"]),
        st.integers(0, 4),
        st.integers(0, 60),
        st.integers(0, 11),
    ),
    min_size=1,
    max_size=30,
)


class Event(NamedTuple):
    """One write: who, to which key, what (None: a removal), its stamp, what it ended and what its writer had seen."""

    replica: str
    key: str
    what: Any
    time: int
    ends: frozenset[int]
    seen: frozenset[int]


Events = dict[int, Event]


class Kind:
    """A replicated type, how it is written to at random, and what it must show after a set of events."""

    empty: ClassVar[Any]
    type: ClassVar[Any]

    def write(self, state: Any, replica: str, number: int, choice: int, now: float) -> tuple[Any, str, Any, int]:
        """The delta, the key, what was written, and the stamp's time."""
        raise NotImplementedError

    def ends(self, standing: set[int], events: Events, replica: str, key: str, what: Any) -> set[int]:
        return {one for one in standing if events[one].key == key}

    def stands(self, events: Events, seen: set[int]) -> set[int]:
        return standing(events, seen)

    def model(self, events: Events, seen: set[int]) -> Any:
        raise NotImplementedError


def standing(events: Events, seen: set[int]) -> set[int]:
    ended = {one for event in seen for one in events[event].ends}
    return {one for one in seen if one not in ended and events[one].what is not None}


class Growing(Kind):
    """A replica's count holds all that it counted before, so an event brings its replica's earlier ones along."""

    empty: ClassVar[Any] = GCounter()
    type: ClassVar[Any] = GCounter

    def write(self, state: Any, replica: str, number: int, choice: int, now: float) -> tuple[Any, str, Any, int]:
        return state.increment(replica, choice + 1), "", choice + 1, 0

    def model(self, events: Events, seen: set[int]) -> int:
        last = {events[one].replica: one for one in sorted(seen)}
        return sum(event.what for one, event in events.items() if one <= last.get(event.replica, -1))


class UpAndDown(Growing):
    empty, type = PNCounter(), PNCounter

    def write(self, state: Any, replica: str, number: int, choice: int, now: float) -> tuple[Any, str, Any, int]:
        if choice % 2:
            return state.decrement(replica, choice), "", -choice, 0
        return state.increment(replica, choice + 1), "", choice + 1, 0


class Last(Kind):
    empty, type = LWWRegister(), LWWRegister[int]

    def write(self, state: Any, replica: str, number: int, choice: int, now: float) -> tuple[Any, str, Any, int]:
        delta = state.set(replica, number, now)
        return delta, "", number, delta.stamp.time

    def model(self, events: Events, seen: set[int]) -> Any:
        return max(((events[one].time, events[one].replica, events[one].what) for one in seen), default=(None,))[-1]


class Several(Kind):
    empty, type = MVRegister(), MVRegister[int]

    def write(self, state: Any, replica: str, number: int, choice: int, now: float) -> tuple[Any, str, Any, int]:
        return state.set(replica, number), "", number, 0

    def ends(self, standing: set[int], events: Events, replica: str, key: str, what: Any) -> set[int]:
        """What stands, and what that ended: a peer may have lost the write between."""
        return standing.union(*(events[one].ends for one in standing))

    def model(self, events: Events, seen: set[int]) -> Any:
        return tuple(
            what for _, what in sorted((events[one].replica, events[one].what) for one in standing(events, seen))
        )


class AddWins(Kind):
    empty, type = ORSet(), ORSet[str]

    def write(self, state: Any, replica: str, number: int, choice: int, now: float) -> tuple[Any, str, Any, int]:
        key = KEYS[choice % 3]
        if choice < 5:
            return state.remove(key), key, None, 0
        return state.add(replica, key), key, True, 0

    def model(self, events: Events, seen: set[int]) -> Any:
        return frozenset(events[one].key for one in standing(events, seen))


class LastOfKey(Kind):
    empty, type = LWWMap(), LWWMap[int]

    def write(self, state: Any, replica: str, number: int, choice: int, now: float) -> tuple[Any, str, Any, int]:
        key = KEYS[choice % 3]
        if choice < 4:
            return state.remove(key), key, None, 0
        delta = state.put(replica, {key: number}, now)
        return delta, key, number, delta.entries[key][0].time

    def model(self, events: Events, seen: set[int]) -> Any:
        stands = [events[one] for one in standing(events, seen)]
        ordered = sorted(stands, key=lambda event: (event.time, event.replica))
        return {event.key: event.what for event in ordered}


class Nested(Kind):
    """A map of replicated values: a removal ends what stands under its key, whoever wrote it; nothing else does."""

    empty: ClassVar[Any] = ORMap()
    inner: ClassVar[Any]

    def write(self, state: Any, replica: str, number: int, choice: int, now: float) -> tuple[Any, str, Any, int]:
        key = KEYS[choice % 2]
        if choice < 3:
            return state.remove(key), key, None, 0
        what, time = None, 0

        def change(value: Any, writer: str) -> Any:
            nonlocal what, time
            delta, what, time = self.change(value, writer, number, choice, now)
            return delta

        return state.update(replica, key, self.inner, change), key, what, time

    def change(self, value: Any, writer: str, number: int, choice: int, now: float) -> tuple[Any, Any, int]:
        """The delta of the value under the key, what was written, and the stamp's time."""
        raise NotImplementedError

    def ends(self, standing: set[int], events: Events, replica: str, key: str, what: Any) -> set[int]:
        of_key = super().ends(standing, events, replica, key, what)
        return of_key if what is None else {one for one in of_key if self.is_over(events[one], replica, what)}

    def is_over(self, event: Event, replica: str, what: Any) -> bool:
        """Whether a write ends the event, which stands under the same key."""
        return True

    def stands(self, events: Events, seen: set[int]) -> set[int]:
        return {one for one in super().stands(events, seen) if not isinstance(events[one].what, Gone)}


class Gone(NamedTuple):
    """What was taken out of the value under a key."""

    part: str


class Counters(Nested):
    """What a replica counted under a key brings along all that it counted there before, less what was removed."""

    type: ClassVar[Any] = ORMap[PNCounter]
    inner: ClassVar[Any] = PNCounter()

    def change(self, value: Any, writer: str, number: int, choice: int, now: float) -> tuple[Any, Any, int]:
        by = choice - 5
        return (value.increment(writer, by), by, 0) if by > 0 else (value.decrement(writer, 1 - by), by - 1, 0)

    def is_over(self, event: Event, replica: str, what: Any) -> bool:
        return False

    def stands(self, events: Events, seen: set[int]) -> set[int]:
        reach, taken = dict[tuple[str, str], int](), dict[tuple[str, str], int]()
        for one in seen:
            event = events[one]
            for over in event.ends if event.what is None else ():
                of = events[over].replica, event.key
                taken[of] = max(over, taken.get(of, -1))
            if event.what is not None:
                of = event.replica, event.key
                reach[of] = max(one, reach.get(of, -1))
        return {
            one
            for one, event in events.items()
            if event.what is not None
            and taken.get((event.replica, event.key), -1) < one <= reach.get((event.replica, event.key), -1)
        }

    def model(self, events: Events, seen: set[int]) -> Any:
        total: dict[str, int] = {}
        for one in self.stands(events, seen):
            total[events[one].key] = total.get(events[one].key, 0) + events[one].what
        return total


class GrowingCounters(Counters):
    type, inner = ORMap[GCounter], GCounter()

    def change(self, value: Any, writer: str, number: int, choice: int, now: float) -> tuple[Any, Any, int]:
        return value.increment(writer, choice), choice, 0


class Registers(Nested):
    """A write ends all that stands under its key; a reader sees the latest of what stands."""

    type: ClassVar[Any] = ORMap[LWWRegister[int]]
    inner: ClassVar[Any] = LWWRegister()

    def change(self, value: Any, writer: str, number: int, choice: int, now: float) -> tuple[Any, Any, int]:
        delta = value.set(writer, number, now)
        return delta, number, delta.stamp.time

    def model(self, events: Events, seen: set[int]) -> Any:
        stands = [events[one] for one in self.stands(events, seen)]
        return {event.key: event.what for event in sorted(stands, key=lambda event: (event.time, event.replica))}


class SeveralOfKey(Registers):
    """As a register of its own, but that a write names only those that stand, and not what those ended."""

    type, inner = ORMap[MVRegister[int]], MVRegister()

    def change(self, value: Any, writer: str, number: int, choice: int, now: float) -> tuple[Any, Any, int]:
        return value.set(writer, number), number, 0

    def model(self, events: Events, seen: set[int]) -> Any:
        shown: dict[str, tuple[int, ...]] = {}
        for event in sorted(
            (events[one] for one in self.stands(events, seen)), key=lambda one: (one.replica, one.what)
        ):
            shown[event.key] = (*shown.get(event.key, ()), event.what)
        return shown


class Sets(Nested):
    type, inner = ORMap[ORSet[str]], ORSet()

    def change(self, value: Any, writer: str, number: int, choice: int, now: float) -> tuple[Any, Any, int]:
        part = "pq"[choice // 2 % 2]
        return (value.remove(part), Gone(part), 0) if choice < 6 else (value.add(writer, part), part, 0)

    def is_over(self, event: Event, replica: str, what: Any) -> bool:
        return bool(event.what == (what.part if isinstance(what, Gone) else what))

    def model(self, events: Events, seen: set[int]) -> Any:
        shown: dict[str, frozenset[str]] = {}
        for one in self.stands(events, seen):
            shown[events[one].key] = shown.get(events[one].key, frozenset()) | {events[one].what}
        return shown


class Maps(Nested):
    type, inner = ORMap[LWWMap[int]], LWWMap()

    def change(self, value: Any, writer: str, number: int, choice: int, now: float) -> tuple[Any, Any, int]:
        part = "pq"[choice // 2 % 2]
        if choice < 5:
            return value.remove(part), Gone(part), 0
        delta = value.put(writer, {part: number}, now)
        return delta, (part, number), delta.entries[part][0].time

    def is_over(self, event: Event, replica: str, what: Any) -> bool:
        return bool(event.what[0] == what[0])

    def model(self, events: Events, seen: set[int]) -> Any:
        shown: dict[str, dict[str, int]] = {}
        stands = [events[one] for one in self.stands(events, seen)]
        for event in sorted(stands, key=lambda event: (event.time, event.replica)):
            shown.setdefault(event.key, {}).update([event.what])
        return shown


PLAIN = [Growing(), UpAndDown(), Last(), Several(), AddWins(), LastOfKey()]
NESTED = [GrowingCounters(), Counters(), Registers(), SeveralOfKey(), Sets(), Maps()]
ALL = [*PLAIN, *NESTED]


class World:
    """Some replicas, each with its state and the events that have reached it."""

    def __init__(self, kind: Kind, count: int) -> None:
        self.kind = kind
        self.names = [f"r{number}" for number in range(count)]
        self.states: list[Any] = [kind.empty] * count
        self.seen: list[set[int]] = [set() for _ in range(count)]
        self.events: Events = {}
        self.deltas: list[Any] = []

    def step(self, action: str, one: int, other: int, choice: int) -> int:
        """Do it; the replica that may have changed."""
        here, there = one % len(self.names), other % len(self.names)
        if action == "write":
            self.write(here, choice)
        elif action == "deliver" and self.deltas:
            which = other % len(self.deltas)
            self.states[here] = self.states[here].join(self.deltas[which])
            self.seen[here].add(which)
        elif action in {"whole", "since"}:
            whole = self.states[there]
            joined = self.states[here].join(whole)
            if action == "since":
                assert self.states[here].join(whole.since(self.states[here].digest)) == joined
            self.states[here] = joined
            self.seen[here] |= self.seen[there]
        return here

    def write(self, here: int, choice: int) -> None:
        number = len(self.events)
        now = 1_000_000.0 + (choice * 7919 % 23)  # clocks that disagree by some seconds
        delta, key, what, time = self.kind.write(self.states[here], self.names[here], number, choice, now)
        seen = self.seen[here]
        ends = self.kind.ends(self.kind.stands(self.events, seen), self.events, self.names[here], key, what)
        self.events[number] = Event(self.names[here], key, what, time, frozenset(ends), frozenset(seen))
        self.deltas.append(delta)
        self.states[here] = self.states[here].join(delta)
        seen.add(number)
