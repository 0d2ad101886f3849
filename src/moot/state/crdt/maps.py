"""Maps that many replicas change: of plain values (`LWWMap`) and of replicated values (`ORMap`).

Keys behave as in a set where add wins: a removal takes away the writes that it has seen, and a write made elsewhere at
the same time stays. Writes that did not know of each other are all kept. Of these, a reader sees the one with the
latest stamp in an `LWWMap`, and all of them joined in an `ORMap`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Generic, Self, TypeVar, cast

import msgspec

from moot.state.crdt.causal import CausalContext
from moot.state.crdt.keyed import Keyed
from moot.state.crdt.nested import COUNTS, left_of, placed, put_together, step
from moot.state.crdt.port import CRDT
from moot.state.crdt.stamps import Time, next_time
from moot.state.crdt.stores import join_stores, since, writes_of
from moot.state.crdt.version_vector import NOT_EMPTY, Counter, ReplicaId, VersionVector, check_same

__all__ = ["LWWMap", "ORMap", "Put", "Update"]

T = TypeVar("T")
V = TypeVar("V")


class Put(msgspec.Struct, Generic[T], frozen=True, array_like=True):
    """One write: its dot, its hybrid time, what was written."""

    replica: ReplicaId
    counter: Counter
    time: Time
    value: T


class LWWMap(Keyed[str], Generic[T], frozen=True, omit_defaults=True):
    """A map from text to plain values; of concurrent writes to a key a reader sees the one with the latest stamp."""

    entries: dict[str, Annotated[tuple[Put[T], ...], NOT_EMPTY]] = {}

    @property
    def value(self) -> dict[str, T]:
        """The map, in the order of its keys."""
        return {key: _latest(self.entries[key]) for key in sorted(self.entries)}

    def get(self, key: str, default: T | None = None) -> T | None:
        """The value of ``key``, or ``default``."""
        puts = self.entries.get(key)
        return default if puts is None else _latest(puts)

    def put(self, replica: str, changes: Mapping[str, T], now: float, *, max_drift: float = 60.0) -> LWWMap[T]:
        """The delta that gives each key of ``changes`` its value at ``now`` (seconds), after every write seen here.

        Raises:
            ValueError: the clock lies more than ``max_drift`` seconds before a write that is overwritten.
        """
        first = self.context.next(replica).counter
        entries: dict[str, tuple[Put[T], ...]] = {}
        for number, (key, value) in enumerate(changes.items(), first):
            seen = self.entries.get(_checked_key(key), ())
            last = max((put.time for put in seen), default=None)
            entries[key] = (Put(replica, number, next_time(last, now, max_drift), value),)
        return LWWMap(entries, CausalContext.of([*writes_of(entries, entries), *writes_of(self.entries, entries)]))


class Update(msgspec.Struct, Generic[V], frozen=True, array_like=True):
    """One write under a key: its dot, and the value that has just this write.

    For a counter the value is all that the replica ever counted under the key.
    """

    replica: ReplicaId
    counter: Counter
    value: V


class ORMap(Keyed[str], Generic[V], frozen=True, omit_defaults=True):
    """A map from text to replicated values; concurrent updates of a key are joined.

    A removal takes back exactly the writes that it has seen, whoever made them. What was written at the same time
    stays, without what was there before. Every write has a dot of its own, which is how a removal names it. Counts are
    kept as one sum for each replica, however many they are. So of a counter the map keeps, in ``taken``, how much of
    each sum was removed: two numbers of each replica that counted under the key, also when the key is gone.
    """

    entries: dict[str, Annotated[tuple[Update[V], ...], NOT_EMPTY]] = {}
    taken: dict[str, V] = {}

    @property
    def value(self) -> dict[str, Any]:
        """What readers see of each key, in the order of the keys."""
        return {key: cast("CRDT", self.get(key)).value for key in sorted(self.entries)}

    def get(self, key: str) -> V | None:
        """The replicated value of ``key``, or None."""
        updates = self.entries.get(key)
        return None if updates is None else cast("V", left_of(put_together(updates), self.taken.get(key)))

    def update(self, replica: str, key: str, empty: V, change: Callable[[V, str], V]) -> ORMap[V]:
        """The delta that changes the value of ``key``, which begins as ``empty``.

        ``change(value, writer)`` returns a delta of that value, made as the replica ``writer``.

        Raises:
            TypeError: the change returns a value of another type, or a map cannot hold one of this type.
            ValueError: the change writes under another name than ``writer``.
        """
        by = self.context.next(replica)
        updates = self.entries.get(_checked_key(key), ())
        before = placed(self.get(key) if updates else empty, replica, by.counter - 1)
        delta = check_same(before, change(before, replica))
        writes, seen = step(before, delta, updates, by, self.taken.get(key))
        entries = {key: tuple(Update(replica, number, value) for number, value in sorted(writes, key=_number))}
        return ORMap(entries if writes else {}, seen)

    def remove(self, *keys: str) -> Self:
        """The delta that takes ``keys`` out, as far as they are in: all that the writes seen here have done to them."""
        updates = {key: self.entries[key] for key in keys if key in self.entries}
        taken = {key: put_together(ones) for key, ones in updates.items() if isinstance(ones[0].value, COUNTS)}
        return type(self)({}, CausalContext.of(writes_of(updates, updates)), taken)

    def join(self, other: Self) -> Self:
        """The writes that neither has seen overwritten or removed, less what either has seen taken of a count."""
        check_same(self, other)
        entries = join_stores(self.entries, self.context, other.entries, other.context)
        taken = self.taken
        if other.taken:
            both = {key: cast("Any", self.taken[key]).join(other.taken[key]) for key in other.taken if key in taken}
            taken = {**taken, **other.taken, **both}
        for key in {**other.entries, **other.taken} if taken else ():
            if key in taken and key in entries:
                _take(entries, key, taken[key])
        return type(self)(entries, self.context.join(other.context), taken)

    def since(self, vector: VersionVector) -> Self:
        """The writes that are not in ``vector``, and what is no more; of counts all that was ever taken."""
        return type(self)(*since(self.entries, self.context, vector), self.taken)


def _take(entries: dict[str, tuple[Update[V], ...]], key: str, taken: V) -> None:
    """Drop the writes of a count of which nothing is left."""
    left = tuple(one for one in entries[key] if left_of(one.value, taken) != type(one.value)())
    if left:
        entries[key] = left
    else:
        del entries[key]


def _number(write: tuple[int, Any]) -> int:
    return write[0]


def _latest(puts: tuple[Put[T], ...]) -> T:
    return max(puts, key=lambda put: (put.time, put.replica)).value


def _checked_key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a key of a replicated map is text, not {type(key).__name__}; encode it as text")
    return key
