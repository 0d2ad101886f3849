"""Check: what is wrong with a file, and what to do about each thing.

Reads only, and works beside a running system; while it reads the whole file, that
system's log grows.
"""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from moot.backends.errors import BackendDamaged, BackendError
from moot.backends.sqlite.files import Files
from moot.backends.sqlite.inspection import Inspection
from moot.backends.sqlite.mark import TORN, is_torn
from moot.backends.sqlite.owner import holder, last_acknowledged
from moot.backends.sqlite.schema import APPLICATION_ID, connect_readonly, said_by_sqlite
from moot.messaging.dead_letters import DeadLetter
from moot.messaging.message import AgentMessage

__all__ = ["Finding", "check"]

_SHOWN = 5


class Finding(msgspec.Struct, frozen=True):
    """One check: what was found and, if it is not ``ok``, what to do."""

    name: str
    ok: bool
    text: str


class _StoredTimer(msgspec.Struct, frozen=True):
    """As much of a stored timer as a system needs to set it again."""

    delay: float
    message: AgentMessage


def check(path: Path) -> list[Finding]:
    """All checks, in the order in which they are worth reading; the later ones only if the file can be read."""
    log_bytes = Files(path).log_bytes()  # before SQLite makes one
    try:
        connection = connect_readonly(path)
    except BackendDamaged as error:
        advice = f"; {_advice(path)}" if error.__cause__ is not None else "; name the file of your system"
        return [_owned(path), Finding("file", False, f"{error.what}{advice}")]
    except (BackendError, sqlite3.Error, OSError) as error:
        said = error if isinstance(error, BackendError) else said_by_sqlite(path, error)
        return [_owned(path), Finding("file", False, str(said))]
    try:
        acknowledged = _acknowledged(path)  # before the file's own number, which a running system raises first
        return [
            _owned(path),
            _opened(connection),
            *_tried("integrity", path, lambda: _integrity(connection, path)),
            *_tried("end", path, lambda: _end(connection, acknowledged, path, log_bytes)),
            *_tried("agents", path, lambda: _agents(connection, path)),
            *_tried("mail", path, lambda: _mail(connection, path)),
            *_tried("bodies", path, lambda: _bodies(connection, path)),
        ]
    finally:
        connection.close()


def _tried(name: str, path: Path, one: Callable[[], Finding]) -> Iterator[Finding]:
    """A check, whose own failure is a finding, too."""
    try:
        yield one()
    except sqlite3.Error as error:
        yield Finding(name, False, f"SQLite says {error}; {_advice(path)}")


def _owned(path: Path) -> Finding:
    try:
        owner = holder(path)
    except OSError as error:
        return Finding("owner", True, f"not known: {path.name}-owner cannot be read ({error.strerror})")
    return Finding("owner", True, "no system runs on it" if owner is None else f"a system runs on it: {owner}")


def _opened(connection: sqlite3.Connection) -> Finding:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    text = f"it can be read: application id {APPLICATION_ID:#x}, schema version {version}, journal {mode}"
    return Finding("file", True, text)


def _integrity(connection: sqlite3.Connection, path: Path) -> Finding:
    found = [line for (line,) in connection.execute("PRAGMA integrity_check").fetchall()]
    if found == ["ok"]:
        return Finding("integrity", True, "SQLite finds nothing wrong")
    first = str(found[0]).strip().splitlines()[-1]
    return Finding("integrity", False, f"SQLite finds {len(found)} error(s), {first!r}; {_advice(path)}")


def _acknowledged(path: Path) -> int | None:
    try:
        return last_acknowledged(path)
    except OSError:
        return None


def _end(connection: sqlite3.Connection, acknowledged: int | None, path: Path, log_bytes: int) -> Finding:
    row = connection.execute("SELECT value FROM meta WHERE key = 'batch'").fetchone()
    if row is None or not isinstance(row[0], int):
        return Finding("end", False, f"the file does not say how many batches it holds; {_advice(path)}")
    batch = row[0]
    if is_torn(connection, log_bytes, acknowledged or 0):
        return Finding(
            "end",
            False,
            f"{TORN.format(log=Files(path).log.name)}; put it back, or go on without: moot doctor {_quoted(path)} "
            "--accept. A running system is copied by: sqlite3 FILE '.backup COPY'",
        )
    if not acknowledged:
        return Finding("end", True, f"{batch} batches; {path.name}-owner does not say whether that is all of them")
    if batch >= acknowledged:
        return Finding("end", True, f"all {acknowledged} batches that were acknowledged are there")
    return Finding(
        "end",
        False,
        f"the last {acknowledged - batch} of {acknowledged} batches are missing, which had been acknowledged: "
        f"{path.name}-wal was cut, lost or left behind; put the whole one back, "
        f"or go on without them: moot doctor {_quoted(path)} --accept",
    )


def _agents(connection: sqlite3.Connection, path: Path) -> Finding:
    """Whether each row says whose it is: a system could not start without."""
    wrong = []
    for table in ("mail", "state", "timer", "dead"):
        query = f"SELECT count(*) FROM {table} WHERE agent NOT IN (SELECT aid FROM agent)"  # noqa: S608 - literals
        (count,) = connection.execute(query).fetchone()
        if count:
            wrong.append(f"{count} in {table!r}")
    if not wrong:
        return Finding("agents", True, "each row says whose it is")
    text = f"rows of agents that the file does not name: {', '.join(wrong)}; {_advice(path)}"
    return Finding("agents", False, text)


def _mail(connection: sqlite3.Connection, path: Path) -> Finding:
    """Whose mail waits. That nobody claims it is no fault of the file, and worth knowing."""
    waiting = Inspection(path, connection).waiting()
    messages, size = sum(one.mail for one in waiting), sum(one.bytes for one in waiting)
    text = f"{messages} messages wait, {size:,} bytes"
    unclaimed = [one for one in waiting if one.unclaimed_since is not None]
    if unclaimed:
        named = ", ".join(f"{one.mail} for {one.agent_id!r}" for one in unclaimed[:_SHOWN])
        more = f" and {len(unclaimed) - _SHOWN} more agents" if len(unclaimed) > _SHOWN else ""
        text += f"; nobody claims {named}{more}: moot dlq parked {_quoted(path)}"
    return Finding("mail", True, text)


def _bodies(connection: sqlite3.Connection, path: Path) -> Finding:
    """Whether each body is what its table holds."""
    inspection = Inspection(path, connection)
    wrong: list[str] = []
    count = 0
    for table, (query, start, kind, remedy) in _BODIES.items():
        for *key, body in inspection.pages(query, *start):
            count += 1
            if body is not None and not _is_a(kind, body):
                wrong.append(f"{table} {'/'.join(map(_shown, key))} ({remedy.format(path=_quoted(path), key=key[0])})")
    if not wrong:
        return Finding("bodies", True, f"all {count} can be decoded")
    more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    text = f"{len(wrong)} of {count} cannot be decoded: {', '.join(wrong[:_SHOWN])}{more}"
    return Finding("bodies", False, text)


def _advice(path: Path) -> str:
    return f"put a backup in its place, or save what can be read with: sqlite3 {_quoted(path)} .recover"


def _quoted(path: Path) -> str:
    """The path as a shell reads it: commands are there to be copied."""
    return shlex.quote(str(path))


def _is_a(kind: Any, body: Any) -> bool:
    try:
        msgspec.msgpack.decode(body, type=kind)
    except (msgspec.DecodeError, TypeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _shown(key: Any) -> str:
    return key.hex() if isinstance(key, bytes) else str(key)


_DELETE = 'stop the system, then: sqlite3 {{path}} "DELETE FROM {} WHERE {} = {{key}}"'
_BODIES: dict[str, tuple[str, tuple[Any, ...], Any, str]] = {
    "mail": (
        "SELECT mid, body FROM mail WHERE mid > ? ORDER BY mid",
        (0,),
        AgentMessage,
        _DELETE.format("mail", "mid"),
    ),
    "state": (
        "SELECT agent, body FROM state WHERE agent > ? ORDER BY agent",
        (0,),
        Any,
        _DELETE.format("state", "agent"),
    ),
    "dead": (
        "SELECT did, body FROM dead WHERE did > ? ORDER BY did",
        (0,),
        DeadLetter,
        "stop the system, then: moot dlq drop {path} {key}",
    ),
    "timer": (
        "SELECT incarnation, sequence, body FROM timer WHERE (incarnation, sequence) > (?, ?) ORDER BY 1, 2",
        ("", 0),
        _StoredTimer,
        "stop the system and delete that row",
    ),
    "record": (
        "SELECT turn, key, body FROM record WHERE (turn, key) > (?, ?) ORDER BY turn, key",
        ("", b""),
        Any,
        "stop the system and delete that row; what it recorded is done again",
    ),
    "given": (
        "SELECT address, id, body FROM given WHERE (address, id) > (?, ?) ORDER BY address, id",
        ("", ""),
        Any,
        "stop the system and delete that row; the ask can then be handled again",
    ),
    "shared": (
        "SELECT key, body FROM shared WHERE key > ? ORDER BY key",
        ("",),
        Any,
        "write the key anew",
    ),
}
"""By table: its rows in pages, what stands before the first, what a body is, and what to do if it is not."""
