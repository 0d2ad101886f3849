"""A batch: the changes that go to the file in one transaction.

The last change of a row is the one that counts, and a message that is born and handled
in one batch is never written. What the rest costs is the number of statements, so each
table gets one ``executemany``.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from moot.backends.errors import BackendError
from moot.errors import Factual

__all__ = ["SHARED_LOG", "Batch", "Overtaken"]

_Row = tuple[Any, ...]

SHARED_LOG = 10_000
"""So many of the newest changes of shared keys are kept, and up to a thousand more."""

_PRUNE_EVERY = 1000
_PUT_SHARED = "INSERT OR REPLACE INTO shared VALUES (?, ?, ?)"
_PUT_GIVEN = "INSERT OR REPLACE INTO given VALUES (?, ?, ?, ?)"


class Overtaken(Factual, BackendError):
    """Somebody else has written to the file: its last batch is not the one before this. Nothing was written."""

    found: int
    number: int
    template = "another process has written to it (its last batch is {found}, and {number} was to follow)"


class Batch:
    """Changes by table, each in the order of the last change. ``number`` counts the batches of a file from 1."""

    __slots__ = (
        "agents",
        "changes",
        "claimed",
        "dead",
        "ended",
        "is_tried",
        "mail",
        "marks",
        "number",
        "over",
        "records",
        "replies",
        "shared",
        "shared_log",
        "states",
        "timers",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.changes = 0
        self.is_tried = False
        self.agents: list[tuple[int, str]] = []
        self.mail: dict[int, _Row] = {}
        self.ended: list[tuple[int]] = []
        self.claimed: list[tuple[int, int]] = []
        """Agents, and up to which number their marks are needed no more."""
        self.marks: dict[tuple[int, int], float] = {}
        self.states: dict[int, _Row | None] = {}
        self.over: dict[str, None] = {}
        """The turns whose records so far are needed no more."""
        self.records: dict[str, dict[bytes, bytes]] = {}
        self.timers: dict[tuple[str, int], _Row | None] = {}
        self.replies: dict[tuple[str, str], _Row | None] = {}
        self.dead: dict[int, _Row | None] = {}
        self.shared: dict[str, _Row] = {}
        self.shared_log: list[_Row] = []

    def apply(self, connection: sqlite3.Connection) -> None:
        """Write it, whole or not at all. One that is there already stays: the COMMIT that said it failed had not.

        Raises:
            Overtaken: the file has got another owner.
        """
        connection.execute("BEGIN IMMEDIATE")
        try:
            if self._is_next(connection):
                self._write(connection)
            self.is_tried = True
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a failed COMMIT may have rolled back by itself
                connection.execute("ROLLBACK")
            raise

    def _is_next(self, connection: sqlite3.Connection) -> bool:
        """Count it. False if it is counted already."""
        number = self.number
        query = "UPDATE meta SET value = ? WHERE key = 'batch' AND value = ?"
        if connection.execute(query, (number, number - 1)).rowcount == 1:
            return True
        (found,) = connection.execute("SELECT value FROM meta WHERE key = 'batch'").fetchone()
        if found != number or not self.is_tried:
            raise Overtaken(found, number)
        return False

    def _write(self, connection: sqlite3.Connection) -> None:
        many = connection.executemany
        if self.agents:
            many("INSERT INTO agent VALUES (?, ?)", self.agents)
        if self.mail:
            many("INSERT INTO mail VALUES (?, ?, ?, ?, ?, ?)", self.mail.values())
        if self.ended:
            many("DELETE FROM mail WHERE mid = ?", self.ended)
        if self.claimed:
            many("DELETE FROM unclaimed WHERE agent = ? AND mid <= ?", self.claimed)
        if self.marks:
            many("INSERT OR IGNORE INTO unclaimed VALUES (?, ?, ?)", [(*key, at) for key, at in self.marks.items()])
        _replace(connection, self.states, "INSERT OR REPLACE INTO state VALUES (?, ?, ?)", "agent = ?", "state")
        self._write_records(connection)
        _replace(
            connection,
            self.timers,
            "INSERT OR REPLACE INTO timer VALUES (?, ?, ?, ?, ?)",
            "incarnation = ? AND sequence = ?",
            "timer",
        )
        _replace(connection, self.replies, _PUT_GIVEN, "address = ? AND id = ?", "given")
        _replace(connection, self.dead, "INSERT OR REPLACE INTO dead VALUES (?, ?, ?)", "did = ?", "dead")
        if self.shared:
            many(_PUT_SHARED, self.shared.values())
            many("INSERT INTO shared_log VALUES (?, ?, ?, ?)", self.shared_log)
            last = self.shared_log[-1][0]
            if last // _PRUNE_EVERY > (self.shared_log[0][0] - 1) // _PRUNE_EVERY:
                connection.execute("DELETE FROM shared_log WHERE revision <= ?", (last - SHARED_LOG,))

    def _write_records(self, connection: sqlite3.Connection) -> None:
        over = [(turn,) for turn in self.over]
        rows = [(turn, key, body) for turn, records in self.records.items() for key, body in records.items()]
        if over:
            connection.executemany("DELETE FROM record WHERE turn = ?", over)
        if rows:
            connection.executemany("INSERT OR REPLACE INTO record VALUES (?, ?, ?)", rows)


def _replace(connection: sqlite3.Connection, rows: dict[Any, _Row | None], put: str, where: str, table: str) -> None:
    """Write those rows that are there, and delete those that are None."""
    if not rows:
        return
    present = [row for row in rows.values() if row is not None]
    if present:
        connection.executemany(put, present)
    if len(present) < len(rows):
        gone = [key if isinstance(key, tuple) else (key,) for key, row in rows.items() if row is None]
        connection.executemany(f"DELETE FROM {table} WHERE {where}", gone)  # noqa: S608 - both are literals above
