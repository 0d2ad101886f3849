"""Load: what a file holds, read once at the start. Of mail only the numbers are read, and whose it is."""

from __future__ import annotations

import sqlite3

import msgspec

from moot.backends.base import Stored, StoredLetter, StoredTimer
from moot.backends.sqlite.batch import SHARED_LOG
from moot.backends.sqlite.owner import Owner
from moot.backends.sqlite.unread import UnreadQueue

__all__ = ["Numbers", "count_interrupted", "load"]

_MOST_LETTERS = 10_000


class Numbers(msgspec.Struct):
    """What the rows of a file are known by: agents, unread mail, turns with records, and the next of each number."""

    agents: dict[str, int] = {}
    unread: dict[str, UnreadQueue] = {}
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
        _find_mail(connection, ids, numbers)
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


def _find_mail(connection: sqlite3.Connection, ids: dict[int, str], numbers: Numbers) -> None:
    """Note which mail is whose. SQLite knows the length of a body without reading it."""
    queues: dict[int, UnreadQueue] = {}
    for mid, aid, size in connection.execute("SELECT mid, agent, length(body) FROM mail ORDER BY mid"):
        queue = queues.get(aid)
        if queue is None:
            queue = queues[aid] = numbers.unread[ids[aid]] = UnreadQueue()
        queue.mids.append(mid)
        queue.bytes += size
        numbers.next_mail = mid + 1
    for aid, mid, at in connection.execute("SELECT agent, mid, at FROM unclaimed ORDER BY agent, mid"):
        if aid in queues:
            queues[aid].marks.append((mid, at))
        numbers.next_mail = max(numbers.next_mail, mid + 1)  # so that no new message looks as if it were marked
