"""The writer: batches go to the file one after the other, in a thread of its own.

A batch is written when the one before it is on the disk, with no window to wait for more:
what gathers meanwhile is the next batch, so one sync serves all turns that were made
during the last. A batch that cannot be written is held and tried again, never rolled
back, because later turns have built on it; only what no waiting cures ends the writing.
"""

from __future__ import annotations

import functools
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from moot.backends.errors import BackendFailed
from moot.backends.sqlite.batch import Batch
from moot.policies import Backoff

__all__ = ["InlineWriter", "ThreadWriter", "Writer"]

_BACKOFF = Backoff(0.05, 1.0)
_PASSING = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_CANTOPEN,
}
_FINAL = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}
_LARGE_WAL = 1000 * 4096

_log = logging.getLogger("moot.backends.sqlite")


class Writer(Protocol):
    """Writes batches, in order. Of each it calls ``done(batch, None)``, or ``done(batch, error)`` when it gives up;
    ``stalled(error)`` is called when one is held, for as long as that takes. All in the event loop.
    """

    done: Callable[[Batch, BackendFailed | None], None]
    stalled: Callable[[BaseException], None]

    def submit(self, batch: Batch) -> None:
        """Write this one next."""
        ...

    def close(self) -> None:
        """Return when all is written, or cannot be."""
        ...


class InlineWriter:
    """Writes at once, in the event loop; for tests, and where a thread costs more than a sync."""

    done: Callable[[Batch, BackendFailed | None], None]
    stalled: Callable[[BaseException], None]

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def submit(self, batch: Batch) -> None:
        """Write it; a failure of any kind is final."""
        try:
            batch.apply(self._connection)
        except Exception as error:  # noqa: BLE001 - as in a thread
            self.done(batch, BackendFailed(str(self._path), _reason(error)))
        else:
            self.done(batch, None)

    def close(self) -> None:
        """Nothing is under way."""


class ThreadWriter:
    """Writes in a thread. ``post(fn)`` runs something in the event loop; it may be called from any thread."""

    done: Callable[[Batch, BackendFailed | None], None]
    stalled: Callable[[BaseException], None]

    def __init__(
        self, connection: sqlite3.Connection, path: Path, post: Callable[[Callable[[], None]], object]
    ) -> None:
        self._connection = connection
        self._path = path
        self._post = post
        self._queue: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._identity = _identity(path)
        self._failure: BackendFailed | None = None
        self._thread = threading.Thread(target=self._run, name=f"moot writer of {path.name}", daemon=True)
        self._thread.start()

    def submit(self, batch: Batch) -> None:
        """Write this one next."""
        self._queue.put(batch)

    def close(self) -> None:
        """Return when all that was submitted is written, or has been tried once more. Blocks."""
        self._closing.set()
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (batch := self._queue.get()) is not None:
            if self._failure is None:
                self._failure = self._write(batch)
            failure = self._failure
            self._post(functools.partial(self.done, batch, failure))
            if self._failure is None and self._queue.empty():
                self._checkpoint()

    def _write(self, batch: Batch) -> BackendFailed | None:
        """Write a batch, as often as it takes; why it never can be, if so."""
        for tries, pause in enumerate(_BACKOFF.pauses()):
            try:
                batch.apply(self._connection)
            except Exception as error:  # noqa: BLE001 - if the thread died, everybody would wait
                if not _may_pass(error) or self._closing.is_set():
                    return BackendFailed(str(self._path), _reason(error))
                if tries == 0:
                    _log.error("%s cannot be written (%s); turns wait, and it is tried again", self._path, error)
                self._post(functools.partial(self.stalled, error))
                self._closing.wait(pause)
            else:
                if tries:
                    _log.warning("%s can be written again, after %d tries; nothing was lost", self._path, tries)
                break
        whole = _identity(self._path) == self._identity
        return None if whole else BackendFailed(str(self._path), "it was deleted or replaced while the system ran")

    def _checkpoint(self) -> None:
        """Move a long log into the database while nobody waits."""
        try:
            if self._path.with_name(f"{self._path.name}-wal").stat().st_size >= _LARGE_WAL:
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except (OSError, sqlite3.Error) as error:
            _log.debug("the log of %s stays as it is: %s", self._path, error)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file lies at ``path``, if one does: what is written into one that was deleted is nowhere."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _may_pass(error: Exception) -> bool:
    """Whether trying again may help: no room, a lock, a device that recovers. A failed sync is not forgiven."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code not in _FINAL and code & 0xFF in _PASSING


def _reason(error: Exception) -> str:
    return f"{error} ({getattr(error, 'sqlite_errorname', type(error).__name__)})"
