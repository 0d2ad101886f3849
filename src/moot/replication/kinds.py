"""The kinds of values that a replica can hold, by their name on the wire: a closed table.

Bytes from a peer become a value of a kind that stands here or are refused; nothing is looked up by a name that
somebody sent. The content of registers and maps is plain (maps, lists, scalars), an element of a set is text or a whole
number: what every codec brings back as it was.
"""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

import msgspec

from moot.state.crdt import GCounter, LWWMap, LWWRegister, MVRegister, ORMap, ORSet, PNCounter, Stamp

__all__ = [
    "CUMULATIVE",
    "EMPTY",
    "TYPES",
    "Kind",
    "convert",
    "decode",
    "encode",
    "inner_of",
    "kind_of",
    "latest",
    "reach",
    "shown",
    "writers_of",
]

Kind = Literal[
    "g_counter",
    "pn_counter",
    "lww_register",
    "mv_register",
    "or_set",
    "lww_map",
    "or_map/g_counter",
    "or_map/pn_counter",
    "or_map/lww_register",
    "or_map/mv_register",
    "or_map/or_set",
    "or_map/lww_map",
]

_of: Any = ORMap  # its parameter is computed below, which only the type checker minds

_PLAIN: dict[str, Any] = {
    "g_counter": GCounter,
    "pn_counter": PNCounter,
    "lww_register": LWWRegister[Any],
    "mv_register": MVRegister[Any],
    "or_set": ORSet[str | int],
    "lww_map": LWWMap[Any],
}
TYPES: dict[str, Any] = {**_PLAIN, **{f"or_map/{name}": _of[inner] for name, inner in _PLAIN.items()}}
"""The full type of each kind."""

EMPTY: dict[str, Any] = {kind: (get_origin(type_) or type_)() for kind, type_ in TYPES.items()}
"""What a value of each kind begins as."""

CUMULATIVE = frozenset({"g_counter", "pn_counter", "lww_register", "mv_register"})
"""The kinds of which a delta brings all its writer did to the value before: a count, or a write that overwrites."""

_DECODERS: dict[str, msgspec.msgpack.Decoder[Any]] = {}

_encoder = msgspec.msgpack.Encoder()


def kind_of(text: str) -> Kind:
    """``text``, if it names a kind. Raises `ValueError`."""
    if text not in TYPES:
        raise ValueError(f"there is no replicated kind {text!r}; there are: {', '.join(get_args(Kind))}")
    return text  # type: ignore[return-value]


def inner_of(kind: str) -> str:
    """The kind of the values in a map of this kind."""
    return kind.partition("/")[2]


def encode(value: Any) -> bytes:
    """The bytes of a value. Raises `TypeError` or `ValueError`: it holds what is not plain."""
    return _encoder.encode(value)


def decode(kind: str, body: bytes) -> Any:
    """The value of that kind in ``body``, which may come from anybody.

    Raises:
        ValueError: there is no such kind, or ``body`` is no value of it.
    """
    if kind not in _DECODERS:
        _DECODERS[kind] = msgspec.msgpack.Decoder(TYPES[kind_of(kind)])
    try:
        return _DECODERS[kind].decode(body)
    except (msgspec.DecodeError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"these {len(body)} bytes are no {kind} ({error})") from error


def convert(kind: str, value: Any) -> Any:
    """The value of that kind in plain maps and lists. Raises `ValueError`."""
    return msgspec.convert(value, TYPES[kind_of(kind)])


def latest(value: Any) -> float:
    """The time of the latest stamp in a value, in seconds since the Unix epoch; 0 for one without stamps."""
    match value:
        case LWWRegister():
            return value.stamp.seconds if value.stamp else 0.0
        case LWWMap():
            newest = max((put.time for puts in value.entries.values() for put in puts), default=0)
            return Stamp(newest, "-").seconds if newest else 0.0
        case ORMap():
            return max((latest(one.value) for updates in value.entries.values() for one in updates), default=0.0)
    return 0.0


def reach(value: Any, writer: str) -> int:
    """How far the writes of ``writer`` in a value are numbered; 0 if there are none."""
    match value:
        case GCounter():
            return value.counts.get(writer, 0)
        case PNCounter():
            return max(value.ups.get(writer, 0), value.downs.get(writer, 0))
        case LWWRegister():
            return value.stamp.time if value.stamp and value.stamp.replica == writer else 0
    runs: tuple[int, ...] = value.context.seen.get(writer, (0,))
    return runs[-1]


def writers_of(value: GCounter | PNCounter) -> set[str]:
    """Whose counts are in a counter."""
    return set(value.counts) if isinstance(value, GCounter) else {*value.ups, *value.downs}


def shown(value: Any) -> Any:
    """What a reader sees, as every codec carries it: a set is a list in order, numbers first."""
    plain = value.value
    match value:
        case ORSet():
            return _in_order(plain)
        case MVRegister():
            return list(plain)
        case ORMap():
            return {key: _in_order(one) if isinstance(one, frozenset) else one for key, one in plain.items()}
    return plain


def _in_order(elements: frozenset[Any]) -> list[Any]:
    return sorted(elements, key=lambda element: (isinstance(element, str), element))
