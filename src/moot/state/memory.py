"""Shared state in memory: a dictionary of encoded values, and a commit that never waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

from moot.errors import StateConflict
from moot.state.base import Access, Change, Versioned, decode, encode
from moot.state.transaction import Transaction

__all__ = ["InMemorySharedState"]

T = TypeVar("T")

_MOST_RERUNS = 1000


class SharedJournal(Protocol):
    """What a durable backend is told; see `moot.backends.base.Journal`."""

    def put_shared(self, key: str, version: int, body: bytes | None) -> None: ...

    async def synced(self) -> None: ...


class InMemorySharedState:
    """A `SharedState` that lives as long as the process.

    Versions of a key go on rising after it was deleted, so that a stale version is never met again.
    """

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._versions: dict[str, int] = {}
        self._watchers: list[_Watcher] = []
        self._journal: SharedJournal | None = None

    def attach(self, journal: SharedJournal, kept: Mapping[str, tuple[int, bytes | None]]) -> None:
        """Go on from what a durable backend has kept, and tell its journal of each write."""
        for key, (version, data) in kept.items():
            self._versions[key] = version
            if data is not None:
                self._values[key] = data
        self._journal = journal

    async def get(self, key: str, default: Any = None, *, type: Any = Any) -> Any:
        data = self._values.get(key)
        return default if data is None else decode(data, type)

    async def read(self, key: str, *, type: Any = Any) -> Versioned[Any]:
        data, version = await self.fetch(key)
        return Versioned(None if data is None else decode(data, type), version)

    async def set(self, key: str, value: Any) -> None:
        self._write(key, encode(value))
        await self._kept()

    async def delete(self, key: str) -> None:
        self._write(key, None)
        await self._kept()

    async def compare_and_set(self, key: str, value: Any, version: int) -> None:
        await self.commit({key: version}, {}, {key: encode(value)})
        await self._kept()

    async def keys(self, prefix: str = "") -> list[str]:
        return sorted(key for key in self._values if key.startswith(prefix))

    async def transact(self, fn: Callable[[Access], Awaitable[T]]) -> T:
        for _ in range(_MOST_RERUNS):
            transaction = Transaction(self)
            result = await fn(transaction)
            try:
                await transaction.commit()
            except StateConflict as conflict:
                last = conflict
            else:
                await self._kept()
                return result
        raise last

    async def watch(self, prefix: str = "") -> AsyncGenerator[Change, None]:
        watcher = _Watcher(prefix)
        self._watchers.append(watcher)
        try:
            while True:
                yield await watcher.next_change()
        finally:
            self._watchers.remove(watcher)

    async def fetch(self, key: str) -> tuple[bytes | None, int]:
        data = self._values.get(key)
        return data, 0 if data is None else self._versions[key]

    async def commit(
        self,
        reads: Mapping[str, int],
        scans: Mapping[str, tuple[str, ...]],
        writes: Mapping[str, bytes | None],
    ) -> None:
        for key, version in reads.items():
            _, actual = await self.fetch(key)
            if actual != version:
                raise StateConflict(key, version, actual)
        for prefix, keys in scans.items():
            if tuple(await self.keys(prefix)) != keys:
                raise StateConflict(f"{prefix}*", len(keys), len(await self.keys(prefix)))
        for key, data in writes.items():
            self._write(key, data)

    async def _kept(self) -> None:
        """Return when what was written outlives whatever the backend outlives. A turn's commit does not wait for it."""
        if self._journal is not None:
            await self._journal.synced()

    def _write(self, key: str, data: bytes | None) -> None:
        if data is None:
            if key not in self._values:
                return
            del self._values[key]
        else:
            self._values[key] = data
        version = self._versions[key] = self._versions.get(key, 0) + 1
        if self._journal is not None:
            self._journal.put_shared(key, version, data)
        for watcher in self._watchers:
            if key.startswith(watcher.prefix):
                watcher.put(Change(key, None if data is None else decode(data), version))


class _Watcher:
    """The newest change of each key that its reader has not seen; bounded by the number of keys."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._changes: dict[str, Change] = {}
        self._arrived = asyncio.Event()

    def put(self, change: Change) -> None:
        self._changes.pop(change.key, None)
        self._changes[change.key] = change
        self._arrived.set()

    async def next_change(self) -> Change:
        while not self._changes:
            self._arrived.clear()
            await self._arrived.wait()
        return self._changes.pop(next(iter(self._changes)))
