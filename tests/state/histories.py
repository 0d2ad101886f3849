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


class Counters(Kind):
    """What a replica did to a key stands until a removal that saw it, and brings along what it did before it."""

    empty, type = ORMap(), ORMap[PNCounter]

    def write(self, state: Any, replica: str, number: int, choice: int, now: float) -> tuple[Any, str, Any, int]:
        key = KEYS[choice % 3]
        if choice < 4:
            return state.remove(key), key, None, 0
        by = choice - 3
        return state.update(replica, key, PNCounter(), lambda value, writer: value.increment(writer, by)), key, by, 0

    def ends(self, standing: set[int], events: Events, replica: str, key: str, what: Any) -> set[int]:
        of_key = super().ends(standing, events, replica, key, what)
        return of_key if what is None else {one for one in of_key if events[one].replica == replica}

    def model(self, events: Events, seen: set[int]) -> Any:
        counted, left = set[int](), standing(events, seen)
        while left:
            one = left.pop()
            counted.add(one)
            left |= {before for before in events[one].ends if events[before].replica == events[one].replica}
        total: dict[str, int] = {}
        for one in counted:
            total[events[one].key] = total.get(events[one].key, 0) + events[one].what
        return total


class Sets(Kind):
    """A map of sets: held to the laws only."""

    empty, type = ORMap(), ORMap[ORSet[str]]

    def write(self, state: Any, replica: str, number: int, choice: int, now: float) -> tuple[Any, str, Any, int]:
        key = KEYS[choice % 2]
        if choice < 3:
            return state.remove(key), key, None, 0

        def change(value: Any, writer: str) -> Any:
            return value.remove("p") if choice < 6 else value.add(writer, "p" if choice < 9 else "q")

        return state.update(replica, key, ORSet(), change), key, True, 0


MODELLED = [Growing(), UpAndDown(), Last(), Several(), AddWins(), LastOfKey(), Counters()]
ALL = [*MODELLED, Sets()]


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
        ends = self.kind.ends(standing(self.events, seen), self.events, self.names[here], key, what)
        self.events[number] = Event(self.names[here], key, what, time, frozenset(ends), frozenset(seen))
        self.deltas.append(delta)
        self.states[here] = self.states[here].join(delta)
        seen.add(number)
