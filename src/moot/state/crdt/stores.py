"""The causal core of sets, maps and multi-value registers: which events still stand.

A *dot store* holds, for each key, the dots of the writes that stand; the *causal context* holds all dots ever seen. A
dot that is in the context and not in the store was removed or overwritten, so no tombstone is needed for it. Both are
what a state is, and what a delta is: a small store with a small context (P. S. Almeida, A. Shoker and C. Baquero,
"Delta State Replicated Data Types", 2018; A. Bieniusa et al., "An Optimized Conflict-free Replicated Set", 2012).

A key may have several writes of one replica: where one between them was lost, the later does not say that it ended the
earlier. To drop the earlier all the same would break associativity, because a removal that saw only the later would
let it live.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

import msgspec

from moot.state.crdt.causal import CausalContext, Write
from moot.state.crdt.version_vector import VersionVector

__all__ = ["Store", "join_stores", "since", "writes_of"]

K = TypeVar("K", bound=Hashable)
W = TypeVar("W", bound=Write)

Store = dict[K, tuple[W, ...]]
"""For each key the writes that stand, in the order of their dots; never none."""


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
    refused: list[W] = []
    ended = len(their_context)  # less their own: so many writes they have seen end, perhaps ours
    for key, writes in theirs.items():
        ended -= len(writes)
        here = mine.get(key, ())
        if here == writes:
            continue
        standing = _join_writes(here, my_context, writes, their_context)
        if here:
            ended -= sum(one not in standing for one in here)
        if len(standing) < len(writes) or here:
            refused += [one for one in writes if one not in standing]
        if standing:
            joined[key] = standing
        else:
            joined.pop(key, None)
    if refused:
        _check_one_history(mine, refused, theirs)
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


def _check_one_history(mine: Store[K, W], refused: list[W], theirs: Store[K, W]) -> None:
    """Of their writes some are over here: none of these may stand here under another key.

    Raises:
        ValueError: one does, so two replicas write under its id.
    """
    dots = {_dot(one) for one in refused}
    for key, writes in mine.items():
        there = {_dot(one) for one in theirs.get(key, ())} if key in theirs else ()
        for one in writes:
            if _dot(one) in dots and _dot(one) not in there:
                raise ValueError(_two_histories(one))


def _two_histories(write: Write) -> str:
    return (
        f"event {write.counter} of {write.replica!r} was two different writes; give each replica an id of its own, "
        "and a new one when it has lost its state"
    )


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
        raise ValueError(_two_histories(mine))
    return mine


def _dot(write: Write) -> tuple[str, int]:
    return write.replica, write.counter
