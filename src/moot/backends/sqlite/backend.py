"""The SQLite backend: opens the file, takes possession of it, and hands out its journal.

Nobody else may open the file in this process except through SQLite: a plain ``open`` and
``close`` would drop the locks that keep inspectors from tripping over the writer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import cast, get_args
from urllib.parse import parse_qs

from moot.backends.base import Journal, Stored
from moot.backends.errors import BackendDamaged, BackendError, BackendFailed
from moot.backends.sqlite.journal import SqliteJournal
from moot.backends.sqlite.load import Numbers, count_interrupted, load
from moot.backends.sqlite.mark import TORN, is_torn, put_mark
from moot.backends.sqlite.owner import Owner
from moot.backends.sqlite.schema import Profile, connect, prepare
from moot.backends.sqlite.unread import UnreadMail
from moot.backends.sqlite.writer import InlineWriter, ThreadWriter, Writer
from moot.errors import MootError
from moot.messaging.dead_letters import DeadLetters
from moot.state import InMemorySharedState

__all__ = ["SqliteBackend"]

_log = logging.getLogger("moot.backends.sqlite")

_open: weakref.WeakSet[SqliteBackend] = weakref.WeakSet()
_inherited: list[sqlite3.Connection] = []
"""Connections that a fork has copied. Closing one would touch the parent's file, so they are never let go."""


class SqliteBackend:
    """Keeps a system in the file at ``path``. ``inline`` writes in the event loop instead of a thread.

    A relative path begins at the folder in which the process works when the backend is made.
    """

    def __init__(self, path: Path, profile: Profile = "durable", *, inline: bool = False) -> None:
        self.path = path.absolute()
        self.profile = profile
        self._inline = inline
        self.dead_letters = DeadLetters()
        self.shared_state = InMemorySharedState()
        self._owner: Owner | None = None
        self._connection: sqlite3.Connection | None = None
        self._writer: Writer | None = None
        self._journal: SqliteJournal | None = None
        self._unread: UnreadMail | None = None

    @classmethod
    def at(cls, rest: str) -> SqliteBackend:
        """The backend of ``sqlite:///FILE?profile=PROFILE``, of which ``rest`` is what follows ``sqlite://``.

        Raises:
            ValueError: it names no file, or options that there are not.
        """
        name, _, query = rest.partition("?")
        options = parse_qs(query, keep_blank_values=True)
        profile = options.pop("profile", ["durable"])[-1]
        if not name.startswith("/") or not name.strip("/") or name == "/:memory:":  # which SQLite would not keep
            raise ValueError(
                f"a file is named as 'sqlite:///team.db' (or 'sqlite:////srv/team.db'), not 'sqlite://{rest}'"
            )
        if options:
            raise ValueError(f"'sqlite:' has no option {next(iter(options))!r}; it has 'profile'")
        if profile not in get_args(Profile):
            raise ValueError(f"there is no profile {profile!r}; there are {' and '.join(map(repr, get_args(Profile)))}")
        return cls(Path(name[1:]), cast(Profile, profile))

    async def open(self, failed: Callable[[MootError], None]) -> tuple[Journal, Stored]:
        """See `moot.backends.base.Backend.open`. Of mail it reads only the numbers, half a second for a million.

        Raises:
            BackendBusy: another process owns it. BackendDamaged: it is no database, or has lost its end.
            BackendVersion: a newer Moot wrote it. BackendError: it cannot be opened.
        """
        try:
            self._owner = owner = Owner(self.path)
            log_bytes = owner.files.log_bytes()
            self._connection = connection = connect(self.path, self.profile)
            prepare(connection, self.path)
            self._check_log(connection, log_bytes, owner)
            count_interrupted(connection, owner)
            stored, numbers = load(connection)
            self._check_end(owner, numbers.next_batch - 1)
            self._take_possession(connection, owner, numbers)
            stored.run = numbers.next_batch
            loop = asyncio.get_running_loop()
            inline = self._inline or getattr(loop, "epoch", None) is not None  # a thread has no virtual clock
            self._writer = (
                InlineWriter(connection, owner.files, numbers.next_batch - 1)
                if inline
                else ThreadWriter(connection, owner.files, numbers.next_batch - 1, loop.call_soon_threadsafe)
            )
            self._journal = SqliteJournal(self._writer, owner, numbers, failed)
            self._unread = self._journal.unread
            self.shared_state.attach(self._journal, stored)
        except BaseException as error:
            if self._writer is not None:
                await self._writer.close()  # at once: it has been given nothing
                self._writer = None
            self._let_go()
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                raise BackendDamaged(str(self.path), f"SQLite says {error}") from error
            if isinstance(error, (sqlite3.Error, OSError)):
                raise BackendError(
                    f"{self.path} cannot be opened: {error}; check that its folder exists and may be written to"
                ) from error
            raise
        _open.add(self)
        return self._journal, stored

    async def close(self) -> None:
        """Write what is left, and let go of the file.

        Raises:
            BackendFailed: something that was told could not be written.
        """
        journal, self._journal = self._journal, None
        writer, self._writer = self._writer, None
        try:
            if journal is not None and writer is not None:
                journal.flush()
                await writer.close()
                await journal.synced()
        finally:
            self._let_go()

    def _check_log(self, connection: sqlite3.Connection, log_bytes: int, owner: Owner) -> None:
        """Refuse a file without the log that it had; a relaxed one may have lost it."""
        if not is_torn(connection, log_bytes, owner.acknowledged):
            return
        what = TORN.format(log=owner.files.log.name)
        if self.profile == "durable":
            raise BackendDamaged(str(self.path), what)
        _log.warning("%s: %s, as the relaxed profile allows", self.path, what)

    def _take_possession(self, connection: sqlite3.Connection, owner: Owner, numbers: Numbers) -> None:
        """From now on the file says that it is open, and its four files are watched."""
        if not put_mark(connection, numbers.next_batch):
            _log.info("%s is being read; the log stays as it is for now", self.path)
        owner.acknowledge(numbers.next_batch)
        numbers.next_batch += 1
        owner.files.watch()

    def _check_end(self, owner: Owner, batch: int) -> None:
        """Refuse a file that has lost its end; a relaxed one may have, and only says so."""
        try:
            owner.check(batch)
        except BackendDamaged as damage:
            if self.profile == "durable":
                raise
            _log.warning("%s: its last changes are missing, as the relaxed profile allows (%s)", self.path, damage.what)

    def _let_go(self) -> None:
        _open.discard(self)
        if self._unread is not None:
            self._unread.close()
            self._unread = None
        connection, self._connection = self._connection, None
        owner, self._owner = self._owner, None
        if connection is not None:
            connection.close()
        if owner is not None:
            owner.close()

    def disown(self) -> None:
        """This is a copy in a child process, which must not touch the parent's file."""
        if self._connection is not None:
            _inherited.append(self._connection)
            self._connection = None
        if self._unread is not None and self._unread.connection is not None:
            _inherited.append(self._unread.connection)
            self._unread.connection = None
        if self._owner is not None:
            self._owner.close()
            self._owner = None
        if self._journal is not None:
            self._journal.disown(BackendFailed(str(self.path), "this process is a fork of the one that owns it"))


def _after_fork() -> None:
    for backend in tuple(_open):
        backend.disown()


os.register_at_fork(after_in_child=_after_fork)
