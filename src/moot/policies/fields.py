"""Fields: the values of a policy are of the types that it declares.

Python does not look at a declared type, so a wrong value would fail where it is used: in the middle of a turn, under
load. `check_fields` looks when the policy is made. The error names the field, what was given, and what to write. Where
a tuple is meant, one value, a list or a set is taken as one; where it is a tuple of pairs, a dict is, too.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

__all__ = ["as_declared", "check_fields", "check_value", "seconds_in"]

LARGEST = (1 << 63) - 1
"""The largest whole number that a policy may have: what every codec carries."""

_WORDS: dict[Any, str] = {
    float: "a number",
    int: "a whole number",
    bool: "True or False",
    str: "text",
    type(None): "None",
}


def check_fields(policy: msgspec.Struct) -> None:
    """Check each field of ``policy``, and bring what stands for a tuple into one. Call it in ``__post_init__``.

    Raises:
        TypeError: a value is not of the declared type. ValueError: it is none of those that are allowed, or no number.
    """
    owner = type(policy)
    for name, kind in _kinds(owner).items():
        value = getattr(policy, name)
        fitting = as_declared(value, kind)
        check_value(owner.__name__, name, fitting, kind)
        if fitting is not value:
            msgspec.structs.force_setattr(policy, name, fitting)


def check_value(owner: str, name: str, value: Any, kind: Any, example: str | None = None) -> None:
    """Check one value, which ``owner`` calls ``name``; ``example`` is what to write. Raises as `check_fields`."""
    if not _fits(value, kind):
        said = f"{owner}: {name} is {_described(kind)}, not {_shown(value)}"
        written = _example(name, value, kind) if example is None else example
        raise TypeError(f"{said}; write {written}" if written else said)
    if value.__class__ is float and math.isnan(value):
        raise ValueError(f"{owner}: {name} is a number, not nan")
    if value.__class__ is int and abs(value) > LARGEST:
        raise ValueError(f"{owner}: {name} is between {-LARGEST} and {LARGEST}, not {_shown(value)}")
    choices = [one for part in _members(kind) if get_origin(part) is Literal for one in get_args(part)]
    if choices and isinstance(value, str) and value not in choices:
        raise ValueError(f"{owner}: {name} is one of {', '.join(map(str, choices))}, not {value!r}")


def as_declared(value: Any, kind: Any) -> Any:
    """The value; where ``kind`` is a tuple of any length, an item, a list, a set or a dict becomes a tuple."""
    arguments = get_args(kind)
    if get_origin(kind) is not tuple or len(arguments) != 2 or arguments[1] is not Ellipsis or type(value) is tuple:
        return value
    if isinstance(value, Mapping) and get_origin(arguments[0]) is tuple:
        return tuple(value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return tuple(value)
    return (value,) if _fits(value, arguments[0]) else value


def seconds_in(name: str, given: Any) -> float:
    """``given``, if it is a number of seconds; ``name`` names it in the error. Raises `TypeError`."""
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return given
    raise TypeError(f"{name} is a number of seconds, not {given!r}")


@cache
def _kinds(owner: type[msgspec.Struct]) -> dict[str, Any]:
    hints = typing.get_type_hints(owner)
    return {name: hints[name] for name in owner.__struct_fields__}


def _members(kind: Any) -> tuple[Any, ...]:
    """The kinds of a union, or the one kind."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _fits(value: Any, kind: Any) -> bool:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in arguments)
    if origin is Literal:
        return any(type(value) is type(one) for one in arguments)
    if origin is tuple:
        return _fits_tuple(value, arguments)
    if origin is type:
        return isinstance(value, type) and issubclass(value, arguments[0])
    if Callable in (origin, kind):
        return callable(value)
    return _fits_class(value, origin or kind)


def _fits_class(value: Any, kind: Any) -> bool:
    if kind is float or kind is int:
        return isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
    if not isinstance(kind, type):
        return value is None if kind is None else True  # Any, or a type variable
    if getattr(kind, "_is_protocol", False):
        wanted = (name for name, one in vars(kind).items() if callable(one) and not name.startswith("_"))
        return not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in wanted)
    return isinstance(value, kind)


def _fits_tuple(value: Any, arguments: tuple[Any, ...]) -> bool:
    if not isinstance(value, tuple):
        return False
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return all(_fits(one, arguments[0]) for one in value)
    return len(value) == len(arguments) and all(map(_fits, value, arguments))


def _described(kind: Any) -> str:
    """A type in words."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(_described(one) for one in arguments)
    if kind in _WORDS:
        return _WORDS[kind]
    if origin is Literal:
        return f"one of {', '.join(map(repr, arguments))}"
    if origin is tuple:
        if arguments[1:] == (...,):
            return f"a tuple, each item of it {_described(arguments[0])}"
        return f"a pair ({', '.join(_described(one) for one in arguments)})"
    if origin is type:
        return f"a class of {arguments[0].__name__}"
    if isinstance(origin or kind, type) and Callable not in (origin, kind):
        name = (origin or kind).__name__
        return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
    return "a function"


def _shown(value: Any) -> str:
    text = f"the class {value.__name__}" if isinstance(value, type) else repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _example(name: str, value: Any, kind: Any) -> str:
    """What to write instead, if the kind is a Struct: with the value, where one of its fields can be that."""
    struct = next((one for one in _members(kind) if isinstance(one, type) and issubclass(one, msgspec.Struct)), None)
    if struct is None:
        return ""
    fields = {} if isinstance(value, type) else _kinds(struct)
    takes = next((field for field, one in fields.items() if _fits(value, one) and one is not Any), None)
    if takes is None or value is None:
        return f"{name}={struct.__name__}(…)"
    return f"{name}={struct.__name__}({takes}={value!r})"
