"""Inspection: what a file holds, read without disturbing the system that writes it.

Each question is one statement, or many that read a page each, and none leaves a
transaction open: a reader that stays would keep the owner's log from being reused. So
two answers may be of two moments, which is no harm where a system runs and goes on.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from moot.backends.sqlite.files import Files
from moot.backends.sqlite.schema import connect_readonly, said_by_sqlite
from moot.backends.sqlite.snapshots import (
    UNREADABLE,
    AgentMail,
    AgentSnapshot,
    GivenSnapshot,
    LetterSnapshot,
    MailSnapshot,
    Overview,
    SharedSnapshot,
    TimerSnapshot,
    TurnSnapshot,
    WaitingSnapshot,
)
from moot.messaging.dead_letters import DeadLetter
from moot.messaging.message import AgentMessage

__all__ = ["Inspection", "inspecting"]

T = TypeVar("T")

_PAGE = 64
_ALL = -1


class _StoredTimer(msgspec.Struct, frozen=True):
    """As much of a stored timer as is shown."""

    message: AgentMessage
    every: float = 0.0


class _Why(msgspec.Struct, frozen=True):
    """As much of a dead letter as is counted."""

    reason: str


@contextmanager
def inspecting(path: Path) -> Iterator[Inspection]:
    """Look into a file, also while a system runs on it.

    Raises:
        BackendDamaged: it is no file of ours, or not whole. BackendVersion: a newer Moot wrote it.
        BackendError: it cannot be read.
    """
    path = path.absolute()
    try:
        connection = connect_readonly(path)
    except (sqlite3.Error, OSError) as error:
        raise said_by_sqlite(path, error) from error
    try:
        yield Inspection(path, connection)
    except sqlite3.Error as error:
        raise said_by_sqlite(path, error) from error
    finally:
        connection.close()


class Inspection:
    """A file that is open to be read. ``limit`` is the most entries a list may have, -1 for all."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection

    def overview(self, limit: int = _ALL) -> Overview:
        """All of it in short: the agents with most mail first, timers by when they are due, ids newest first."""
        return Overview(
            path=str(self._path),
            bytes=_size(self._path),
            log_bytes=Files(self._path).log_bytes(),
            batch=self._number("SELECT value FROM meta WHERE key = 'batch'"),
            totals={what: self._number(query) for what, query in _TOTALS.items()},
            agents=self._agents(limit),
            timers=self._timers(limit),
            turns=[TurnSnapshot(*row) for row in self._rows(_TURNS, limit)],
            given=[
                GivenSnapshot(address, idempotency_key, at, bool(done))
                for address, idempotency_key, at, done in self._rows(_GIVEN, limit)
            ],
            letters=self._reasons(),
            shared=[SharedSnapshot(*row) for row in self._rows(_SHARED, limit)],
        )

    def agent(self, agent_id: str, limit: int = _ALL) -> AgentMail:
        """The mail and the state of one agent.

        Raises:
            KeyError: the file knows no such agent; its argument says which it knows of.
        """
        found = self._rows("SELECT aid FROM agent WHERE id = ?", agent_id)
        if not found:
            raise KeyError(agent_id)
        ((aid,),) = found
        state = self._rows("SELECT version, length(body), body FROM state WHERE agent = ?", aid)
        version, size, body = state[0] if state else (None, None, None)
        return AgentMail(
            agent_id=agent_id,
            waiting=self._number("SELECT count(*) FROM mail WHERE agent = ?", aid),
            mail=list(self._mail(aid, limit)),
            state_version=version,
            state_bytes=size,
            state=None if body is None else _value(body),
        )

    def waiting(self) -> list[WaitingSnapshot]:
        """The mail that waits, by agent: that which nobody claims first, and the most first."""
        has_marks = self._number("SELECT count(*) FROM sqlite_master WHERE name = 'unclaimed'")  # older files have none
        return [WaitingSnapshot(*row) for row in self._rows(_WAITING if has_marks else _WAITING_UNMARKED)]

    def letters(self) -> Iterator[LetterSnapshot]:
        """The dead letters, oldest first."""
        query = "SELECT did, agent.id, dead.body FROM dead LEFT JOIN agent ON aid = agent WHERE did > ? ORDER BY did"
        for row in self.pages(query, 0):
            yield _letter(*row)

    def letter(self, letter_id: int) -> LetterSnapshot:
        """One dead letter. Raises `KeyError`: there is none of this id."""
        query = "SELECT did, agent.id, dead.body FROM dead LEFT JOIN agent ON aid = agent WHERE did = ?"
        found = self._rows(query, letter_id)
        if not found:
            raise KeyError(letter_id)
        return _letter(*found[0])

    def pages(self, query: str, *after: Any, where: tuple[Any, ...] = ()) -> Iterator[Any]:
        """The rows of ``query``, read a page at a time: its last parameters are those that a row is to come after,
        by which it is ordered, and which are the first that it selects. ``where`` are the parameters before these.
        """
        while rows := self._connection.execute(f"{query} LIMIT {_PAGE}", (*where, *after)).fetchall():
            yield from rows
            after = rows[-1][: len(after)]

    def _rows(self, query: str, *values: Any) -> list[Any]:
        return self._connection.execute(query, values).fetchall()

    def _number(self, query: str, *values: Any) -> int:
        ((number,),) = self._rows(query, *values)
        return int(number)

    def _agents(self, limit: int) -> list[AgentSnapshot]:
        return [
            AgentSnapshot(agent_id, mail, self._type_of(first), version, size)
            for agent_id, mail, first, version, size in self._rows(_AGENTS, limit)
        ]

    def _type_of(self, mid: int | None) -> str | None:
        """The type of one message; None if there is none, or it has just been handled."""
        for (body,) in self._rows("SELECT body FROM mail WHERE mid = ?", mid) if mid is not None else ():
            message = _decoded(body, AgentMessage)
            return message.message_type if isinstance(message, AgentMessage) else UNREADABLE
        return None

    def _timers(self, limit: int) -> list[TimerSnapshot]:
        timers = []
        for due, agent_id, body in self._rows(_TIMERS, limit):
            timer = _decoded(body, _StoredTimer)
            if isinstance(timer, _StoredTimer):
                timers.append(TimerSnapshot(due, agent_id, timer.message.message_type, timer.every))
            else:
                timers.append(TimerSnapshot(due, agent_id, UNREADABLE, 0.0))
        return timers

    def _reasons(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for _, body in self.pages("SELECT did, body FROM dead WHERE did > ? ORDER BY did", 0):
            why = _decoded(body, _Why)
            counts[why.reason if isinstance(why, _Why) else UNREADABLE] += 1
        return dict(counts.most_common())

    def _mail(self, aid: int, limit: int) -> Iterator[MailSnapshot]:
        query = "SELECT mid, attempts, incarnation, sequence, body FROM mail WHERE agent = ? AND mid > ? ORDER BY mid"
        for number, (_, attempts, incarnation, sequence, body) in enumerate(self.pages(query, 0, where=(aid,))):
            if number == limit:
                return
            message = _decoded(body, AgentMessage)
            if isinstance(message, AgentMessage):
                yield MailSnapshot(message.id, message.sender, message.message_type, attempts, message.content)
            else:
                yield MailSnapshot(f"{incarnation}-{sequence}", "", UNREADABLE, attempts, str(message))


def _size(path: Path) -> int:
    """Its size, which is asked for without opening it: closing it again would drop locks of this process's own."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _decoded(body: Any, kind: Callable[..., T]) -> T | Exception:
    """What ``body`` holds; the error if it does not."""
    try:
        return msgspec.msgpack.decode(body, type=kind)  # type: ignore[no-any-return]
    except (msgspec.DecodeError, TypeError, UnicodeDecodeError, RecursionError) as error:
        return error


def _value(body: Any) -> Any:
    """What ``body`` holds, of whatever kind; if it cannot be decoded, a text that says so."""
    value: Any = _decoded(body, Any)
    return f"{UNREADABLE}: {value}" if isinstance(value, Exception) else value


def _letter(did: int, agent_id: str | None, body: bytes) -> LetterSnapshot:
    letter = _decoded(body, DeadLetter)
    if not isinstance(letter, DeadLetter):
        return LetterSnapshot(did, agent_id or "", UNREADABLE, str(letter))
    message = letter.message
    return LetterSnapshot(
        *(did, agent_id or message.to, letter.reason.value, letter.error, letter.attempts, letter.at),
        *(message.id, message.sender, message.to, message.message_type, message.content),
    )


_TOTALS = {
    "agents": "SELECT count(*) FROM agent",
    "mail": "SELECT count(*) FROM mail",
    "states": "SELECT count(*) FROM state",
    "timers": "SELECT count(*) FROM timer",
    "turns": "SELECT count(DISTINCT turn) FROM record",
    "records": "SELECT count(*) FROM record",
    "given": "SELECT count(*) FROM given",
    "letters": "SELECT count(*) FROM dead",
    "shared": "SELECT count(*) FROM shared WHERE body IS NOT NULL",
    "deleted": "SELECT count(*) FROM shared WHERE body IS NULL",
}
_AGENTS = """
SELECT id, coalesce(waiting, 0), first, version, length(state.body)
FROM agent LEFT JOIN (SELECT agent, count(*) AS waiting, min(mid) AS first FROM mail GROUP BY agent) AS queue
ON queue.agent = aid LEFT JOIN state ON state.agent = aid ORDER BY 2 DESC, aid LIMIT ?
"""
_WAITING = """
SELECT id, count(*), sum(length(body)), (SELECT min(at) FROM unclaimed WHERE unclaimed.agent = aid) AS since
FROM mail JOIN agent ON aid = mail.agent GROUP BY aid ORDER BY since IS NULL, 3 DESC
"""
_WAITING_UNMARKED = """
SELECT id, count(*), sum(length(body)), NULL FROM mail JOIN agent ON aid = mail.agent GROUP BY aid ORDER BY 3 DESC
"""
_TIMERS = "SELECT due, id, body FROM timer JOIN agent ON aid = agent ORDER BY due LIMIT ?"
_TURNS = "SELECT turn, count(*), sum(length(body)) FROM record GROUP BY turn ORDER BY turn LIMIT ?"
_GIVEN = "SELECT address, id, at, body IS NOT NULL FROM given ORDER BY at DESC LIMIT ?"
_SHARED = "SELECT key, version, length(body) FROM shared WHERE body IS NOT NULL ORDER BY key LIMIT ?"
