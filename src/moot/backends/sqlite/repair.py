"""Repair: changes that an operator makes to a file whose system is stopped.

Whoever repairs a file owns it meanwhile, as a system would. Each change is one transaction and
counts as a batch, so that the number in the sidecar stays true, and the attempts that a
process which died has left in the sidecar are counted first, so that none is forgotten.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from moot.backends.errors import BackendDamaged, BackendError
from moot.backends.sqlite.load import count_interrupted
from moot.backends.sqlite.mark import TORN, is_torn, remove_mark
from moot.backends.sqlite.owner import Owner
from moot.backends.sqlite.schema import connect, connect_readonly, prepare, said_by_sqlite
from moot.ids import CAPABILITY, Ids
from moot.messaging.dead_letters import DeadLetter
from moot.messaging.message import AgentMessage

__all__ = ["Pruned", "Repair", "repairing"]

_EVERYTHING = (1 << 63) - 1
_NAMED_ASK = re.compile(r"[0-9a-f]{32}(\+\d+)?@")
"""What the turn of an ask that a turn has made begins with: the ask's name is a digest."""
_BATCH = re.compile(r"\+\d+(?=@)")
"""What the turn of a batch has after the id of the first message."""


class Pruned(msgspec.Struct, frozen=True):
    """How much was taken out: ids that callers gave, turns with records, deleted shared keys."""

    given: int
    turns: int
    deleted: int


@contextmanager
def repairing(path: Path, *, accept: bool = False) -> Iterator[Repair]:
    """Take possession of a file. One that has lost its end is refused, unless it is to be accepted.

    Raises:
        BackendBusy: a system runs on it. BackendDamaged: it is no file of ours, or not whole.
        BackendVersion: a newer Moot wrote it. BackendError: it cannot be written, and nothing was changed.
    """
    owner = connection = None
    path = path.absolute()
    try:
        connect_readonly(path).close()  # neither a file nor a sidecar is made where there is none of ours
        owner = Owner(path)
        log_bytes = owner.files.log_bytes()
        connection = connect(path)
        prepare(connection, path)
        torn = is_torn(connection, log_bytes, owner.acknowledged)
        if torn and not accept:
            raise BackendDamaged(str(path), TORN.format(log=owner.files.log.name))
        count_interrupted(connection, owner)
        held = Repair(connection, owner, is_torn=torn)
        if not accept:
            owner.check(held.batch)
        yield held
        remove_mark(connection, held.batch)
    except (sqlite3.Error, OSError) as error:
        raise said_by_sqlite(path, error) from error
    finally:
        if connection is not None:
            connection.close()
        if owner is not None:
            owner.close()


class Repair:
    """A file that is held to be changed."""

    def __init__(self, connection: sqlite3.Connection, owner: Owner, *, is_torn: bool = False) -> None:
        self._connection = connection
        self._owner = owner
        self.is_torn = is_torn
        """Whether its log is missing, of which nobody knows how much it held."""
        self.batch: int
        """The number of the last batch."""
        ((self.batch,),) = connection.execute("SELECT value FROM meta WHERE key = 'batch'").fetchall()

    def letters(self, reason: str | None = None) -> list[int]:
        """The ids of all dead letters, oldest first; or of those of one reason."""
        ids = [did for (did,) in self._connection.execute("SELECT did FROM dead ORDER BY did").fetchall()]
        if reason is None:
            return ids
        return [did for did in ids if _reason(self._body(did)) == reason]

    def requeue(self, letter_ids: Sequence[int]) -> dict[int, AgentMessage]:
        """Make each dead letter a new message for the agent whose mail it was, all of them or none; by letter's id.

        Raises:
            KeyError: there is no such dead letter. BackendError: one cannot be sent again, and why.
        """
        sent: dict[int, AgentMessage] = {}
        incarnation = Ids().incarnation
        with self._change() as connection:
            (last,) = connection.execute("SELECT coalesce(max(mid), 0) FROM mail").fetchone()
            for sequence, letter_id in enumerate(dict.fromkeys(letter_ids), 1):
                aid, letter = self._letter(letter_id)
                message = msgspec.structs.replace(letter.again(), incarnation=incarnation, sequence=sequence)
                body = msgspec.msgpack.encode(message)
                row = (last + sequence, aid, incarnation, sequence, 0, body)
                connection.execute("INSERT INTO mail VALUES (?, ?, ?, ?, ?, ?)", row)
                connection.execute("DELETE FROM dead WHERE did = ?", (letter_id,))
                sent[letter_id] = message
        return sent

    def drop(self, letter_ids: Sequence[int]) -> int:
        """Delete dead letters for good, all of them or none; how many. Raises `KeyError`: there is no such."""
        with self._change() as connection:
            for letter_id in set(letter_ids):
                if not connection.execute("DELETE FROM dead WHERE did = ?", (letter_id,)).rowcount:
                    raise KeyError(letter_id)
        return len(set(letter_ids))

    def prune(self, before: float, *, tombstones: bool = True) -> Pruned:
        """Take out what no later run can need.

        That is: ids given before ``before`` (seconds since the Unix epoch); records of turns that cannot run again;
        and, with ``tombstones``, that deleted shared keys once were, so that their versions begin again at 1.
        """
        with self._change() as connection:
            turns = self._idle_turns()
            given = connection.execute("DELETE FROM given WHERE at < ?", (before,)).rowcount
            connection.executemany("DELETE FROM record WHERE turn = ?", [(turn,) for turn in turns])
            deleted = connection.execute("DELETE FROM shared WHERE body IS NULL").rowcount if tombstones else 0
        return Pruned(given, len(turns), deleted)

    def discard(self, agent_id: str | None, before: float | None = None) -> int:
        """Delete mail that waits for an agent, or with None for all; how many messages.

        With ``before`` only what was unclaimed at that time (seconds since the Unix epoch) or earlier.

        Raises:
            KeyError: the file knows no such agent. ValueError: everything would go.
        """
        if agent_id is None and before is None:
            raise ValueError("say whose mail, or how old it is")
        query = "SELECT aid FROM agent WHERE id = ? OR ? IS NULL"
        agents = [aid for (aid,) in self._connection.execute(query, (agent_id, agent_id))]
        if not agents and agent_id is not None:
            raise KeyError(agent_id)
        count = 0
        with self._change() as connection:
            for aid in agents:
                last = _EVERYTHING
                if before is not None:
                    query = "SELECT coalesce(max(mid), 0) FROM unclaimed WHERE agent = ? AND at <= ?"
                    (last,) = connection.execute(query, (aid, before)).fetchone()
                count += connection.execute("DELETE FROM mail WHERE agent = ? AND mid <= ?", (aid, last)).rowcount
                connection.execute("DELETE FROM unclaimed WHERE agent = ? AND mid <= ?", (aid, last))
        return count

    def vacuum(self) -> None:
        """Rewrite the file without its holes. Needs room for a second one meanwhile."""
        self._connection.execute("VACUUM")
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    @property
    def lost(self) -> int:
        """How many batches are missing that had been acknowledged."""
        return max(0, self._owner.acknowledged - self.batch)

    def accept(self) -> int:
        """Make do with a file that has lost its end, so that a system starts on it; how many batches are missing.

        The file's number is raised to the one that was acknowledged, not the other way round: the runs that follow
        number their messages by it, and so never like those that are lost.
        """
        lost = self.lost
        if lost:
            self.batch = self._owner.acknowledged
            with self._change():
                pass
        return lost

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is a batch of its own."""
        connection, number = self._connection, self.batch + 1
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("UPDATE meta SET value = ? WHERE key = 'batch'", (number,))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self.batch = number
        self._owner.acknowledge(number)

    def _body(self, letter_id: int) -> bytes:
        row = self._connection.execute("SELECT body FROM dead WHERE did = ?", (letter_id,)).fetchone()
        if row is None:
            raise KeyError(letter_id)
        return bytes(row[0])

    def _letter(self, letter_id: int) -> tuple[int, DeadLetter]:
        """A dead letter that can be sent again, and the number of the agent that gets it."""
        try:
            letter = msgspec.msgpack.decode(self._body(letter_id), type=DeadLetter)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BackendError(
                f"dead letter {letter_id} cannot be decoded ({error}); all that is left is dropping it"
            ) from error
        found = self._connection.execute(
            "SELECT aid, id FROM dead JOIN agent ON aid = agent WHERE did = ?", (letter_id,)
        ).fetchone()
        if found is None:
            raise BackendError(f"dead letter {letter_id} is of an agent that the file does not name; drop it")
        aid, agent_id = found
        if agent_id.startswith(CAPABILITY):
            raise BackendError(
                f"dead letter {letter_id} is for {agent_id!r}, and only a running system knows who that is; "
                f"start it and call manager.requeue({letter_id})"
            )
        return aid, letter

    def _idle_turns(self) -> list[str]:
        """The turns that have records and cannot run again.

        A turn runs again while its message waits, or the first one of its batch. One of an ask that another turn has
        made runs again when that turn asks again; which one that is cannot be told from a digest, so those are kept
        while any message waits at all.
        """
        turns = [turn for (turn,) in self._connection.execute("SELECT DISTINCT turn FROM record").fetchall()]
        waiting: set[str] = set()
        query = "SELECT id, body FROM mail JOIN agent ON aid = agent"
        for agent_id, body in self._connection.execute(query) if turns else ():
            try:
                message = msgspec.msgpack.decode(body, type=AgentMessage)
            except (msgspec.DecodeError, UnicodeDecodeError):
                return []  # whose records are whose cannot be told
            waiting.add(f"{message.id}@{agent_id}")
        return [turn for turn in turns if not _may_run(turn, waiting)]


def _may_run(turn: str, waiting: set[str]) -> bool:
    if turn in waiting or (waiting and _NAMED_ASK.match(turn)):
        return True
    return any(turn[: part.start()] + turn[part.end() :] in waiting for part in _BATCH.finditer(turn))


def _reason(body: bytes) -> str | None:
    try:
        return msgspec.msgpack.decode(body, type=DeadLetter).reason.value
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
