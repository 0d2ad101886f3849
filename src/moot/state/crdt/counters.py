"""Counters that many replicas change at once and that lose no increment.

Each replica counts for itself, and the sum is the value. The join takes the larger count of each replica, which is the
later one, because a replica's own counts only rise (M. Shapiro et al., "A Comprehensive Study of Convergent and
Commutative Replicated Data Types", 2011).
"""

from __future__ import annotations

import msgspec

from moot.state.crdt.version_vector import (
    Counter,
    ReplicaId,
    VersionVector,
    check_clocks,
    check_counter,
    check_known,
    check_replica,
    check_same,
    larger,
)

__all__ = ["GCounter", "PNCounter"]


class GCounter(msgspec.Struct, frozen=True, omit_defaults=True):
    """A counter that only grows."""

    counts: dict[ReplicaId, Counter] = {}

    def __post_init__(self) -> None:
        check_clocks(self.counts)

    @property
    def value(self) -> int:
        """The sum over all replicas."""
        return sum(self.counts.values())

    def share(self, replica: str) -> int:
        """What ``replica`` has added; `ValueError` if it never did."""
        check_known(replica, self.counts)
        return self.counts[replica]

    def increment(self, replica: str, by: int = 1) -> GCounter:
        """The delta that adds ``by``, which is not negative."""
        counts = _raised(self.counts, replica, by)
        return GCounter(counts)

    def join(self, other: GCounter) -> GCounter:
        """The larger count of each replica."""
        check_same(self, other)
        return GCounter(larger(self.counts, other.counts))

    @property
    def digest(self) -> VersionVector:
        """The counts themselves: each only rises."""
        return VersionVector(self.counts)

    def since(self, vector: VersionVector) -> GCounter:
        """The counts that are larger than in ``vector``."""
        return GCounter({name: count for name, count in self.counts.items() if count > vector[name]})


class PNCounter(msgspec.Struct, frozen=True, omit_defaults=True):
    """A counter that grows and shrinks: one that counts up and one that counts down.

    A delta carries both counts of its replica, so that the sum of the two names one state of that replica.
    """

    ups: dict[ReplicaId, Counter] = {}
    downs: dict[ReplicaId, Counter] = {}

    def __post_init__(self) -> None:
        check_clocks(self.ups)
        check_clocks(self.downs)

    @property
    def value(self) -> int:
        """What was added less what was taken away."""
        return sum(self.ups.values()) - sum(self.downs.values())

    def increment(self, replica: str, by: int = 1) -> PNCounter:
        """The delta that adds ``by``, which is not negative."""
        ups = _raised(self.ups, replica, by)
        return PNCounter(ups, _only(self.downs, replica)) if ups else PNCounter()

    def decrement(self, replica: str, by: int = 1) -> PNCounter:
        """The delta that takes ``by`` away, which is not negative."""
        downs = _raised(self.downs, replica, by)
        return PNCounter(_only(self.ups, replica), downs) if downs else PNCounter()

    def join(self, other: PNCounter) -> PNCounter:
        """The larger counts of each replica.

        Raises:
            ValueError: each has counted what the other has not under one id, so two replicas count under it.
        """
        check_same(self, other)
        for name in {**other.ups, **other.downs}:
            up = self.ups.get(name, 0) - other.ups.get(name, 0)
            if up and up * (self.downs.get(name, 0) - other.downs.get(name, 0)) < 0:
                raise ValueError(
                    f"{name!r} has counted in two ways, once further up and once further down; give each replica an "
                    "id of its own, and a new one when it has lost its state"
                )
        return PNCounter(larger(self.ups, other.ups), larger(self.downs, other.downs))

    @property
    def digest(self) -> VersionVector:
        """For each replica all that it ever counted, up and down: it rises with each change."""
        return VersionVector({name: self._counted(name) for name in {**self.ups, **self.downs}})

    def since(self, vector: VersionVector) -> PNCounter:
        """The counts of the replicas that have changed since ``vector``."""
        changed = {name for name in {**self.ups, **self.downs} if self._counted(name) > vector[name]}
        return PNCounter(
            {name: count for name, count in self.ups.items() if name in changed},
            {name: count for name, count in self.downs.items() if name in changed},
        )

    def _counted(self, replica: str) -> int:
        return self.ups.get(replica, 0) + self.downs.get(replica, 0)


def _raised(counts: dict[str, int], replica: str, by: int) -> dict[str, int]:
    check_counter(by, check_replica(replica), 0)
    if not by:
        return {}
    return {replica: counts.get(replica, 0) + by}


def _only(counts: dict[str, int], replica: str) -> dict[str, int]:
    return {replica: counts[replica]} if replica in counts else {}
