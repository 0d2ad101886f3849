"""Shared state in memory: a dictionary of encoded values, and a commit that never waits."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

from moot.errors import StateConflict
from moot.ids import is_text
from moot.state.base import Access, Change, Versioned, WatchExpired, decode, encode
from moot.state.transaction import Transaction

__all__ = ["InMemorySharedState"]

T = TypeVar("T")

_MOST_RERUNS = 1000
_STEP = 100


class Stored(Protocol):
    """What a durable backend has stored; see `moot.backends.base.Stored`."""

    shared: dict[str, tuple[int, bytes | None]]
    changes: list[tuple[int, str, int, bytes | None]]


class SharedJournal(Protocol):
    """What a durable backend is told; see `moot.backends.base.Journal`."""

    def put_shared(self, key: str, version: int, revision: int, body: bytes | None) -> None: ...

    async def synced(self) -> None: ...


class _Logged(NamedTuple):
    """One change, as it is kept."""

    revision: int
    key: str
    version: int
    data: bytes | None


class InMemorySharedState:
    """A `SharedState` that lives as long as the process.

    Versions of a key go on rising after it was deleted, so that a stale version is never met again. The last ``log``
    changes are kept for those who `watch`.
    """

    commits_at_once: ClassVar[bool] = True
    """`commit` waits for nothing, so a journal can be told of a turn and of what it writes here in one step."""

    def __init__(self, *, log: int = 10_000) -> None:
        self._values: dict[str, bytes] = {}
        self._versions: dict[str, int] = {}
        self._revision = 0
        self._log: deque[_Logged] = deque(maxlen=log)
        self._watchers: list[asyncio.Future[None]] = []
        self._journal: SharedJournal | None = None

    def attach(self, journal: SharedJournal, stored: Stored) -> None:
        """Go on from what a durable backend has stored, and tell its journal of each write."""
        for key, (version, data) in stored.shared.items():
            self._versions[key] = version
            if data is not None:
                self._values[key] = data
        for change in stored.changes:
            self._log.append(_Logged(*change))
            self._revision = change[0]
        self._journal = journal

    async def get(self, key: str, default: Any = None, *, type: Any = Any) -> Any:
        data = self._values.get(key)
        return default if data is None else decode(data, type)

    async def read(self, key: str, *, type: Any = Any) -> Versioned[Any]:
        data, version = await self.fetch(key)
        return Versioned(None if data is None else decode(data, type), version)

    async def set(self, key: str, value: Any, *, type: Any = None) -> None:
        self._write(key, encode(value, type))
        await self._kept()

    async def delete(self, key: str) -> None:
        self._write(key, None)
        await self._kept()

    async def compare_and_set(self, key: str, value: Any, version: int, *, type: Any = None) -> None:
        await self.commit({key: version}, {}, {key: encode(value, type)})
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

    async def watch(self, prefix: str = "", *, after: int | None = None) -> AsyncGenerator[Change, None]:
        seen = self._revision if after is None else after
        while True:
            changes = self._after(seen)
            if changes:
                await self._kept()  # its number would mean another change, if this one were lost
            for logged in changes:
                seen = logged.revision
                if logged.key.startswith(prefix):
                    value = None if logged.data is None else decode(logged.data)
                    yield Change(logged.key, value, logged.version, seen)
            if seen == self._revision:
                waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._watchers.append(waiter)
                try:
                    await waiter
                finally:
                    if not waiter.done() or waiter.cancelled():
                        self._watchers.remove(waiter)

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
        if type(key) is not str or (self._journal is not None and not is_text(key)):
            raise ValueError(f"{key!r} cannot be a key; use Unicode text")
        if data is None:
            if key not in self._values:
                return
            del self._values[key]
        else:
            self._values[key] = data
        version = self._versions[key] = self._versions.get(key, 0) + 1
        if self._journal is not None:
            self._journal.put_shared(key, version, self._revision + 1, data)
        self._revision += 1
        self._log.append(_Logged(self._revision, key, version, data))
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)

    def _after(self, revision: int) -> list[_Logged]:
        """The next changes after one; a few at once, because the log goes on while they are looked at."""
        oldest = self._revision - len(self._log) + 1
        if not oldest - 1 <= revision <= self._revision:
            raise WatchExpired(revision, oldest - 1, self._revision)
        begin = revision - oldest + 1
        return list(itertools.islice(self._log, begin, begin + _STEP))
