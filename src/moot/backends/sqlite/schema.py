"""The file's schema: tables, version, and how a connection is set up.

Agents are interned, so that rows carry small integers; mail is appended by a rowid that
is also its order and has no other index, because memory knows which numbers belong to which
agent: both together make a turn half as expensive as text keys do.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Literal

from moot.backends.errors import BackendDamaged, BackendError, BackendVersion

__all__ = ["APPLICATION_ID", "VERSION", "Profile", "connect", "connect_readonly", "prepare", "said_by_sqlite"]

Profile = Literal["durable", "relaxed"]
"""``durable``: what is acknowledged survives a power failure. ``relaxed``: it survives the process, not the power."""

APPLICATION_ID = 0x4D4F4F54  # "MOOT"

_TABLES = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE agent(aid INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL);
CREATE TABLE mail(mid INTEGER PRIMARY KEY, agent INT NOT NULL, incarnation TEXT NOT NULL, sequence INT NOT NULL,
                  attempts INT NOT NULL, body BLOB NOT NULL);
CREATE TABLE state(agent INTEGER PRIMARY KEY, version INT NOT NULL, body BLOB NOT NULL);
CREATE TABLE record(turn TEXT NOT NULL, key BLOB NOT NULL, body BLOB NOT NULL, PRIMARY KEY(turn, key)) WITHOUT ROWID;
CREATE TABLE timer(incarnation TEXT NOT NULL, sequence INT NOT NULL, agent INT NOT NULL, due REAL NOT NULL,
                   body BLOB NOT NULL, PRIMARY KEY(incarnation, sequence)) WITHOUT ROWID;
CREATE TABLE given(address TEXT NOT NULL, id TEXT NOT NULL, at REAL NOT NULL, body BLOB,
                   PRIMARY KEY(address, id)) WITHOUT ROWID;
CREATE TABLE dead(did INTEGER PRIMARY KEY, agent INT NOT NULL, body BLOB NOT NULL);
CREATE TABLE shared(key TEXT PRIMARY KEY, version INT NOT NULL, body BLOB) WITHOUT ROWID;
CREATE TABLE shared_log(revision INTEGER PRIMARY KEY, key TEXT NOT NULL, version INT NOT NULL, body BLOB);
INSERT INTO meta VALUES ('batch', 0);
"""

_UNCLAIMED = """
CREATE TABLE unclaimed(agent INT NOT NULL, mid INT NOT NULL, at REAL NOT NULL, PRIMARY KEY(agent, mid)) WITHOUT ROWID;
"""
# At that time the agent was not there, and its mail up to that number waited.

_MIGRATIONS: dict[int, str] = {1: _TABLES, 2: _UNCLAIMED}
"""By the version that they lead to. A released one is never changed; a new one is added."""

VERSION = max(_MIGRATIONS)


def connect(path: Path, profile: Profile = "durable") -> sqlite3.Connection:
    """A connection that writes. Transactions are begun by hand, and nothing waits for a lock.

    ``locking_mode`` stays normal, so that inspectors can read beside it: who owns the file is settled elsewhere.
    """
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=64)
    try:
        _refuse_others(connection, path)
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # heeded only before the first table
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if profile == 'durable' else 'NORMAL'}")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone does not reach the medium
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_readonly(path: Path) -> sqlite3.Connection:
    """A connection that only reads, also while another process writes. Keep its transactions short."""
    if not path.exists():
        raise BackendError(f"there is no file {path}; a system makes it when it first runs on 'sqlite:///{path}'")
    if path.is_dir():
        raise BackendError(f"{path} is a folder; name the file of your system")
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1, isolation_level=None)
    try:
        _refuse_others(connection, path)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise BackendVersion(str(path), version, VERSION)
        if version == 0:
            raise BackendDamaged(str(path), "it is empty: no system has begun to use it")
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the file to the present version, in one transaction.

    Raises:
        BackendVersion: it is newer than this.
    """
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > VERSION:
        raise BackendVersion(str(path), found, VERSION)
    if found == VERSION:
        return
    script = "".join(_MIGRATIONS[version] for version in range(found + 1, VERSION + 1))
    connection.executescript(
        f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID}; {script} PRAGMA user_version = {VERSION}; COMMIT;"
    )


def said_by_sqlite(path: Path, error: sqlite3.Error | OSError) -> BackendError:
    """What an error of SQLite means for whoever wanted to read or repair a file, and what can be done."""
    if isinstance(error, OSError):
        return BackendError(f"{path} cannot be opened: {error}; be the user whose system it is")
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if not isinstance(error, sqlite3.OperationalError) or code == sqlite3.SQLITE_ERROR:
        return BackendDamaged(str(path), f"SQLite says {error}")
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
        return BackendError(
            f"{path} is as it was: {error}; make room if there is none, or repair the disk, and try again"
        )
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return BackendError(f"{path} is locked at the moment ({error}); try again")
    return BackendError(
        f"{path} cannot be opened: {error}. SQLite keeps two files beside it, so even who only reads must be "
        f"allowed to write to {path.absolute().parent}; be the user whose system it is, or copy {path.name} "
        f"(and {path.name}-wal, if it is there) to a folder of yours and look at the copy"
    )


def _refuse_others(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that is a database of somebody else, or none."""
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise BackendDamaged(str(path), f"SQLite says {error}") from error
    if tables and application != APPLICATION_ID:
        raise BackendDamaged(str(path), "it is a database of another program")
