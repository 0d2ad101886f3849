"""Changes: what can be asked of a replicated value, as messages that every codec carries."""

from __future__ import annotations

from typing import Any

import msgspec

from moot.replication.kinds import EMPTY, inner_of
from moot.state.crdt import GCounter, LWWMap, LWWRegister, MVRegister, ORMap, ORSet, PNCounter

__all__ = ["Add", "Assign", "At", "Change", "Decrement", "Increment", "Put", "Remove", "delta_of"]


class Increment(msgspec.Struct, frozen=True, tag="increment"):
    """Count up: both counters."""

    by: int = 1


class Decrement(msgspec.Struct, frozen=True, tag="decrement"):
    """Count down: ``pn_counter``."""

    by: int = 1


class Assign(msgspec.Struct, frozen=True, tag="assign"):
    """Overwrite what is seen: both registers."""

    value: Any


class Add(msgspec.Struct, frozen=True, tag="add"):
    """Put elements in: ``or_set``."""

    elements: tuple[str | int, ...]


class Remove(msgspec.Struct, frozen=True, tag="remove"):
    """Take elements or keys out, as far as they are in: ``or_set`` and the maps."""

    elements: tuple[str | int, ...]


class Put(msgspec.Struct, frozen=True, tag="put"):
    """Give keys their values: ``lww_map``."""

    entries: dict[str, Any]


class At(msgspec.Struct, frozen=True, tag="at"):
    """Change the value of one key: the maps of replicated values."""

    key: str
    change: Increment | Decrement | Assign | Add | Remove | Put


Change = Increment | Decrement | Assign | Add | Remove | Put | At


def delta_of(kind: str, held: Any, change: Change, writer: str, now: float, max_drift: float) -> Any:
    """The delta that changes ``held``, made at ``now`` (seconds) under the replica id ``writer``.

    Raises:
        TypeError: that change is none of this kind. ValueError: the value refuses it.
    """
    delta: Any
    match held, change:
        case ((GCounter() | PNCounter()), Increment(by)):
            delta = held.increment(writer, by)
        case PNCounter(), Decrement(by):
            delta = held.decrement(writer, by)
        case LWWRegister(), Assign(value):
            delta = held.set(writer, value, now, max_drift=max_drift)
        case MVRegister(), Assign(value):
            delta = held.set(writer, value)
        case ORSet(), Add(elements):
            delta = held.add(writer, *elements)
        case ORSet(), Remove(elements):
            delta = held.remove(*elements)
        case ((LWWMap() | ORMap()), Remove(elements)):
            delta = held.remove(*(key for key in elements if isinstance(key, str)))
        case LWWMap(), Put(entries):
            delta = held.put(writer, entries, now, max_drift=max_drift)
        case ORMap(), At(key, inner):
            of = inner_of(kind)
            delta = held.update(
                writer, key, EMPTY[of], lambda value, name: delta_of(of, value, inner, name, now, max_drift)
            )
        case _:
            raise TypeError(
                f"{type(change).__name__} is no change of a {kind}; see moot.replication for those it takes"
            )
    return delta
