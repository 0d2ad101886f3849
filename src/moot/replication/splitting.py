"""Splitting: a large value as several small ones of its type, which joined are the whole.

No part needs another to be joined, so a receiver keeps no heap of bytes that wait for the rest, and a part that is
lost costs only itself. What stands goes with its own dots; what is gone goes with the last parts.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from moot.replication.kinds import encode
from moot.state.crdt import CausalContext, GCounter, LWWMap, MVRegister, ORMap, ORSet, PNCounter

__all__ = ["split"]


def split(value: Any, most: int) -> list[bytes]:
    """Encoded values of at most ``most`` bytes, or as near to it as single writes allow."""
    body = encode(value)
    if len(body) <= most or (halves := _halves(value)) is None:
        return [body]
    return [part for half in halves for part in split(half, most)]


def _halves(value: Any) -> tuple[Any, Any] | None:
    match value:
        case GCounter():
            return _halved_counts(value)
        case PNCounter():
            names = list({**value.ups, **value.downs})
            if len(names) < 2:
                return None
            first = set(names[: len(names) // 2])
            return _of_replicas(value, first), _of_replicas(value, set(names) - first)
        case MVRegister():
            halves = _halved_store({None: value.writes} if value.writes else {}, value.context)
            return halves and (_register(*halves[0]), _register(*halves[1]))
        case ORMap() if value.taken:
            if value.entries or value.context:
                return ORMap(value.entries, value.context), ORMap(taken=value.taken)
            some, others = _halved(value.taken)
            return (ORMap(taken=some), ORMap(taken=others)) if some else None
        case ORSet() | LWWMap() | ORMap():
            of: Any = type(value)
            halves = _halved_store(value.entries, value.context)
            return halves and (of(*halves[0]), of(*halves[1]))
    return None


def _halved_counts(value: GCounter) -> tuple[GCounter, GCounter] | None:
    first, rest = _halved(value.counts)
    return (GCounter(first), GCounter(rest)) if first else None


def _of_replicas(value: PNCounter, names: set[str]) -> PNCounter:
    return PNCounter(
        {name: count for name, count in value.ups.items() if name in names},
        {name: count for name, count in value.downs.items() if name in names},
    )


def _register(store: dict[Any, tuple[Any, ...]], context: CausalContext) -> MVRegister[Any]:
    return MVRegister(store.get(None, ()), context)


_Half = tuple[dict[Any, tuple[Any, ...]], CausalContext]


def _halved_store(store: dict[Any, tuple[Any, ...]], context: CausalContext) -> tuple[_Half, _Half] | None:
    if len(store) > 1:
        first, rest = _halved(store)
    elif store and len(next(iter(store.values()))) > 1:
        ((key, writes),) = store.items()
        first, rest = {key: writes[: len(writes) // 2]}, {key: writes[len(writes) // 2 :]}
    else:
        first, rest = store, {}
    own = CausalContext.of([write for writes in first.values() for write in writes])
    gone = context.minus(own)
    if store and (rest or gone):
        return (first, own), (rest, gone)
    return None if store else _halved_context(context)


def _halved_context(context: CausalContext) -> tuple[_Half, _Half] | None:
    if len(context.seen) > 1:
        first, rest = _halved(context.seen)
        return ({}, CausalContext(first)), ({}, CausalContext(rest))
    for replica, runs in context.seen.items():
        middle = len(runs) // 4 * 2
        if middle:
            return ({}, CausalContext({replica: runs[:middle]})), ({}, CausalContext({replica: runs[middle:]}))
    return None


def _halved(whole: dict[Any, Any]) -> tuple[dict[Any, Any], dict[Any, Any]]:
    items = iter(whole.items())
    return dict(islice(items, len(whole) // 2)), dict(items)
