"""Shared state: versioned keys that agents read and write without locks.

Each key has a version, a number that rises by one with each write; version 0 means
that the key does not exist. Writers say which version they decided upon, and the one
that comes second is told so (optimistic concurrency control: H. T. Kung and J. T.
Robinson, "On Optimistic Methods for Concurrency Control", 1981). Values are kept
encoded on every backend, so that nobody can change one behind another's back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from moot.errors import CoordinationError, Factual
from moot.storable.types import fields_of
from moot.storable.values import Unstorable, form_of

__all__ = ["Access", "Change", "SharedState", "Versioned", "WatchExpired", "decode", "encode"]

T = TypeVar("T")


class Versioned(msgspec.Struct, Generic[T], frozen=True):
    """A value and its version; version 0 and value None where there is no such key."""

    value: T
    version: int


class Change(msgspec.Struct, frozen=True):
    """A key got a new value; None when it was deleted. ``revision`` counts all changes of the store, from 1."""

    key: str
    value: Any
    version: int
    revision: int = 0


class WatchExpired(Factual, CoordinationError):
    """The changes to go on after are no longer kept; ``after`` to ``last`` are what one can go on after."""

    revision: int
    after: int
    last: int
    template = (
        "the changes after revision {revision} are not kept (only those after {after}, up to {last}); "
        "read the keys, and watch anew"
    )


class Access(Protocol):
    """Reading and writing; the same inside a turn, in a transaction and outside both.

    Values are numbers, texts, bytes, lists, maps and Structs. With ``type=`` a value is converted back to that type;
    without it, a Struct is read as a map. What no type would bring back is refused when it is set.
    """

    async def get(self, key: str, default: Any = None, *, type: Any = Any) -> Any:
        """The value of ``key``, or ``default``."""
        ...

    async def read(self, key: str, *, type: Any = Any) -> Versioned[Any]:
        """The value of ``key`` with its version."""
        ...

    async def set(self, key: str, value: Any, *, type: Any = None) -> None:
        """Give ``key`` a value, whatever it had. ``type`` is what it is to be read with, if that is not its class.

        Raises:
            TypeError: it could not be read again as itself.
        """
        ...

    async def delete(self, key: str) -> None:
        """Remove ``key``; nothing happens if there is none."""
        ...

    async def compare_and_set(self, key: str, value: Any, version: int, *, type: Any = None) -> None:
        """As `set`, if ``key`` is still at ``version`` (0: does not exist).

        Raises:
            StateConflict: it is at another version.
        """
        ...

    async def keys(self, prefix: str = "") -> list[str]:
        """The keys that begin with ``prefix``, sorted."""
        ...


class SharedState(Access, Protocol):
    """A store of versioned keys."""

    async def transact(self, fn: Callable[[Access], Awaitable[T]]) -> T:
        """Run ``fn`` against a consistent view and commit what it wrote; run it again if another came first."""
        ...

    def watch(self, prefix: str = "", *, after: int | None = None) -> AsyncIterator[Change]:
        """All changes of keys that begin with ``prefix``, in order: those from the first step of the iteration on.

        With ``after`` it goes on after the change of that revision instead, on a durable backend also one that an
        earlier run has seen.

        Raises:
            WatchExpired: that is too long ago, or the reader has become too slow; read the keys, and watch anew.
        """
        ...

    async def fetch(self, key: str) -> tuple[bytes | None, int]:
        """The encoded value and the version of ``key``."""
        ...

    async def commit(
        self,
        reads: Mapping[str, int],
        scans: Mapping[str, tuple[str, ...]],
        writes: Mapping[str, bytes | None],
    ) -> None:
        """Make all ``writes`` (None deletes) if every key read is at its version and every prefix has the same keys.

        Raises:
            StateConflict: another came first; nothing was written.
        """
        ...


def encode(value: Any, type: Any = None) -> bytes:
    """The stored form of ``value``, which is read again as a ``type``.

    Without a type a value with fields of its own is read as its class, and any other as maps, lists and scalars.

    Raises:
        TypeError: it could not be read again as itself.
    """
    if type is None:
        type = value.__class__ if fields_of(value.__class__) else Any
    try:
        return msgspec.msgpack.encode(form_of(type).admit(value))
    except Unstorable as error:
        raise TypeError(
            f"this value cannot be stored: {error}; or pass the type that it is read with: set(key, value, type=…)"
        ) from None


def decode(data: bytes, type: Any = Any) -> Any:
    """The value in ``data``, as ``type``.

    Raises:
        TypeError: it is not of that type.
    """
    try:
        return msgspec.msgpack.decode(data, type=type)
    except msgspec.ValidationError as error:
        raise TypeError(
            f"the stored value is not a {type!r} ({error}); read it with the type it was set with"
        ) from error
