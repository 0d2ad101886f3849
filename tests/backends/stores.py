"""The backends that the conformance suite runs on."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from moot.backends import Backend, MemoryBackend
from moot.backends.sqlite import SqliteBackend
from moot.testing.conformance import Store
from moot.testing.simulation.backend import SimulatedBackend


class MemoryStore(Store):
    def __init__(self, folder: Path) -> None:
        pass

    def backend(self) -> Backend:
        return MemoryBackend()


class SqliteStore(Store):
    """A file. When the process is gone, what SQLite would find is what is in the file and its log by then, and beside
    them the owner's notes: both are copied aside, and the next life finds the copy.
    """

    is_durable = True
    can_fail = True

    def __init__(self, folder: Path) -> None:
        self.path = folder / "0.db"

    def backend(self) -> Backend:
        return SqliteBackend(self.path, inline=True)

    def fail(self) -> None:
        gone, self.path = self.path, self.path.with_name(f"{int(self.path.stem) + 1}.db")
        reader, copy = sqlite3.connect(f"{gone.as_uri()}?mode=ro", uri=True), sqlite3.connect(self.path)
        try:
            reader.backup(copy)
        finally:
            reader.close()
            copy.close()
        shutil.copyfile(f"{gone}-owner", f"{self.path}-owner")


class SimulatedStore(Store):
    is_durable = True
    can_fail = True

    def __init__(self, folder: Path) -> None:
        self.disk = SimulatedBackend()

    def backend(self) -> Backend:
        return self.disk

    def fail(self) -> None:
        self.disk.fail()


STORES: list[type[Store]] = [MemoryStore, SqliteStore, SimulatedStore]
