"""The writer: batches go to the file one after the other, in a thread of its own.

A batch is written when the one before it is on the disk, with no window to wait for more:
what gathers meanwhile is the next batch, so one sync serves all turns that were made
during the last. A batch that cannot be written is held and tried again, never rolled
back, because later turns have built on it; only what no waiting cures ends the writing.

A batch counts as written when the files are still there after it. If one of them is gone, what
is in the log is moved into the database, so that all that was acknowledged is kept, and the
writing ends.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Protocol

from moot.backends.errors import BackendError, BackendFailed
from moot.backends.sqlite.batch import Batch, Overtaken
from moot.backends.sqlite.files import Files, Lost
from moot.backends.sqlite.mark import checkpoint, remove_mark
from moot.backends.sqlite.schema import connect_readonly
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
_TRIES_TO_SAVE = 20

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

    async def close(self) -> None:
        """Return when all is written, or cannot be. What was posted by then has been called."""
        ...


class InlineWriter:
    """Writes at once, in the event loop; for tests, and where a thread costs more than a sync.

    ``last`` is the number of the batch that the file ends with.
    """

    done: Callable[[Batch, BackendFailed | None], None]
    stalled: Callable[[BaseException], None]

    def __init__(self, connection: sqlite3.Connection, files: Files, last: int) -> None:
        self._connection = connection
        self._files = files
        self._last = last
        self._has_failed = False

    def submit(self, batch: Batch) -> None:
        """Write it; a failure of any kind is final."""
        try:
            _look(self._files, self._last)
            batch.apply(self._connection)
            self._last = batch.number
            _look(self._files, self._last)
        except Lost as lost:
            self._has_failed = True
            is_saved, text = _saved(self._connection, self._files, lost, self._last)
            if is_saved and self._last == batch.number:
                self.done(batch, None)
            self.done(batch, BackendFailed(str(self._files.path), text))
        except Exception as error:  # noqa: BLE001 - as in a thread
            self._has_failed = True
            self.done(batch, BackendFailed(str(self._files.path), _reason(error)))
        else:
            self.done(batch, None)

    async def close(self) -> None:
        """Nothing is under way."""
        if not self._has_failed:
            _leave(self._connection, self._files, self._last)


class ThreadWriter:
    """Writes in a thread. ``post(fn)`` runs something in the event loop; it may be called from any thread.

    ``last`` is the number of the batch that the file ends with.
    """

    done: Callable[[Batch, BackendFailed | None], None]
    stalled: Callable[[BaseException], None]

    def __init__(
        self, connection: sqlite3.Connection, files: Files, last: int, post: Callable[[Callable[[], None]], object]
    ) -> None:
        self._connection = connection
        self._files = files
        self._path = files.path
        self._post = post
        self._queue: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._failure: BackendFailed | None = None
        self._last = last
        self._ended = asyncio.get_running_loop().create_future()
        self._thread = threading.Thread(target=self._run, name=f"moot writer of {self._path.name}", daemon=True)
        self._thread.start()

    def submit(self, batch: Batch) -> None:
        """Write this one next."""
        self._queue.put(batch)

    async def close(self) -> None:
        """Return when all that was submitted is written, or has been tried once more.

        A caller that is cancelled blocks until then: the connection cannot be closed before.
        """
        self._closing.set()
        self._queue.put(None)
        try:
            await asyncio.shield(self._ended)
        finally:
            self._thread.join()

    def _run(self) -> None:
        while (batch := self._queue.get()) is not None:
            if self._failure is None:
                self._failure = self._write(batch)
            self._post(functools.partial(self.done, batch, self._failure))
            if self._failure is None and self._queue.empty():
                self._checkpoint()
        if self._failure is None:
            _leave(self._connection, self._files, self._last)
        self._post(functools.partial(_end, self._ended))

    def _write(self, batch: Batch) -> BackendFailed | None:
        """Write a batch, as often as it takes; why it never can be, if so."""
        for tries, pause in enumerate(_BACKOFF.pauses()):
            try:
                _look(self._files, self._last)
                batch.apply(self._connection)
                self._last = batch.number
                _look(self._files, self._last)
            except Lost as lost:
                return self._ended_by(lost, batch)
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
        return None

    def _ended_by(self, lost: Lost, batch: Batch) -> BackendFailed:
        """A file is gone. What the log still holds is kept, this batch too if it is in there."""
        is_saved, text = _saved(self._connection, self._files, lost, self._last)
        if is_saved and self._last == batch.number:
            self._post(functools.partial(self.done, batch, None))
        return BackendFailed(str(self._path), text)

    def _checkpoint(self) -> None:
        """Move a long log into the database while nobody waits."""
        try:
            if self._files.log.stat().st_size >= _LARGE_WAL:
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except (OSError, sqlite3.Error) as error:
            _log.debug("the log of %s stays as it is: %s", self._path, error)


def _look(files: Files, number: int) -> None:
    """Raises `Lost` if a file is not what it was. Batch ``number`` is the last that was written."""
    try:
        files.check()
    except Lost as lost:
        if not lost.is_cut or not _holds(files, number):
            raise
        files.watch()  # somebody has moved the whole log into the database, as `PRAGMA wal_checkpoint` does


def _holds(files: Files, number: int) -> bool:
    """Whether who opens the file now finds the batch. A log that was cut cannot be read where it was longer."""
    try:
        with closing(connect_readonly(files.path)) as connection:
            found = connection.execute("SELECT value FROM meta WHERE key = 'batch'").fetchone()
    except (BackendError, sqlite3.Error):
        return False
    return bool(found == (number,))


def _saved(connection: sqlite3.Connection, files: Files, lost: Lost, last: int) -> tuple[bool, str]:
    """Move what the log still holds into the database, if both can be reached. Whether it is there; what to say.

    ``last`` is the batch that was written last. The holes of a log that was cut must not get into the database.
    """
    if lost.is_database or lost.is_cut:
        return False, str(lost)
    try:
        for _ in range(_TRIES_TO_SAVE):
            if checkpoint(connection):
                remove_mark(connection, last)
                checkpoint(connection)
                return True, f"{lost}; all that was acknowledged has been saved in {files.path.name}"
            threading.Event().wait(0.05)  # somebody reads
    except sqlite3.Error as error:
        return False, f"{lost}, and the log could not be saved ({error})"
    return False, f"{lost}, and the log could not be saved, because somebody reads it"


def _leave(connection: sqlite3.Connection, files: Files, last: int) -> None:
    """Say in the file that nothing of it is anywhere else, once SQLite has closed it."""
    try:
        _look(files, last)
        remove_mark(connection, last)
    except (Lost, sqlite3.Error) as error:
        _log.warning("%s is left as after a crash: %s", files.path, error)


def _end(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _may_pass(error: Exception) -> bool:
    """Whether trying again may help: no room, a lock, a device that recovers. A failed sync is not forgiven."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code not in _FINAL and code & 0xFF in _PASSING


def _reason(error: Exception) -> str:
    name = getattr(error, "sqlite_errorname", None)
    return (
        str(error)
        if name is None and isinstance(error, (Lost, Overtaken))
        else f"{error} ({name or type(error).__name__})"
    )
