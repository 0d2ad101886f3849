"""Types that can be read again: what is wrong with the others, and what to write in their place.

A stored value has no class of its own. It is read as the type that its field, its state or its reply declares. So a
type is fit only if the bytes alone tell which of its members they are of. A type is looked through once, when its
first agent is registered, and what cannot be read is refused by the name of its field.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any, NamedTuple, TypeVar, Union

import msgspec

__all__ = ["Fault", "fault_of", "fields_of", "is_mutable", "is_scalar", "name_of", "scalars_of", "SCALARS"]

SCALARS = frozenset({type(None), bool, int, float, str, bytes})
"""The classes whose values are read again as themselves, whatever the declaration."""

_READABLE = frozenset(
    {
        "datetime.datetime",
        "datetime.date",
        "datetime.time",
        "datetime.timedelta",
        "decimal.Decimal",
        "uuid.UUID",
        "builtins.memoryview",
        "builtins.bytearray",
        "msgspec.msgpack.Ext",
        "msgspec._core.Ext",
        "msgspec.UnsetType",
        "msgspec._core.UnsetType",
    }
)
"""Other classes that a declaration brings back. (By name: a program that has none of them need not load them.)"""
_CHANGEABLE = frozenset({"builtins.memoryview", "builtins.bytearray"})
_FROZEN_CONTAINERS = frozenset({"tuple", "frozenset"})
_CONTAINERS = frozenset(
    {
        *("list", "dict", "set", "tuple", "frozenset"),
        *("Collection", "Sequence", "MutableSequence", "Set", "MutableSet", "Mapping", "MutableMapping"),
    }
)
_INSTEAD = {
    "Counter": "dict[…, int]",
    "defaultdict": "dict",
    "OrderedDict": "dict",
    "ChainMap": "dict",
    "deque": "list, or tuple[…, ...]",
    "complex": "tuple[float, float]",
    "Fraction": "tuple[int, int]",
    "Pattern": "str, the text of the pattern",
    "Iterable": "list, or tuple[…, ...]",
    "Iterator": "list, or tuple[…, ...]",
    "range": "tuple[int, int]",
    "Callable": "str, the name of the function",
    "type": "str, the name of the class",
    "timezone": "str, the name of the zone",
    "ZoneInfo": "str, the name of the zone",
    "Exception": "str, its text",
    "Raw": "bytes",
}
_WRAPPERS = ("Annotated", "Required", "NotRequired", "ReadOnly", "Final")


class Fault(NamedTuple):
    """Why a type cannot be read again: the ``path`` from the type to its part at fault, and the ``reason``."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path.removeprefix('.')}: {self.reason}" if self.path else self.reason


def fault_of(kind: Any) -> Fault | None:
    """What keeps values of the type ``kind`` from being read again; None if nothing does."""
    return _fault(kind, "", set())


def is_mutable(kind: Any) -> bool:
    """Whether a value of the type ``kind`` may be changed in place, or hold something that may be."""
    return _is_mutable(kind, set())


def is_scalar(kind: Any) -> bool:
    """Whether the class of a value alone says that it is a ``kind``, and that it is read again as itself."""
    return scalars_of(kind) <= SCALARS


def scalars_of(kind: Any) -> frozenset[Any]:
    """The types that a value of the type ``kind`` may have: the members of a union, else itself."""
    kind = _plain_name(kind)
    if typing.get_origin(kind) in (Union, types.UnionType):
        return frozenset().union(*map(scalars_of, typing.get_args(kind)))
    return frozenset({type(None) if kind is None else kind if isinstance(kind, type) else object})


def fields_of(kind: Any) -> dict[str, Any]:
    """The fields of a class with fields, each with its declared type. A class of another kind has none.

    Raises:
        NameError: an annotation means nothing in its module.
    """
    cls = typing.get_origin(kind) or kind
    if not isinstance(cls, type):
        return {}
    if issubclass(cls, msgspec.Struct):
        return {field.name: field.type for field in msgspec.structs.fields(kind)}
    if hasattr(cls, "__dataclass_fields__") or hasattr(cls, "__attrs_attrs__") or _is_dict_like(cls):
        hints = typing.get_type_hints(cls, include_extras=True)
        return {name: hint for name, hint in hints.items() if not _is_class_var(hint)}
    return {}


def name_of(kind: Any) -> str:
    """How a person writes the type."""
    if typing.get_origin(kind) is None and isinstance(kind, type):
        return "None" if kind is type(None) else kind.__name__
    if typing.get_origin(kind) in (Union, types.UnionType):
        return " | ".join(map(name_of, typing.get_args(kind)))
    arguments = typing.get_args(kind)
    if arguments and isinstance(typing.get_origin(kind), type):
        return f"{typing.get_origin(kind).__name__}[{', '.join(map(name_of, arguments))}]"
    return "..." if kind is Ellipsis else str(kind).removeprefix("typing.")


def _fault(kind: Any, path: str, seen: set[Any]) -> Fault | None:
    if isinstance(kind, (str, typing.ForwardRef)):
        text = kind if isinstance(kind, str) else kind.__forward_arg__
        return Fault(
            path, f"the name {text!r} in quotes means nothing here; define the class in the module, or name it"
        )
    kind = _bare(kind)
    if _is_known(kind, seen):
        return None
    try:
        for label, part in _parts(kind):
            fault = _fault(part, path + label, seen)
            if fault is not None:
                return fault
        return _own_fault(kind, path)
    except NameError as error:
        return Fault(path, f"an annotation of {name_of(kind)} cannot be resolved ({error}); define it in the module")


def _own_fault(kind: Any, path: str) -> Fault | None:
    """What is wrong with the type itself, where nothing is wrong with its parts."""
    if _is_foreign(kind):
        name = name_of(kind)
        instead = _INSTEAD.get(name.partition("[")[0])
        if instead is None:
            is_error = isinstance(kind, type) and issubclass(kind, BaseException)
            instead = _INSTEAD["Exception"] if is_error else "a Struct, or plain values"
        return Fault(path, f"{name} cannot be read again; use {instead}")
    try:
        msgspec.msgpack.Decoder(kind)
    except (TypeError, ValueError, RecursionError) as error:
        if typing.get_origin(kind) in (Union, types.UnionType):
            advice = _advice(typing.get_args(kind))
            return Fault(path, f"{name_of(kind)} cannot be told apart when they are read again; {advice}")
        return Fault(path, f"{name_of(kind)} cannot be read again ({str(error).splitlines()[0]}); use another type")
    return None


def _advice(members: tuple[Any, ...]) -> str:
    """What to write in the place of a union."""
    structs = [
        member
        for member in map(_bare, members)
        if isinstance(cls := typing.get_origin(member) or member, type) and issubclass(cls, msgspec.Struct)
    ]
    if len(structs) > 1:
        return f"give each a tag, such as class {name_of(structs[0])}({_base_of(structs[0])}, tag=True)"
    if any(fields_of(_bare(member)) for member in members):
        return "make each a Struct with a tag: class Name(msgspec.Struct, frozen=True, tag=True)"
    return "declare one of them, or a Struct with a field for each"


def _base_of(kind: Any) -> str:
    cls = typing.get_origin(kind) or kind
    base: type = cls.__mro__[1]
    return "msgspec.Struct" if base is msgspec.Struct else base.__name__


def _parts(kind: Any) -> Iterator[tuple[str, Any]]:
    """The types that a type is made of, each with the way to it."""
    fields = fields_of(kind)
    for name, part in fields.items():
        yield f".{name}", part
    if fields:
        return
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return
    label = "" if origin in (Union, types.UnionType) else "[…]"
    for part in arguments:
        if part is not Ellipsis and not isinstance(part, list):
            yield label, part


def _bare(kind: Any) -> Any:
    """The type without what only people and checkers read: aliases, new names, annotations."""
    while True:
        if hasattr(kind, "__supertype__"):
            kind = kind.__supertype__
        elif hasattr(kind, "__value__") and not isinstance(kind, type):  # an alias of the `type` statement
            kind = kind.__value__
        elif isinstance(kind, TypeVar):
            kind = kind.__bound__ if kind.__bound__ is not None else (kind.__constraints__ or (Any,))[0]
        elif str(getattr(typing.get_origin(kind), "__name__", typing.get_origin(kind))).split(".")[-1] in _WRAPPERS:
            kind = typing.get_args(kind)[0]
        elif hasattr(kind, "__metadata__"):
            kind = kind.__origin__
        else:
            return kind


def _plain_name(kind: Any) -> Any:
    """As `_bare`, but a type with limits on its values stays as it is: the class alone does not say that they hold."""
    return kind if hasattr(kind, "__metadata__") else _bare(kind)


def _is_known(kind: Any, seen: set[Any]) -> bool:
    try:
        known = kind in seen
        seen.add(kind)
    except TypeError:  # (a Literal of something that cannot be hashed)
        return False
    return known


def _is_foreign(kind: Any) -> bool:
    """Whether the type is one that only its own program can make."""
    cls = typing.get_origin(kind) or kind
    if not isinstance(cls, type):
        return False
    if cls in SCALARS or cls is object or issubclass(cls, (msgspec.Struct, Enum)) or _is_dict_like(cls):
        return False
    if hasattr(cls, "__dataclass_fields__") or hasattr(cls, "__attrs_attrs__") or cls in (types.UnionType, Union):
        return False
    if cls.__name__ in _CONTAINERS and cls.__module__ in ("builtins", "collections.abc", "typing"):
        return False
    return f"{cls.__module__}.{cls.__qualname__}" not in _READABLE and cls.__module__ != "typing"


def _is_mutable(kind: Any, seen: set[Any]) -> bool:
    kind = _bare(kind)
    if _is_known(kind, seen):
        return False
    cls = typing.get_origin(kind) or kind
    if kind in (Any, object) or not _is_frozen_class(cls) or (cls is tuple and not typing.get_args(kind)):
        return True
    return any(_is_mutable(part, seen) for _, part in _parts(kind))


def _is_frozen_class(cls: Any) -> bool:
    if not isinstance(cls, type):
        return True
    if issubclass(cls, msgspec.Struct):
        return cls.__struct_config__.frozen
    if hasattr(cls, "__dataclass_params__"):
        return bool(cls.__dataclass_params__.frozen)
    if issubclass(cls, tuple):
        return True
    if cls.__name__ in _CONTAINERS or _is_dict_like(cls) or hasattr(cls, "__attrs_attrs__"):
        return cls.__name__ in _FROZEN_CONTAINERS
    return f"{cls.__module__}.{cls.__qualname__}" not in _CHANGEABLE


def _is_dict_like(cls: type) -> bool:
    """Whether the class is a TypedDict or a NamedTuple."""
    return (issubclass(cls, dict) and hasattr(cls, "__total__")) or (issubclass(cls, tuple) and hasattr(cls, "_fields"))


def _is_class_var(hint: Any) -> bool:
    return hint is typing.ClassVar or typing.get_origin(hint) is typing.ClassVar
