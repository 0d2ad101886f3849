"""The causal core of sets, maps and multi-value registers: who has seen which event, and which events still stand.

A *dot store* holds, for each key, the dots of the writes that stand; the *causal context* holds all dots ever seen. A
dot that is in the context and not in the store was removed or overwritten, so no tombstone is needed for it. Both are
what a state is, and what a delta is: a small store with a small context (P. S. Almeida, A. Shoker and C. Baquero,
"Delta State Replicated Data Types", 2018; A. Bieniusa et al., "An Optimized Conflict-free Replicated Set", 2012).

A context is kept as intervals, so that contiguous dots cost nothing however many they are. A key may have several
writes of one replica: where one between them was lost, the later does not say that it ended the earlier. To drop the
earlier all the same would break associativity, because a removal that saw only the later would let it live.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from typing import Protocol, TypeVar

import msgspec

from moot.state.crdt.version_vector import Counter, Dot, ReplicaId, VersionVector, check_replica

__all__ = ["CausalContext", "Store", "Write", "join_stores", "since", "writes_of"]


class Write(Protocol):
    """One event that stands: a dot, or a struct that begins with one."""

    @property
    def replica(self) -> str: ...
    @property
    def counter(self) -> int: ...


K = TypeVar("K", bound=Hashable)
W = TypeVar("W", bound=Write)

Intervals = tuple[Counter, ...]
"""First and last number of each run, in order: (1, 5, 8, 8) is 1 to 5 and 8."""

Store = dict[K, tuple[W, ...]]
"""For each key the writes that stand, in the order of their dots; never none."""


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


def writes_of(store: Mapping[K, tuple[W, ...]], keys: Iterable[K]) -> list[W]:
    """The writes that stand under ``keys``."""
    return [write for key in keys for write in store.get(key, ())]


def join_stores(
    mine: Store[K, W], my_context: CausalContext, theirs: Store[K, W], their_context: CausalContext
) -> Store[K, W]:
    """The writes that stand in both, or stand in one and were never seen by the other.

    Raises:
        ValueError: a write is outside the context it came with, or two different ones have the same dot.
    """
    joined = dict(mine)
    ended = len(their_context)  # less their own: so many writes they have seen end, perhaps ours
    for key, writes in theirs.items():
        ended -= len(writes)
        here = mine.get(key, ())
        if here == writes:
            continue
        standing = _join_writes(here, my_context, writes, their_context)
        if here:
            ended -= sum(one not in standing for one in here)
        if standing:
            joined[key] = standing
        else:
            joined.pop(key, None)
    if ended > 0:
        _end(joined, mine, theirs, their_context, ended)
    return joined


def _end(joined: Store[K, W], mine: Store[K, W], theirs: Store[K, W], their_context: CausalContext, most: int) -> None:
    """Take out of ``joined`` what they have seen end under keys that are not theirs: ``most`` writes, or fewer."""
    has, runs = their_context.has, their_context.seen
    for key, writes in mine.items():
        for one in writes:
            if one.replica in runs and has(one.replica, one.counter) and key not in theirs:
                break
        else:
            continue
        standing = tuple(write for write in writes if not has(write.replica, write.counter))
        if standing:
            joined[key] = standing
        else:
            del joined[key]
        most -= len(writes) - len(standing)
        if not most:
            return


def since(store: Store[K, W], context: CausalContext, vector: VersionVector) -> tuple[Store[K, W], CausalContext]:
    """The store and context that bring whoever has seen ``vector`` up to date.

    The context leaves out just the dots that stand here and that the peer has seen: of those there is nothing to say.
    What it keeps tells the peer which of its own are no more.
    """
    fresh: Store[K, W] = {}
    known: list[tuple[str, int]] = []
    for key, writes in store.items():
        unseen = tuple(write for write in writes if write.counter > vector[write.replica])
        if unseen:
            fresh[key] = unseen
        if len(unseen) < len(writes):
            known += [(one.replica, one.counter) for one in writes if one.counter <= vector[one.replica]]
    return fresh, context.without(known)


def _join_writes(
    mine: tuple[W, ...], my_context: CausalContext, theirs: tuple[W, ...], their_context: CausalContext
) -> tuple[W, ...]:
    if len(theirs) == 1 and len(mine) < 2:  # nearly always
        new = theirs[0]
        old = mine[0] if mine else new
        if their_context.has(new.replica, new.counter) and (not mine or _dot(old) != _dot(new)):
            left = mine if mine and not their_context.has(old.replica, old.counter) else ()
            come = () if my_context.has(new.replica, new.counter) else theirs
            if not (left and come):
                return left or come
    there = {(write.replica, write.counter): write for write in theirs}
    standing: dict[tuple[str, int], W] = {}
    for write in mine:
        dot = (write.replica, write.counter)
        if dot in there:
            standing[dot] = _one_write(write, there[dot])
        elif not their_context.has(*dot):
            standing[dot] = write
    for dot, write in there.items():
        if not their_context.has(*dot):
            raise ValueError(
                f"write {dot[1]} of {dot[0]!r} is not in its own context; ask the peer for its whole state"
            )
        if not my_context.has(*dot):
            standing[dot] = write
    return tuple(standing[dot] for dot in sorted(standing))


def _one_write(mine: W, theirs: W) -> W:
    if mine != theirs and msgspec.msgpack.encode(mine) != msgspec.msgpack.encode(theirs):  # NaN is not itself
        raise ValueError(
            f"event {mine.counter} of {mine.replica!r} was two different writes; give each replica an id of its own, "
            "and a new one when it has lost its state"
        )
    return mine


def _dot(write: Write) -> tuple[str, int]:
    return write.replica, write.counter


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
