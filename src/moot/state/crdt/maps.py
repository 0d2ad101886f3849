"""Maps that many replicas change: of plain values (`LWWMap`) and of replicated values (`ORMap`).

Keys behave as in a set where add wins: a removal takes away the writes that it has seen, and a write made elsewhere at
the same time stays. Writes that did not know of each other are all kept. Of these, a reader sees the one with the
latest stamp in an `LWWMap`, and all of them joined in an `ORMap`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Annotated, Any, Generic, TypeVar, cast

import msgspec

from moot.state.crdt.causal import CausalContext, writes_of
from moot.state.crdt.keyed import Keyed
from moot.state.crdt.port import CRDT
from moot.state.crdt.stamps import Time, next_time
from moot.state.crdt.version_vector import NOT_EMPTY, Counter, ReplicaId, check_same

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
    """What one replica did to a key: the dot of its last update, the number of its first, and all of them joined."""

    replica: ReplicaId
    counter: Counter
    first: Counter
    value: V


class ORMap(Keyed[str], Generic[V], frozen=True, omit_defaults=True):
    """A map from text to replicated values; concurrent updates of a key are joined.

    Each replica keeps what it did to a key apart from what others did, until a removal that has seen it takes it back;
    what it does at the same time as that removal stays, with what it did to the key before. A delta carries all that
    its replica did to the key, so values are best kept small.
    """

    entries: dict[str, Annotated[tuple[Update[V], ...], NOT_EMPTY]] = {}

    @property
    def value(self) -> dict[str, Any]:
        """What readers see of each key, in the order of the keys."""
        return {key: cast("CRDT", _joined(self.entries[key])).value for key in sorted(self.entries)}

    def get(self, key: str) -> V | None:
        """The replicated value of ``key``, or None."""
        updates = self.entries.get(key)
        return None if updates is None else _joined(updates)

    def update(self, replica: str, key: str, empty: V, change: Callable[[V, str], V]) -> ORMap[V]:
        """The delta that changes the value of ``key``, which begins as ``empty``.

        ``change(value, writer)`` returns a delta of that value, made as the replica ``writer``. That is another name
        than ``replica``, and another again after a removal: what begins anew must not count on from numbers that
        others may still hold of what was removed.
        """
        dot = self.context.next(replica)
        updates = self.entries.get(_checked_key(key), ())
        own = [update for update in updates if update.replica == replica]
        first = own[-1].first if own else dot.counter
        before = _joined(updates) if updates else empty
        delta = check_same(before, change(before, f"{replica}.{first}"))
        update = Update(replica, dot.counter, first, delta)
        entries: dict[str, tuple[Update[V], ...]] = {
            key: (Update(replica, dot.counter, first, _joined((*own, update))),)
        }
        return ORMap(entries, CausalContext.of([*writes_of({key: tuple(own)}, [key]), dot]))


def _latest(puts: tuple[Put[T], ...]) -> T:
    return max(puts, key=lambda put: (put.time, put.replica)).value


def _joined(updates: tuple[Update[V], ...]) -> V:
    values = [cast("Any", update.value) for update in updates]
    return cast("V", reduce(lambda left, right: left.join(right), values))


def _checked_key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a key of a replicated map is text, not {type(key).__name__}; encode it as text")
    return key
