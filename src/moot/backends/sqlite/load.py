"""Load: everything that a file holds, read once at the start."""

from __future__ import annotations

import sqlite3

import msgspec

from moot.backends.base import Stored, StoredLetter, StoredMail, StoredTimer
from moot.backends.sqlite.batch import SHARED_LOG
from moot.backends.sqlite.owner import Owner
from moot.messaging.message import MessageName

__all__ = ["Numbers", "count_interrupted", "load"]

_MOST_LETTERS = 10_000


class Numbers(msgspec.Struct):
    """What the rows of a file are known by: agents, mail, turns that have records, and the next of each number."""

    agents: dict[str, int] = {}
    mail: dict[tuple[str, MessageName], int] = {}
    turns: set[str] = set()
    next_mail: int = 1
    next_batch: int = 1


def count_interrupted(connection: sqlite3.Connection, owner: Owner) -> None:
    """Count an attempt for each message whose handler ran when the process before this one died."""
    if owner.interrupted:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "UPDATE mail SET attempts = attempts + 1 WHERE mid = ?", [(mid,) for mid in owner.interrupted]
        )
        connection.execute("COMMIT")
    owner.counted()


def load(connection: sqlite3.Connection) -> tuple[Stored, Numbers]:
    """All of it, as of one moment."""
    stored, numbers = Stored(), Numbers()
    query = connection.execute
    query("BEGIN")
    try:
        numbers.agents = {agent_id: aid for aid, agent_id in query("SELECT aid, id FROM agent ORDER BY aid")}
        ids = {aid: agent_id for agent_id, aid in numbers.agents.items()}
        for mid, aid, incarnation, sequence, attempts, body in query("SELECT * FROM mail ORDER BY mid"):
            name = (incarnation, sequence)
            numbers.mail[ids[aid], name] = mid
            numbers.next_mail = mid + 1
            stored.mail.setdefault(ids[aid], []).append(StoredMail(name, body, attempts))
        stored.states = {ids[aid]: (version, body) for aid, version, body in query("SELECT * FROM state")}
        for turn, key, body in query("SELECT * FROM record"):
            stored.records.setdefault(turn, {})[key] = body
        numbers.turns = set(stored.records)
        stored.timers = [
            StoredTimer((incarnation, sequence), ids[aid], due, body)
            for incarnation, sequence, aid, due, body in query("SELECT * FROM timer ORDER BY due")
        ]
        stored.replies = {
            (address, idempotency_key): (at, body)
            for address, idempotency_key, at, body in query("SELECT * FROM given")
        }
        newest = query("SELECT * FROM dead ORDER BY did DESC LIMIT ?", (_MOST_LETTERS,)).fetchall()
        stored.letters = [StoredLetter(did, ids[aid], body) for did, aid, body in reversed(newest)]
        stored.shared = {key: (version, body) for key, version, body in query("SELECT * FROM shared")}
        stored.changes = query("SELECT * FROM shared_log ORDER BY revision").fetchall()[-SHARED_LOG:]
        numbers.next_batch = stored.run = query("SELECT value FROM meta WHERE key = 'batch'").fetchone()[0] + 1
    finally:
        query("COMMIT")
    return stored, numbers
