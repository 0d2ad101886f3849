"""Causal contexts: which events a replica has seen.

A context is kept as intervals, so that contiguous dots cost nothing however many they are (P. S. Almeida, A. Shoker and
C. Baquero, "Delta State Replicated Data Types", 2018).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator
from typing import Protocol

import msgspec

from moot.state.crdt.version_vector import Counter, Dot, ReplicaId, VersionVector, check_replica

__all__ = ["CausalContext", "Write"]


class Write(Protocol):
    """One event that stands: a dot, or a struct that begins with one."""

    @property
    def replica(self) -> str: ...
    @property
    def counter(self) -> int: ...


Intervals = tuple[Counter, ...]
"""First and last number of each run, in order: (1, 5, 8, 8) is 1 to 5 and 8."""


class CausalContext(msgspec.Struct, frozen=True, omit_defaults=True):
    """All dots that have been seen, as runs of numbers for each replica. A value: not to be changed in place."""

    seen: dict[ReplicaId, Intervals] = {}

    def __post_init__(self) -> None:
        for replica, runs in self.seen.items():
            if not replica or replica.__class__ is not str:
                check_replica(replica)
            if len(runs) == 2 and 1 <= runs[0] <= runs[1]:
                continue
            if not runs or len(runs) % 2 or not _ascend(runs):
                raise ValueError(
                    f"{runs!r} are not the runs of {replica!r}: first and last numbers from 1 up, in order and apart; "
                    "make a context with CausalContext.of"
                )

    @classmethod
    def of(cls, writes: Collection[Write]) -> CausalContext:
        """The context of these dots, or of the dots of these writes."""
        if len(writes) == 1:
            (one,) = writes
            return cls({one.replica: (one.counter, one.counter)})
        counters: dict[str, list[int]] = {}
        for write in writes:
            counters.setdefault(write.replica, []).append(write.counter)
        return cls({name: _runs_of(numbers) for name, numbers in counters.items()})

    def has(self, replica: str, counter: int) -> bool:
        """Whether this dot has been seen."""
        runs = self.seen.get(replica)
        if runs is None:
            return False
        if len(runs) == 2:
            return runs[0] <= counter <= runs[1]
        place = bisect_right(runs, counter)
        return place % 2 == 1 or runs[place - 1] == counter

    def next(self, replica: str) -> Dot:
        """The dot of the next event of ``replica``, which must have seen all its own."""
        runs = self.seen.get(check_replica(replica))
        return Dot(replica, runs[-1] + 1 if runs else 1)

    def join(self, other: CausalContext) -> CausalContext:
        """What has been seen by either; runs that meet become one."""
        seen = dict(self.seen)
        for replica, theirs in other.seen.items():
            mine = seen.get(replica)
            if mine is None:
                seen[replica] = theirs
            elif len(mine) == 2 and theirs[0] >= mine[0] and theirs[-2] <= mine[1] + 1:  # they lengthen one run
                if theirs[-1] > mine[1]:
                    seen[replica] = (mine[0], theirs[-1])
            elif mine != theirs:
                seen[replica] = _merge((*_pairs(mine), *_pairs(theirs)))
        return CausalContext(seen)

    def minus(self, other: CausalContext) -> CausalContext:
        """What has been seen here and not by ``other``."""
        seen = {name: _less(runs, other.seen.get(name, ())) for name, runs in self.seen.items()}
        return CausalContext({name: runs for name, runs in seen.items() if runs})

    def without(self, dots: Iterable[tuple[str, int]]) -> CausalContext:
        """This context less ``dots``."""
        less: dict[str, list[int]] = {}
        for replica, counter in dots:
            less.setdefault(replica, []).append(counter)
        return self.minus(CausalContext({name: _runs_of(counters) for name, counters in less.items()}))

    @property
    def vector(self) -> VersionVector:
        """For each replica the number up to which everything has been seen."""
        return VersionVector({name: runs[1] for name, runs in self.seen.items() if runs[0] == 1})

    def __len__(self) -> int:
        number = 0
        for runs in self.seen.values():
            number += runs[1] - runs[0] + 1 if len(runs) == 2 else sum(last - first + 1 for first, last in _pairs(runs))
        return number

    def __bool__(self) -> bool:
        return bool(self.seen)


def _pairs(runs: Intervals) -> Iterator[tuple[int, int]]:
    return zip(runs[::2], runs[1::2])  # noqa: B905 - strict costs more than the pairs, and their number is checked


def _ascend(runs: Intervals) -> bool:
    edge = -1
    for first, last in _pairs(runs):
        if not edge + 1 < first <= last:
            return False
        edge = last
    return True


def _merge(pairs: Iterable[tuple[int, int]]) -> Intervals:
    runs: list[int] = []
    for first, last in sorted(pairs):
        if runs and first <= runs[-1] + 1:
            runs[-1] = max(runs[-1], last)
        else:
            runs += (first, last)
    return tuple(runs)


def _runs_of(counters: Iterable[int]) -> Intervals:
    runs: list[int] = []
    edge = -1
    for counter in sorted(counters):
        if counter == edge + 1:
            runs[-1] = counter
        elif counter > edge:
            runs += (counter, counter)
        edge = counter
    return tuple(runs)


def _less(runs: Intervals, gone: Intervals) -> Intervals:
    if not gone:
        return runs
    left: list[int] = []
    holes = list(_pairs(gone))
    place = 0
    for first, last in _pairs(runs):
        begin = first
        while place < len(holes) and holes[place][0] <= last:
            hole_first, hole_last = holes[place]
            if begin < hole_first:
                left += (begin, hole_first - 1)
            begin = max(begin, hole_last + 1)
            if hole_last > last:
                break
            place += 1
        if begin <= last:
            left += (begin, last)
    return tuple(left)
