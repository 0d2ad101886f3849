"""Files: the four files of a running system, and whether they are still there.

SQLite does not notice when a file that it has open is removed, replaced or cut: it goes on
writing to what has no name any more, and after the process that is nowhere. A log that was
cut is worse, because the next checkpoint moves its holes into the database. So the writer
looks before each batch and after it, by name.
"""

from __future__ import annotations

import os
from pathlib import Path

from moot.backends.errors import BackendError
from moot.errors import Factual

__all__ = ["Files", "Lost"]


class Lost(Factual, BackendError):
    """A file is not what it was. ``name`` is which; ``is_cut``: it is there, and shorter. Nothing was written."""

    name: str
    is_cut: bool = False
    is_database: bool = False

    def __str__(self) -> str:
        what = "it" if self.is_database else self.name
        return f"{what} was {'cut' if self.is_cut else 'deleted or replaced'} while the system ran"


class Files:
    """The database at ``path``, and the files that lie beside the place to which links lead from there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = Path(os.path.realpath(path))
        name = self.database.name
        self.log = self.database.with_name(f"{name}-wal")
        self.index = self.database.with_name(f"{name}-shm")
        self.owner = self.database.with_name(f"{name}-owner")
        self._watched: list[tuple[str, tuple[int, int]]] = []
        self._log_name = str(self.log)
        self._log_bytes = 0

    def log_bytes(self) -> int:
        """The length of the log; 0 if there is none. Asked before SQLite opens the database, which makes one."""
        try:
            return self.log.stat().st_size
        except OSError:
            return 0

    def watch(self) -> None:
        """From now on all that are there must stay. The database is found as the user names it, through links."""
        self._watched = []
        for path in (self.path, self.log, self.index, self.owner):
            identity = _identity(path)
            if identity is not None:
                self._watched.append((str(path), identity))
        self._log_bytes = self.log_bytes()

    def check(self) -> None:
        """Raises `Lost`: one is not there any more, is another one, or is a log that has become shorter."""
        for name, identity in self._watched:
            try:
                status = os.stat(name)  # noqa: PTH116 - half the time of Path.stat, twice for each batch
            except OSError:
                status = None
            if status is None or (status.st_dev, status.st_ino) != identity:
                raise Lost(os.path.basename(name), is_database=name == str(self.path))  # noqa: PTH119 - as above
            if name == self._log_name:
                if status.st_size < self._log_bytes:
                    raise Lost(self.log.name, is_cut=True)
                self._log_bytes = status.st_size


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
