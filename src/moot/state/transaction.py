"""Transactions: a view of shared state that remembers what was read and holds back what was written.

Reads see the view's own writes. Nothing reaches the store before `commit`, which
checks every version read and every prefix listed, so a committed transaction is as
if it had run alone. A turn's ``ctx.shared_state`` is such a view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moot.errors import StateConflict
from moot.state.base import Versioned, decode, encode

if TYPE_CHECKING:
    from moot.state.base import SharedState

__all__ = ["Transaction"]


class Transaction:
    """One consistent view; implements `Access`."""

    __slots__ = ("_reads", "_scans", "_seen", "_store", "_writes")

    def __init__(self, store: SharedState) -> None:
        self._store = store
        self._reads: dict[str, int] = {}
        self._seen: dict[str, bytes | None] = {}
        self._scans: dict[str, tuple[str, ...]] = {}
        self._writes: dict[str, bytes | None] = {}

    @property
    def commits_at_once(self) -> bool:
        """Whether `commit` takes no more than the present step of the event loop."""
        return getattr(self._store, "commits_at_once", False)

    async def get(self, key: str, default: Any = None, *, type: Any = Any) -> Any:
        data = await self._fetch(key)
        return default if data is None else decode(data, type)

    async def read(self, key: str, *, type: Any = Any) -> Versioned[Any]:
        data = await self._fetch(key)
        version = self._reads.get(key)
        if version is None:  # written blindly before: its version is known only to the store
            _, version = await self._store.fetch(key)
            self._reads[key] = version
        if key in self._writes:  # as it will be when this is committed
            version = 0 if data is None else version + 1
        return Versioned(None if data is None else decode(data, type), version)

    async def set(self, key: str, value: Any, *, type: Any = None) -> None:
        self._writes[key] = encode(value, type)

    async def delete(self, key: str) -> None:
        self._writes[key] = None

    async def compare_and_set(self, key: str, value: Any, version: int, *, type: Any = None) -> None:
        actual = (await self.read(key)).version
        if actual != version:
            raise StateConflict(key, version, actual)
        self._writes[key] = encode(value, type)

    async def keys(self, prefix: str = "") -> list[str]:
        stored = self._scans.get(prefix)
        if stored is None:
            stored = self._scans[prefix] = tuple(await self._store.keys(prefix))
        present = {key for key in stored if self._writes.get(key, b"") is not None}
        present.update(key for key, data in self._writes.items() if data is not None and key.startswith(prefix))
        return sorted(present)

    async def commit(self) -> None:
        """Make the writes, if nothing that was read has changed. Raises `StateConflict`."""
        if self._reads or self._scans or self._writes:
            await self._store.commit(self._reads, self._scans, self._writes)

    async def _fetch(self, key: str) -> bytes | None:
        if key in self._writes:
            return self._writes[key]
        if key not in self._seen:
            self._seen[key], self._reads[key] = await self._store.fetch(key)
        return self._seen[key]
