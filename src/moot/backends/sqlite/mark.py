"""The mark: the database itself says that a system has it open.

What was accepted last is in the log, ``FILE-wal``. A copy of the database alone is a whole
database, and an old one: SQLite opens it without a word. So whoever opens a file marks it, in
the database proper and not in the log alone, before anything is accepted; a clean stop takes
the mark away. A marked file without a log has lost what the log held.

A file that SQLite itself has written as a copy (``.backup``, ``VACUUM INTO``) is whole. It has
the mark of the original, but another schema version, which each of them sets anew.
"""

from __future__ import annotations

import sqlite3

__all__ = ["TORN", "checkpoint", "is_torn", "put_mark", "remove_mark"]

TORN = (
    "{log} is missing: the file was copied or moved without it, or it was removed, while a system had it open, and "
    "what was accepted last is in it"
)
"""What is wrong with a file that `is_torn`."""


def is_torn(connection: sqlite3.Connection, log_bytes: int, acknowledged: int) -> bool:
    """Whether the log of a file is missing that had one; ``log_bytes`` is how long it was before this connection.

    ``acknowledged`` is what the sidecar says: if it knows of the run that set the mark, it also knows whether a batch
    is missing, and another check compares that.
    """
    if log_bytes:
        return False
    said = dict(connection.execute("SELECT key, value FROM meta WHERE key IN ('open', 'opened')").fetchall())
    (schema,) = connection.execute("PRAGMA schema_version").fetchone()
    return bool(said.get("open") == schema and acknowledged < said.get("opened", 0))


def put_mark(connection: sqlite3.Connection, number: int) -> bool:
    """A system has the file from now on. That is its batch ``number``, so that no owner before it can go on.

    Whether the mark is in the database proper; if not, somebody reads, and `checkpoint` is to be called again.
    """
    (schema,) = connection.execute("PRAGMA schema_version").fetchone()
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", [("open", schema), ("opened", number)])
    connection.execute("UPDATE meta SET value = ? WHERE key = 'batch'", (number,))
    connection.execute("COMMIT")
    return checkpoint(connection)


def remove_mark(connection: sqlite3.Connection, number: int) -> None:
    """The file is left as it should be, with batch ``number`` as its last. SQLite moves the log when it closes."""
    connection.execute("BEGIN IMMEDIATE")
    last = "SELECT 1 FROM meta WHERE key = 'batch' AND value = ?"
    connection.execute(f"DELETE FROM meta WHERE key IN ('open', 'opened') AND EXISTS ({last})", (number,))  # noqa: S608
    connection.execute("COMMIT")


def checkpoint(connection: sqlite3.Connection) -> bool:
    """Move the log into the database, as far as no reader needs it. Whether that was all of it."""
    (is_busy, frames, moved) = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return not is_busy and bool(frames == moved)
