"""Signature: what the annotations and parameters of a handler, and the bases of a payload, say.

Annotations are resolved as their author meant them: names in quotes, and classes that are local to a running function,
are found, too.
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections import ChainMap
from collections.abc import Callable, Iterator
from typing import Any, Union

from moot.messaging.message import Payload, Request

__all__ = [
    "annotation_of",
    "element_of",
    "hints_of",
    "members",
    "needs_keywords",
    "positional",
    "reply_type",
    "resolved",
]

_SCOPES_SEARCHED = 12


def reply_type(payload: type[Payload]) -> Any:
    """The ``R`` of a ``Request[R]``; None where no reply is declared."""
    for cls in payload.__mro__:
        for base in getattr(cls, "__orig_bases__", ()):
            if typing.get_origin(base) is Request:
                (reply,) = typing.get_args(base)
                return resolved(reply, cls) if isinstance(reply, (str, typing.ForwardRef)) else reply
    return None


def annotation_of(fn: Callable[..., Any], skip: int) -> Any:
    """The annotation of the first parameter after ``skip`` others; None if it has none.

    Raises:
        TypeError: there is no such parameter, or its annotation cannot be resolved.
    """
    parameters = positional(fn)[skip:]
    if not parameters:
        raise TypeError(f"handler {fn.__qualname__!r} must take a message")
    try:
        return hints_of(fn).get(parameters[0])
    except NameError as error:
        raise TypeError(
            f"the annotation of handler {fn.__qualname__!r} cannot be resolved ({error}); "
            "name the type: @handles(Greet)"
        ) from error


def element_of(fn: Callable[..., Any], annotation: Any, *, named: bool) -> Any:
    """The ``T`` of the ``list[T]`` that a handler of batches takes. With ``named`` types it may say nothing."""
    if typing.get_origin(annotation) is list:
        return typing.get_args(annotation)[0]
    if named and annotation in (None, Any, list):
        return None
    raise TypeError(
        f"handler {fn.__qualname__!r} has batch=, so it is given a list; "
        f"annotate its first parameter with one, such as list[Reading], and not with {annotation!r}"
    )


def members(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; of any other annotation, itself."""
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def positional(fn: Callable[..., Any]) -> list[str]:
    """The names of the parameters that may be given by their place."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [name for name, parameter in inspect.signature(fn).parameters.items() if parameter.kind in kinds]


def needs_keywords(fn: Callable[..., Any]) -> bool:
    """Whether the function cannot be called without arguments by name."""
    parameters = inspect.signature(fn).parameters.values()
    return any(p.kind is inspect.Parameter.KEYWORD_ONLY and p.default is inspect.Parameter.empty for p in parameters)


def hints_of(fn: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of ``fn``, resolved. Classes local to a running function are found, too.

    Raises:
        NameError: a name is nowhere to be found.
    """
    try:
        return typing.get_type_hints(fn)
    except NameError:
        scopes = list(_scopes(sys._getframe(1)))
        return typing.get_type_hints(fn, localns=dict(ChainMap(*scopes)))


def resolved(name: str | typing.ForwardRef, owner: type[Any]) -> Any:
    """The type that a name in quotes means in the module of ``owner``; `Any` if it means none there."""
    named = type("Named", (), {"__annotations__": {"it": name}, "__module__": owner.__module__})
    try:
        return typing.get_type_hints(named)["it"]
    except NameError:
        return Any


def _scopes(frame: types.FrameType | None) -> Iterator[dict[str, Any]]:
    for _ in range(_SCOPES_SEARCHED):
        if frame is None:
            return
        yield frame.f_locals
        frame = frame.f_back
