"""Stored runs: the question of ``moot research --durable FILE`` stands in FILE, so that ``moot resume`` can go on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from moot.state import SharedState

__all__ = ["KEY", "StoredRun", "claim", "stored_run"]

KEY = "moot.research"


class StoredRun(msgspec.Struct, frozen=True, kw_only=True):
    """One call of ``moot research``; ``folder`` is where the names of its sources begin."""

    question: str
    sources: tuple[str, ...]
    depth: str
    folder: str
    engine: str | None = None
    model: str | None = None
    threads: int | None = None

    @property
    def id(self) -> str:
        """The same for the same question to the same sources, whatever engine answers it."""
        asked = msgspec.json.encode((self.question, self.sources, self.depth, self.folder))
        return hashlib.blake2b(asked, digest_size=8).hexdigest()


async def claim(state: SharedState, run: StoredRun) -> StoredRun:
    """Store ``run`` in the shared state of its file; the run that is stored there, which may be another."""
    known: Any = await state.get(KEY, type=StoredRun)
    if known is None:
        await state.set(KEY, run)
        return run
    return msgspec.convert(known, StoredRun)


def stored_run(path: Path) -> StoredRun | None:
    """The run in a file; None if it holds none, but another system. Only reads.

    Raises:
        BackendError: it is no file of Moot's.
    """
    from moot.backends.sqlite.schema import connect_readonly

    connection = connect_readonly(path)
    try:
        row = connection.execute("SELECT body FROM shared WHERE key = ? AND body IS NOT NULL", (KEY,)).fetchone()
    finally:
        connection.close()
    return None if row is None else msgspec.msgpack.decode(row[0], type=StoredRun)
