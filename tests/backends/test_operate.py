"""An operator can look at the file of a durable system, send its dead letters again, make it small and check it.

Looking works beside a running system and changes nothing; repairing needs it stopped and says so in one line.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import re
import resource
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moot import Agent, AgentContext, AgentManager, AgentMessage, Payload, RetryPolicy, handles
from moot.backends.errors import BackendDamaged
from moot.backends.sqlite.inspection import inspecting
from moot.backends.sqlite.owner import Owner, last_acknowledged
from moot.backends.sqlite.repair import repairing
from moot.cli.app import run
from tests.backends import bank, crashing

Captured = pytest.CaptureFixture[str]
WEEK = 7 * 24 * 3600.0


class Work(Payload):
    text: str


class Done(msgspec.Struct, frozen=True):
    """What a worker has done."""

    texts: tuple[str, ...] = ()


class Worker(Agent[Done]):
    retry = RetryPolicy(max_attempts=1)
    is_fixed = False

    @handles
    async def work(self, message: Work, ctx: AgentContext[Done]) -> None:
        if message.text.startswith("bad") and not self.is_fixed:
            raise ValueError(f"{message.text} is bad")
        if message.text == "send":
            ctx.send("absent", Work("later ü"))
            ctx.schedule(3600, Work("timer"))
        ctx.state = Done((*ctx.state.texts, message.text))


class Fixed(Worker):
    is_fixed = True


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "team ü.db"


async def fill(manager: AgentManager, *texts: str) -> None:
    """A worker that is told all of that."""
    await manager.register(Worker("worker"))
    for number, text in enumerate(texts):
        await manager.tell("worker", Work(text), message_id=f"id {number}")
    await manager.shared_state.set("kept", [1, 2])
    await manager.shared_state.set("gone", 1)
    await manager.shared_state.delete("gone")
    await manager.settle()


def make(path: Path, *texts: str) -> None:
    """A file that a system has left."""

    async def live() -> None:
        async with AgentManager(f"sqlite:///{path}") as manager:
            await fill(manager, *texts)

    asyncio.run(live())


def handled(path: Path, kind: type[Worker] = Fixed) -> tuple[str, ...]:
    """What the worker has done after another run."""

    async def live() -> None:
        async with AgentManager(f"sqlite:///{path}") as manager:
            await manager.register(kind("worker"))
            await manager.settle()

    asyncio.run(live())
    with inspecting(path) as inspection:
        state = inspection.agent("worker").state
    return () if state is None else tuple(state["texts"])


def moot(capsys: Captured, *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run([str(one) for one in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def change(path: Path, sql: str, *values: object) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(sql, values)
    connection.close()


def rows(path: Path, sql: str) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


# looking
async def test_inspect_shows_all_that_a_file_holds_while_the_system_runs(path: Path, capsys: Captured) -> None:
    async with AgentManager(f"sqlite:///{path}") as manager:
        await fill(manager, "one", "send", "bad one", "bad two")

        code, out, _ = moot(capsys, "inspect", path, "--json")
        text = moot(capsys, "inspect", path)[1]

    view = json.loads(out)
    assert code == 0
    assert view["totals"] == {
        "agents": 2,
        "mail": 1,
        "states": 1,
        "timers": 1,
        "turns": 0,
        "records": 0,
        "given": 4,
        "letters": 2,
        "shared": 1,
        "deleted": 1,
    }
    absent, worker = view["agents"]
    assert (absent["agent_id"], absent["mail"], absent["oldest"]) == ("absent", 1, "work")
    assert (worker["agent_id"], worker["mail"], worker["state_version"]) == ("worker", 0, 1)
    assert worker["state_bytes"] == len(msgspec.msgpack.encode(Done(("one", "send"))))
    assert [(timer["agent_id"], timer["message_type"]) for timer in view["timers"]] == [("worker", "work")]
    assert {one["idempotency_key"] for one in view["given"]} == {f"id {number}" for number in range(4)}
    assert view["letters"] == {"failed": 2}
    assert [(one["key"], one["version"]) for one in view["shared"]] == [("kept", 1)]
    assert "agent ids: 2, messages waiting: 1, states: 1, timers: 1, dead letters: 2" in text
    assert re.search(r"^absent +1 +work +- +-$", text, re.MULTILINE)


async def test_the_mail_and_the_state_of_an_agent_can_be_read(path: Path, capsys: Captured) -> None:
    async with AgentManager(f"sqlite:///{path}") as manager:
        await fill(manager, "one", "send")

        mail = json.loads(moot(capsys, "inspect", path, "--agent", "absent", "--json")[1])
        worker = moot(capsys, "inspect", path, "--agent", "worker")[1]
        code, out, err = moot(capsys, "inspect", path, "--agent", "nobody")

    (message,) = mail["mail"]
    assert (message["from"], message["message_type"], message["attempts"]) == ("worker", "work", 0)
    assert message["content"] == {"text": "later ü"}
    assert '{"texts":["one","send"]}' in worker
    assert (code, out) == (2, "")
    assert err == f"moot: {path} knows no agent 'nobody'; moot inspect {path} shows those it does\n"


async def test_who_looks_holds_nothing_that_the_owner_needs(path: Path) -> None:
    async with AgentManager(f"sqlite:///{path}") as manager:
        await fill(manager, *[f"bad {number}" for number in range(100)])
        other = sqlite3.connect(path, timeout=0)

        with inspecting(path) as inspection:
            inspection.overview()
            letters = inspection.letters()
            next(letters)
            busy, log, moved = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            await manager.tell("worker", Work("more"))
            rest = len(list(letters))
        other.close()

    assert (busy, log, moved) == (0, 0, 0)
    assert rest == 99


def test_what_is_huge_is_shortened_and_what_steers_a_terminal_is_not_let_through(path: Path, capsys: Captured) -> None:
    async def live() -> None:
        async with AgentManager(f"sqlite:///{path}") as manager:
            await manager.register(Worker("worker"))
            await manager.tell("worker", Work(f"bad \x1b[31m\u202e ünï {'x' * 5_000_000}"))
            await manager.settle()

    asyncio.run(live())
    with repairing(path) as held:
        held.requeue([1])

    mail = moot(capsys, "inspect", path, "--agent", "worker")[1]
    whole = moot(capsys, "inspect", path, "--agent", "worker", "--json")[1]

    assert len(mail) < 500
    assert "ünï" in mail
    assert "(5,000,0" in mail
    assert not {"\x1b", "\u202e"} & set(mail)
    assert len(json.loads(whole)["mail"][0]["content"]["text"]) > 5_000_000


def test_content_of_any_kind_can_be_shown(path: Path, capsys: Captured) -> None:
    make(path, "send")
    deep: Any = 1
    for _ in range(600):
        deep = [deep]
    odd = {1: b"\xff", "when": dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "big": 2**63, (1, 2): float("nan"), "deep": deep}
    ((body,),) = rows(path, "SELECT body FROM mail")
    message = msgspec.structs.replace(msgspec.msgpack.decode(body, type=AgentMessage), content=odd)
    change(path, "UPDATE mail SET body = ?", msgspec.msgpack.encode(message))

    text = moot(capsys, "inspect", path, "--agent", "absent")
    data = json.loads(moot(capsys, "inspect", path, "--agent", "absent", "--json")[1])

    assert text[0] == 0
    content = data["mail"][0]["content"]
    assert content["1"] == "b'\\xff'"
    assert content["when"] == "2026-01-02T00:00:00+00:00"
    assert (content["big"], content["(1, 2)"]) == (2**63, None)


def test_agents_with_most_mail_come_first(path: Path, capsys: Captured) -> None:
    make(path, "send", "bad one", "bad two")
    moot(capsys, "dlq", "requeue", path, "--all")

    agents = json.loads(moot(capsys, "inspect", path, "--json", "--limit", 1)[1])["agents"]

    assert [(one["agent_id"], one["mail"]) for one in agents] == [("worker", 2)]


def test_of_many_entries_the_first_are_shown_and_the_rest_counted(path: Path, capsys: Captured) -> None:
    make(path, *[str(number) for number in range(30)])

    some, most = moot(capsys, "inspect", path)[1], moot(capsys, "inspect", path, "--limit", 0)[1]

    assert "… and 10 more (--limit 0 shows all)" in some
    assert "more" not in most
    assert sum(line.startswith("id ") for line in most.splitlines()) == 30


# dead letters
def test_dead_letters_can_be_listed_and_shown(path: Path, capsys: Captured) -> None:
    make(path, "bad one", "good", "bad\ntwo")

    listed = moot(capsys, "dlq", "list", path)[1].splitlines()
    of_reason = [moot(capsys, "dlq", "list", path, "--reason", why)[1].count("\n") for why in ("failed", "expired")]
    shown = moot(capsys, "dlq", "show", path, 2)[1]
    data = json.loads(moot(capsys, "dlq", "list", path, "--json")[1])

    assert len(listed) == 2
    assert "failed, 1 attempt(s)  work from outside to worker: ValueError: bad one is bad" in listed[0]
    assert of_reason == [2, 0]
    assert 'content      {"text":"bad\\ntwo"}\n' in shown
    assert [(one["id"], one["content"]["text"]) for one in data] == [(1, "bad one"), (2, "bad\ntwo")]


def test_requeued_letters_are_handled_by_the_next_run_in_their_order(path: Path, capsys: Captured) -> None:
    make(path, "bad one", "bad two", "bad three")
    old = json.loads(moot(capsys, "dlq", "show", path, 1, "--json")[1])["message_id"]

    code, out, _ = moot(capsys, "dlq", "requeue", path, 1, 3)
    ((body,), _) = rows(path, "SELECT body FROM mail ORDER BY mid")
    batch = rows(path, "SELECT value FROM meta")[0][0]

    message = msgspec.msgpack.decode(body)
    assert code == 0
    assert out.endswith("2 requeued\n")
    assert (message["causation"], message["content"]) == (old, {"text": "bad one"})
    assert f"{message['incarnation']}-{message['sequence']}" != old
    assert last_acknowledged(path) == batch
    assert [row[0] for row in rows(path, "SELECT did FROM dead")] == [2]
    assert handled(path) == ("bad one", "bad three")
    assert moot(capsys, "dlq", "requeue", path, "--all", "--reason", "failed")[1].endswith("1 requeued\n")
    assert handled(path) == ("bad one", "bad three", "bad two")


def test_letters_are_requeued_or_dropped_all_or_none(path: Path, capsys: Captured) -> None:
    make(path, "bad one", "bad two")

    for verb in ("requeue", "drop"):
        code, out, err = moot(capsys, "dlq", verb, path, 1, 7)

        assert (code, out) == (2, "")
        assert err == f"moot: {path} has no dead letter 7; moot dlq list {path} shows those there are\n"
    assert len(rows(path, "SELECT * FROM dead")) == 2
    assert rows(path, "SELECT * FROM mail") == []
    assert moot(capsys, "dlq", "drop", path, 1)[1] == "1 dropped\n"
    assert moot(capsys, "dlq", "drop", path, "--all")[1] == "1 dropped\n"
    assert rows(path, "SELECT * FROM dead") == []


def test_which_letters_are_meant_must_be_said(path: Path, capsys: Captured) -> None:
    make(path, "bad one")

    for arguments in ((), (1, "--all"), (1, "--reason", "failed"), ("--reason", "failed")):
        code, _, err = moot(capsys, "dlq", "drop", path, *arguments)

        assert (code, err) == (2, "moot: name the ids of dead letters, or give --all, which --reason can narrow\n")
    assert len(rows(path, "SELECT * FROM dead")) == 1


def test_a_letter_for_whoever_can_do_something_is_left_to_a_running_system(path: Path, capsys: Captured) -> None:
    make(path, "bad one")
    change(path, "INSERT INTO agent VALUES (99, 'capability:research')")
    change(path, "UPDATE dead SET agent = 99")

    code, _, err = moot(capsys, "dlq", "requeue", path, 1)

    assert code == 2
    assert "only a running system knows who that is; start it and call manager.requeue(1)" in err
    assert len(rows(path, "SELECT * FROM dead")) == 1


def test_whoever_repairs_counts_the_attempt_of_a_message_that_killed_the_process(path: Path, capsys: Captured) -> None:
    make(path, "bad one", "bad two")
    moot(capsys, "dlq", "requeue", path, 1)
    owner = Owner(path)
    owner.begin(rows(path, "SELECT mid FROM mail")[0][0])
    owner.close()

    moot(capsys, "dlq", "drop", path, 2)

    assert rows(path, "SELECT attempts FROM mail") == [(1,)]
    after = Owner(path)
    assert after.interrupted == []
    after.close()


# vacuum
def test_vacuum_takes_out_what_no_run_can_need_and_gives_the_room_back(path: Path, capsys: Captured) -> None:
    make(path, *[f"bad {number} {'x' * 1000}" for number in range(300)])
    moot(capsys, "dlq", "drop", path, "--all")
    change(path, "UPDATE given SET at = at - ? WHERE id <> 'id 7'", WEEK)
    change(path, "INSERT INTO record VALUES ('over@worker', x'00', x'c0')")
    before = path.stat().st_size

    code, out, _ = moot(capsys, "vacuum", path)

    after = path.stat().st_size
    assert code == 0
    assert out.startswith(
        "taken out: 299 given ids older than 7 days, records of 1 turns that cannot run again, 1 deleted shared keys\n"
    )
    assert f"{before:,} bytes before, {after:,} after" in out
    assert after < before / 2
    assert rows(path, "SELECT id FROM given") == [("id 7",)]
    assert rows(path, "SELECT key FROM shared") == [("kept",)]
    assert rows(path, "SELECT value FROM meta") == [(last_acknowledged(path),)]
    assert moot(capsys, "doctor", path)[0] == 0
    assert handled(path) == ()


def test_where_there_is_no_room_the_file_stays_whole(path: Path, capsys: Captured) -> None:
    make(path, *[f"bad {number} {'x' * 1000}" for number in range(300)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        code, out, err = moot(capsys, "vacuum", path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert (code, out) == (2, "")
    assert "is as it was: " in err
    assert err.count("\n") == 1
    assert moot(capsys, "doctor", path)[0] == 0


def test_vacuum_keeps_the_records_of_every_turn_that_may_run_again(path: Path, capsys: Captured) -> None:
    make(path, "bad one")
    moot(capsys, "dlq", "requeue", path, 1)
    ((incarnation, sequence),) = rows(path, "SELECT incarnation, sequence FROM mail")
    waiting = f"{incarnation}-{sequence}"
    asked = "0123456789abcdef" * 2
    kept = {f"{waiting}@worker", f"{waiting}+3@worker", f"{asked}@other", f"{asked}+2@other"}
    for turn in (*kept, f"{waiting}@other", "4711-1@worker", "4711-1+3@worker", "id+2@x@worker"):
        change(path, "INSERT INTO record VALUES (?, x'00', x'c0')", turn)

    moot(capsys, "vacuum", path, "--keep-tombstones")

    assert {turn for (turn,) in rows(path, "SELECT turn FROM record")} == kept
    assert len(rows(path, "SELECT * FROM shared")) == 2
    moot(capsys, "vacuum", path)
    change(path, "DELETE FROM mail")
    moot(capsys, "vacuum", path)
    assert rows(path, "SELECT turn FROM record") == []


def test_a_vacuum_between_a_crash_and_the_next_run_makes_nothing_happen_twice(path: Path, capsys: Captured) -> None:
    log = path.with_name("effects")
    log.touch()
    command = [sys.executable, "-W", "error", crashing.__file__, str(path), str(log)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run(command, env=environment, check=False).returncode == 3
    assert len(rows(path, "SELECT * FROM record")) == 1

    code = moot(capsys, "vacuum", path)[0]

    assert code == 0
    assert subprocess.run(command, env=environment, check=False).returncode == 0
    assert log.read_text().splitlines() == ["first", "second"]
    assert rows(path, "SELECT * FROM record") == []


# a running system, and one that was killed
@contextmanager
def running_bank(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns the file; killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", bank.__file__, str(path), "1"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    try:
        for _ in range(30):
            assert process.stdout.readline()
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def test_beside_another_process_all_can_be_seen_and_nothing_changed(path: Path, capsys: Captured) -> None:
    with running_bank(path) as process:
        seen = [moot(capsys, *looking)[0] for looking in (("inspect", path), ("dlq", "list", path))]
        agent = moot(capsys, "inspect", path, "--agent", "account_3", "--json")
        doctor = moot(capsys, "doctor", path)
        refused = [
            moot(capsys, *repair)
            for repair in (
                ("dlq", "requeue", path, "1"),
                ("dlq", "drop", path, "--all"),
                ("vacuum", path),
                ("doctor", path, "--accept"),
            )
        ]
        assert process.poll() is None

    assert seen == [0, 0]
    assert json.loads(agent[1])["state"]["balance"] > 0
    assert doctor[0] == 0
    assert f"a system runs on it: process {process.pid} on " in doctor[1]
    for code, out, err in refused:
        assert (code, out) == (2, "")
        assert err.startswith(f"moot: {path} belongs to a running system (process {process.pid} on ")
        assert err.count("\n") == 1
    assert "call manager.requeue(ID) in it" in refused[0][2]


def test_doctor_finds_a_lost_end_and_can_accept_it(path: Path, capsys: Captured) -> None:
    with running_bank(path):
        pass
    assert moot(capsys, "doctor", path)[0] == 0
    log = path.with_name(f"{path.name}-wal")
    os.truncate(log, log.stat().st_size // 2)
    acknowledged = last_acknowledged(path)

    code, out, _ = moot(capsys, "doctor", path)
    refused = [moot(capsys, *repair) for repair in (("dlq", "drop", path, "--all"), ("vacuum", path))]

    assert code == 1
    (end,) = [line for line in out.splitlines() if line.startswith("failed")]
    assert f"of {acknowledged} batches are missing" in end
    assert end.endswith(f"or go on without them: moot doctor {shlex.quote(str(path))} --accept")
    for refusal in refused:
        assert refusal[0] == 2
        assert "batch(es) of changes are missing" in refusal[2]
    with pytest.raises(BackendDamaged):
        asyncio.run(AgentManager(f"sqlite:///{path}").start())
    code, out, err = moot(capsys, "doctor", path, "--accept")
    assert code == 0
    assert "batches of changes are lost, and the system goes on without them" in err
    assert last_acknowledged(path) == rows(path, "SELECT value FROM meta")[0][0] == acknowledged + 1
    assert "nothing is missing" in moot(capsys, "doctor", path, "--accept")[2]
    with running_bank(path):
        pass


def test_doctor_names_what_cannot_be_decoded_and_what_to_do(path: Path, capsys: Captured) -> None:
    make(path, "bad one", "bad two", "send")
    for table in ("state", "dead", "timer", "shared", "mail"):
        change(path, f"UPDATE {table} SET body = x'c1'")

    code, out, _ = moot(capsys, "doctor", path, "--json")
    listed = moot(capsys, "dlq", "list", path)
    overview = moot(capsys, "inspect", path)
    states = [moot(capsys, "inspect", path, "--agent", agent) for agent in ("worker", "absent")]

    found = {one["name"]: one for one in json.loads(out)}
    assert code == 1
    assert [name for name, one in found.items() if one["status"] == "failed"] == ["bodies"]
    assert found["bodies"]["text"].startswith("7 of ")
    assert f"dead 1 (stop the system, then: moot dlq drop {shlex.quote(str(path))} 1)" in found["bodies"]["text"]
    assert listed[1].count("unreadable") >= 2
    assert "unreadable    2" in overview[1]
    assert [code for code, _, _ in (listed, overview, *states)] == [0] * 4
    assert moot(capsys, "dlq", "requeue", path, 1)[0] == 2
    assert moot(capsys, "dlq", "drop", path, "--all")[1] == "2 dropped\n"


def test_doctor_finds_rows_of_nobody(path: Path, capsys: Captured) -> None:
    make(path, "bad one", "send")
    change(path, "DELETE FROM agent WHERE id = 'absent'")

    code, out, _ = moot(capsys, "doctor", path)

    assert code == 1
    assert "rows of agents that the file does not name: 1 in 'mail'" in out


# what is no file of ours
def broken(path: Path, how: str) -> Path:
    """A file, or none, that cannot be used."""
    if how == "directory":
        path.mkdir()
    elif how == "garbage":
        path.write_bytes(b"not a database at all, but long enough to be one " * 100)
    elif how == "empty":
        path.touch()
    elif how == "another program's":
        change(path, "CREATE TABLE mail(x)")
    elif how != "missing":
        make(path, "send", *[f"bad {'x' * 3000}" for _ in range(20)])
        if how == "truncated":
            os.truncate(path, path.stat().st_size // 3)
        if how == "newer":
            change(path, "PRAGMA user_version = 99")
        if how == "without tables":
            change(path, "DROP TABLE meta")
    return path


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", "there is no file"),
        ("directory", "is a folder; name the file of your system"),
        ("garbage", "is damaged: SQLite says file is not a database"),
        ("empty", "it is empty: no system has begun to use it"),
        ("another program's", "it is a database of another program"),
        ("truncated", "is damaged: SQLite says database disk image is malformed"),
        ("newer", "has schema version 99, and this version of Moot knows up to 2; upgrade Moot"),
        ("without tables", "is damaged: SQLite says no such table: meta"),
    ],
)
def test_what_is_no_file_of_ours_is_said_in_one_line(how: str, words: str, path: Path, capsys: Captured) -> None:
    broken(path, how)
    before = sorted(one.name for one in path.parent.iterdir() if not one.name.endswith(("-shm", "-wal", "-owner")))

    for command in (("inspect", path), ("dlq", "requeue", path, "--all"), ("vacuum", path)):
        code, out, err = moot(capsys, *command)

        assert (code, out) == (2, ""), command
        assert words in err
        assert err.count("\n") == 1
    code, out, err = moot(capsys, "doctor", path)
    assert (code, err) == (1, "")
    assert any(line.startswith("failed") for line in out.splitlines())
    assert (
        sorted(one.name for one in path.parent.iterdir() if not one.name.endswith(("-shm", "-wal", "-owner"))) == before
    )


def test_a_folder_that_cannot_be_written_is_said_with_what_to_do(path: Path, capsys: Captured) -> None:
    other = path.with_name("other.db")
    make(other, "one")
    for command in ("inspect", "doctor"):  # what they import may lie where nobody may look
        moot(capsys, command, other)
    make(path, "one")
    for one in (path, path.parent, *path.parent.parents[:1]):
        one.chmod(0o555 if one.is_dir() else 0o444)
    with nobody(path):
        code, _, err = moot(capsys, "inspect", path)
        doctor = moot(capsys, "doctor", path)

    assert code == 2
    assert f"must be allowed to write to {path.parent}; be the user whose system it is, or copy" in err
    assert err.count("\n") == 1
    assert doctor[0] == 1
    assert "copy" in doctor[1]


@contextmanager
def nobody(path: Path) -> Iterator[None]:
    """Be a user without rights, if this one has all."""
    parents = [one for one in path.parents if not one.stat().st_mode & 0o001]
    modes = [one.stat().st_mode for one in parents]
    is_root = os.geteuid() == 0
    if is_root:
        for one in parents:
            one.chmod(one.stat().st_mode | 0o011)
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for one, mode in zip(parents, modes, strict=True):
            one.chmod(mode)
        path.parent.chmod(0o755)
