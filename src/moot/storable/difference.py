"""Differences: where a value that was read is not what was stored, and what to write instead.

Two values are the same if they are equal and of the same classes throughout: equality alone would take a number of an
enum for a number, and an ordered dictionary for a dictionary.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from enum import Enum
from typing import Any

import msgspec

from moot.storable.types import SCALARS, fault_of, fields_of, name_of

__all__ = ["UNREADABLE", "difference", "explained", "is_within"]

UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, NameError)
"""What encoding and decoding raise, also through a ``__post_init__``. (`msgspec.MsgspecError` is a `ValueError`.)"""

_encode = msgspec.msgpack.encode


def difference(value: Any, again: Any) -> str | None:  # noqa: C901, PLR0911 - a case for each kind of value
    """Where ``again`` is not what ``value`` is, and what to write instead; None if it is the same."""
    kind = value.__class__
    if kind is not again.__class__:
        if kind is int and again.__class__ is float and value == again:
            return None
        return _changed(value, again)
    if kind in SCALARS:
        return None if value == again or value != value else _changed(value, again)  # noqa: PLR0124 (not a number)
    if kind is list or kind is tuple:
        return _difference_of_items(value, again)
    if kind is dict:
        return _difference_of_maps(value, again)
    if kind is set or kind is frozenset:
        found = {one: one for one in again}
        return _difference_of_items(list(value), [found.get(one) for one in value])
    if isinstance(value, msgspec.Struct):
        return _difference_of_fields(value, again, value.__struct_fields__)
    if isinstance(value, tuple):
        return _difference_of_items(value, again)
    if not isinstance(value, Enum):
        fields = getattr(value, "__dataclass_fields__", None)
        if fields is not None:
            return _difference_of_fields(value, again, tuple(fields))
        fields = getattr(value, "__attrs_attrs__", None)
        if fields is not None:
            return _difference_of_fields(value, again, tuple(field.name for field in fields))
    if kind is msgspec.msgpack.Ext:
        value, again = (value.code, bytes(value.data)), (again.code, bytes(again.data))
    return None if value == again or value != value else _changed(value, again)  # noqa: PLR0124


def _difference_of_items(value: Any, again: Any) -> str | None:
    kinds = set(map(type, value))
    if len(value) == len(again) and kinds <= SCALARS and kinds == set(map(type, again)):
        return None  # (the codec keeps them)
    if len(value) != len(again):
        return _changed(value, again)
    for number, (one, other) in enumerate(zip(value, again, strict=True)):
        gap = difference(one, other)
        if gap is not None:
            return f"[{number}]{gap}"
    return None


def _difference_of_maps(value: dict[Any, Any], again: dict[Any, Any]) -> str | None:
    if len(value) != len(again):
        return _changed(value, again)
    gap = _difference_of_items(tuple(value), tuple(again))
    if gap is not None:
        return f" key {gap}"
    kinds = set(map(type, value.values()))
    if kinds <= SCALARS and kinds == set(map(type, again.values())):
        return None
    for key, one in value.items():
        gap = difference(one, again[key])
        if gap is not None:
            return f"[{key!r}]{gap}"
    return None


def _difference_of_fields(value: Any, again: Any, names: tuple[str, ...]) -> str | None:
    for name in names:
        gap = difference(getattr(value, name), getattr(again, name))
        if gap is not None:
            return f".{name}{gap}"
    return None


def _changed(value: Any, again: Any) -> str:
    kind = value.__class__
    read = f"{reprlib.repr(value)} would be read again as {reprlib.repr(again)}"
    if kind is again.__class__:
        return f": {read}; let __post_init__ leave alone what it has set, and store only what is read again"
    if issubclass(kind, again.__class__) and fields_of(kind):
        return f": a {kind.__name__} would be read again as a {again.__class__.__name__}; {_declare(kind)}"
    return f": {read}, of the class {again.__class__.__name__}; {_declare(kind)}"


def _declare(kind: type) -> str:
    fault = fault_of(kind)
    if fault is not None:
        return fault.reason
    tagged = ", or a union of Structs with tags" if issubclass(kind, msgspec.Struct) else ""
    return f"declare {name_of(kind)} for it{tagged}, or send it as {_plainly(kind)}"


def _plainly(kind: type) -> str:
    if fields_of(kind):
        return "a map: msgspec.to_builtins(…)"
    if issubclass(kind, (tuple, set, frozenset)):
        return "a list"
    if issubclass(kind, Enum):
        return "its value"
    return "a text" if not issubclass(kind, dict) else "a dict"


def explained(error: Exception, value: Any) -> str:
    """What is wrong with a value that cannot be encoded, or not be read as what is declared."""
    if isinstance(error, RecursionError):
        return f"{type(value).__name__} is nested too deeply, or holds itself; send a reference to it instead"
    if isinstance(error, msgspec.ValidationError):
        text, _, path = str(error).partition(" - at `$")
        where = path.rstrip("`").removeprefix(".")
        return f"{where}{': ' * bool(where)}{text}; give it a value of the declared type"
    path, part = _where(value)
    where = path.removeprefix(".") + ": " * bool(path)
    if isinstance(error, UnicodeEncodeError):
        return f"{where}{reprlib.repr(error.object)} is no Unicode text; replace its surrogates"
    if isinstance(error, OverflowError):
        return f"{where}{reprlib.repr(part)} is out of range (-2**63 to 2**64 - 1); use a text or a float"
    fault = fault_of(type(part))
    if fault is not None:
        return f"{where}{fault.reason}"
    return f"{where}{error}; use a number, a text, bytes, a list, a dict or a Struct"


def _where(value: Any) -> tuple[str, Any]:
    """The innermost part of ``value`` that cannot be encoded, and the way to it."""
    for label, part in _parts(value):
        try:
            _encode(part)
        except UNREADABLE:
            path, inner = _where(part)
            return f"{label}{path}", inner
    return "", value


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((f" key {key!r}", key) for key in value)
        yield from ((f"[{key!r}]", part) for key, part in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"[{number}]", part) for number, part in enumerate(value))
    elif not isinstance(value, type):
        yield from ((f".{name}", getattr(value, name)) for name in fields_of(type(value)) if hasattr(value, name))


def is_within(value: Any, whole: Any) -> bool:
    """Whether nothing of ``value`` is missing in ``whole``; both are plain data."""
    if isinstance(value, dict) and isinstance(whole, dict):
        return all(key in whole and is_within(part, whole[key]) for key, part in value.items())
    if isinstance(value, list) and isinstance(whole, list):
        return len(value) == len(whole) and all(map(is_within, value, whole))
    return bool(value == whole)
