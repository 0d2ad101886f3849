"""Evolution: how a stored state or payload of yesterday's class becomes one of today's.

A stored value carries the version of its type. A class that has changed says how plain
data of one version becomes plain data of the next. Such steps follow each other until
the present version is reached.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from moot.errors import StateUnreadable

__all__ = ["read", "upgrade", "upgraded"]

_MARK = "__moot_upgrade__"

Upgrade = Callable[[Any], Any]
F = TypeVar("F", bound=Upgrade)


def upgrade(*, from_version: int) -> Callable[[F], F]:
    """Mark a static method that makes plain data of ``from_version`` into plain data of the next version.

    Plain data are maps, lists and scalars, with a field's name as key.
    """
    if from_version < 1:
        raise ValueError(f"versions are counted from 1, not {from_version}")

    def mark(fn: F) -> F:
        setattr(fn, _MARK, from_version)
        return fn

    return mark


def read(owner: type, body: bytes, version: int, present: int, type: Any) -> Any:
    """The value in ``body``, which is of ``version``, led to the ``present`` version by the upgrades in ``owner``.

    Raises:
        StateUnreadable: the value is newer, a step is missing, or the result is not a ``type``.
    """
    try:
        if version == present:
            return msgspec.msgpack.decode(body, type=type if type is not None else Any)
        value = upgraded(owner, msgspec.msgpack.decode(body), version, present)
        return msgspec.convert(value, type) if type is not None else value
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise StateUnreadable(owner.__name__, version, present, str(error)) from error


def upgraded(owner: type, value: Any, version: int, present: int) -> Any:
    """Plain data of ``version``, led to the ``present`` version by the upgrades in ``owner``.

    Raises:
        StateUnreadable: the data is newer, or a step is missing. What a step raises.
    """
    if version > present:
        raise StateUnreadable(owner.__name__, version, present, "it was written by newer code; deploy that, or newer")
    for step in range(version, present):
        value = _step(owner, step, present)(value)
    return value


def _step(owner: type, version: int, present: int) -> Upgrade:
    for cls in owner.__mro__:
        for member in vars(cls).values():
            fn = member.__func__ if isinstance(member, staticmethod) else member
            if callable(fn) and getattr(fn, _MARK, None) == version:
                found: Upgrade = fn
                return found
    raise StateUnreadable(
        owner.__name__, version, present, f"nothing leads from version {version}; add @upgrade(from_version={version})"
    )
