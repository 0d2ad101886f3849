"""Registers: one value that many replicas overwrite.

`LWWRegister` keeps the last write by a total order of stamps: simple, and of two writes made at the same time one is
lost. `MVRegister` keeps all writes that did not know of each other and lets the reader decide.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from moot.state.crdt.causal import CausalContext
from moot.state.crdt.stamps import Stamp, next_time
from moot.state.crdt.stores import Store, join_stores, since
from moot.state.crdt.version_vector import Counter, ReplicaId, VersionVector, check_replica, check_same

__all__ = ["LWWRegister", "MVRegister", "Written"]

T = TypeVar("T")


class LWWRegister(msgspec.Struct, Generic[T], frozen=True, omit_defaults=True):
    """The value that was written last; None before the first write."""

    content: T | None = None
    stamp: Stamp | None = None

    @property
    def value(self) -> T | None:
        return self.content

    def set(self, replica: str, value: T, now: float, *, max_drift: float = 60.0) -> LWWRegister[T]:
        """The delta that writes ``value`` at ``now`` (seconds since 1970), after every write seen here.

        Raises:
            ValueError: the clock lies more than ``max_drift`` seconds before the last write seen.
        """
        last = self.stamp.time if self.stamp else None
        return LWWRegister(value, Stamp(next_time(last, now, max_drift), check_replica(replica)))

    def join(self, other: LWWRegister[T]) -> LWWRegister[T]:
        """The later of the two.

        Raises:
            ValueError: one stamp is on two values, so two replicas write under its id.
        """
        check_same(self, other)
        if other.stamp is None or self == other:
            return self
        if self.stamp is None or self.stamp < other.stamp:
            return other
        if self.stamp == other.stamp and _bytes(self) != _bytes(other):
            raise ValueError(
                f"the write of {self.stamp.replica!r} at {self.stamp.time} was two different ones; give each replica "
                "an id of its own, and a new one when it has lost its state"
            )
        return self

    @property
    def digest(self) -> VersionVector:
        """The time of the write: who has seen it needs no earlier one."""
        return VersionVector({self.stamp.replica: self.stamp.time}) if self.stamp else VersionVector()

    def since(self, vector: VersionVector) -> LWWRegister[T]:
        """This, or nothing if the peer has seen it, or a later write."""
        if self.stamp is None or vector[self.stamp.replica] >= self.stamp.time:
            return LWWRegister()
        return self


class Written(msgspec.Struct, Generic[T], frozen=True, array_like=True):
    """One write: its dot, and what was written."""

    replica: ReplicaId
    counter: Counter
    value: T


class MVRegister(msgspec.Struct, Generic[T], frozen=True, omit_defaults=True):
    """All values that were written last: none of them was overwritten by one who knew it."""

    writes: tuple[Written[T], ...] = ()
    context: CausalContext = CausalContext()

    @property
    def value(self) -> tuple[T, ...]:
        """The values, by the id of their replica; empty before the first write, several if writes were concurrent."""
        return tuple(write.value for write in self.writes)

    def set(self, replica: str, value: T) -> MVRegister[T]:
        """The delta that overwrites all values seen here.

        It also says again that the writes before those are over: a peer may have such a write, and may have lost the
        delta that ended it.
        """
        dot = self.context.next(replica)
        return MVRegister((Written(replica, dot.counter, value),), self.context.join(CausalContext.of([dot])))

    def join(self, other: MVRegister[T]) -> MVRegister[T]:
        """The writes that neither has seen overwritten."""
        check_same(self, other)
        joined = join_stores(_store(self.writes), self.context, _store(other.writes), other.context)
        return MVRegister(joined.get(None, ()), self.context.join(other.context))

    @property
    def digest(self) -> VersionVector:
        """What has been seen without a gap."""
        return self.context.vector

    def since(self, vector: VersionVector) -> MVRegister[T]:
        """The writes that are not in ``vector``, and what is no more."""
        store, context = since(_store(self.writes), self.context, vector)
        return MVRegister(store.get(None, ()), context)


def _store(writes: tuple[Written[T], ...]) -> Store[None, Written[T]]:
    return {None: writes} if writes else {}


def _bytes(register: LWWRegister[T]) -> bytes:
    return msgspec.msgpack.encode(register.content, order="deterministic")
