"""Mail that waits in a file is read when somebody handles it, and an operator can see it and end it.

What every backend does with such mail is in `moot.testing.conformance.durable.parked`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moot import Agent, AgentContext, AgentManager, MailboxPolicy, ParkedMail, Payload, Reason, Request, handles
from moot.backends.errors import BackendFailed
from moot.backends.sqlite.check import check
from moot.backends.sqlite.inspection import inspecting
from moot.cli.app import run
from moot.messaging.message import AgentMessage

Captured = pytest.CaptureFixture[str]
DAY = 86400.0


class Note(Payload):
    text: str


class Send(Request[None]):
    to: str
    count: int
    size: int = 1


class Sender(Agent):
    @handles
    def send(self, message: Send, ctx: AgentContext) -> None:
        for number in range(message.count):
            ctx.send(message.to, Note(f"{number} {'x' * message.size}"))


class Reader(Agent):
    def __init__(self, agent_id: str, heard: list[int]) -> None:
        super().__init__(agent_id)
        self.heard = heard

    @handles
    def read(self, message: Note) -> None:
        self.heard.append(int(message.text.split()[0]))


async def send(path: Path, to: str, count: int, size: int = 1, **options: Any) -> list[Reason]:
    """Let a life send notes to an agent that is not there; why some became dead letters."""
    async with AgentManager(f"sqlite:///{path}", **options) as manager:
        await manager.register(Sender("sender"))
        await manager.ask("sender", Send(to, count, size))
        return [letter.reason for letter in manager.dead_letters]


async def read(path: Path, agent_id: str, **policies: Any) -> list[int]:
    heard: list[int] = []
    async with AgentManager(f"sqlite:///{path}") as manager:
        await manager.register(Reader(agent_id, heard), **policies)
        await manager.settle()
    return heard


def moot(capsys: Captured, *words: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def changed(path: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(sql, values)


@pytest.mark.parametrize("capacity", [1, 7, 100_000])
def test_much_mail_is_handled_in_its_order_whatever_fits_into_the_mailbox(tmp_path: Path, capacity: int) -> None:
    path = tmp_path / "team.db"
    asyncio.run(send(path, "late", 1500))
    asyncio.run(send(path, "late", 3, size=200_000))

    heard = asyncio.run(read(path, "late", mailbox=MailboxPolicy(capacity=capacity)))

    assert heard == [*range(1500), *range(3)]
    assert asyncio.run(read(path, "late")) == []


def test_mail_of_many_agents_that_is_mixed_in_the_file_comes_to_each_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "team.db"
    heard: dict[str, list[int]] = {f"agent {number}": [] for number in range(20)}

    async def mixed() -> None:
        async with AgentManager(f"sqlite:///{path}") as manager:
            await manager.register(Sender("sender"))
            for _ in range(30):
                for name in heard:
                    await manager.ask("sender", Send(name, 10))

    async def all_read() -> None:
        async with AgentManager(f"sqlite:///{path}") as manager:
            for name, numbers in heard.items():
                await manager.register(Reader(name, numbers))
            await manager.settle()

    asyncio.run(mixed())
    asyncio.run(all_read())

    assert all(numbers == [*range(10)] * 30 for numbers in heard.values())


PEAK = """
    import asyncio, resource, sys
    from pathlib import Path
    from moot import AgentManager, MailboxPolicy
    from {module} import Reader, read
    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    async def life(path, how):
        async with AgentManager(f"sqlite:///{{path}}") as manager:
            if how == "registered":
                heard = []
                await manager.register(Reader("late", heard), mailbox=MailboxPolicy(capacity=4))
                await manager.settle()
                print(len(heard), peak())
            else:
                print(0, peak())
    asyncio.run(life(*sys.argv[1:]))
"""


def peak_of(path: Path, how: str) -> tuple[int, int]:
    """How many messages a process that opens the file handles, and its peak memory in MB."""
    words = [sys.executable, "-c", textwrap.dedent(PEAK).format(module=__name__), str(path), how]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    handled, peak = map(int, done.stdout.split())
    return handled, peak


def test_a_file_with_much_mail_opens_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "team.db"
    asyncio.run(send(path, "late", 1))
    _, empty = peak_of(path, "absent")
    with closing(sqlite3.connect(path)) as connection, connection:
        body = msgspec.msgpack.encode(AgentMessage("sender", "late", {"text": f"0 {'x' * 100_000}"}, "note", 1, "made"))
        rows = ((n, 2, "made", n, 0, body) for n in range(10, 1510))
        aid = connection.execute("SELECT aid FROM agent WHERE id = 'late'").fetchone()[0]
        connection.executemany("INSERT INTO mail VALUES (?, ?, ?, ?, ?, ?)", [(n, aid, *row) for n, _, *row in rows])
    size = path.stat().st_size // 1_000_000
    assert size >= 150

    absent = peak_of(path, "absent")
    registered = peak_of(path, "registered")

    assert (absent[0], registered[0]) == (0, 1501)
    assert absent[1] - empty < 40
    assert registered[1] - empty < 60


def test_a_message_that_cannot_be_decoded_stays_and_holds_up_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "team.db"
    asyncio.run(send(path, "late", 5))
    changed(path, "UPDATE mail SET body = x'c1' WHERE mid = (SELECT min(mid) + 1 FROM mail)")

    heard = asyncio.run(read(path, "late"))

    assert heard == [0, 2, 3, 4]
    assert "a message for 'late' cannot be decoded" in caplog.text
    (bodies,) = [finding for finding in check(path) if finding.name == "bodies"]
    assert not bodies.ok


def test_a_file_that_cannot_be_read_on_ends_the_system_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "team.db"
    asyncio.run(send(path, "late", 1000))

    async def life() -> None:
        async with AgentManager(f"sqlite:///{path}") as manager:
            manager._backend._unread._path = tmp_path / "nowhere.db"  # type: ignore[attr-defined]
            await manager.register(Reader("late", []))
            await manager.settle()

    with pytest.raises(BackendFailed, match="mail cannot be read from it"):
        asyncio.run(life())
    assert asyncio.run(read(path, "late")) == [*range(1000)]


def test_what_is_refused_is_seen_and_the_bound_is_the_managers(tmp_path: Path) -> None:
    path = tmp_path / "team.db"

    lost = asyncio.run(send(path, "late", 5, parked=ParkedMail(capacity=3)))

    assert lost == [Reason.OVERFLOW] * 2
    assert asyncio.run(read(path, "late")) == [0, 1, 2]


@pytest.mark.parametrize(
    "wrong", [{"capacity": -1}, {"capacity": 1.5}, {"max_bytes": "1 MB"}, {"keep_for": 0}, {"keep_for": "7 days"}]
)
def test_a_bound_that_is_none_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
        ParkedMail(**wrong)
    with pytest.raises(TypeError, match="parked is a ParkedMail"):
        AgentManager(parked=wrong)  # type: ignore[arg-type]


def test_an_operator_sees_for_whom_mail_waits_and_can_delete_it(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "team.db"
    assert asyncio.run(send(path, "ghost", 3, size=1000)) == []
    asyncio.run(send(path, "late", 2))
    with inspecting(path) as inspection:
        waiting = {one.agent_id: one for one in inspection.waiting()}
    assert (waiting["ghost"].mail, waiting["late"].mail) == (3, 2)
    assert all(one.unclaimed_since is not None for one in waiting.values())  # the stop has marked it
    changed(path, "UPDATE unclaimed SET at = at - ? WHERE agent = (SELECT aid FROM agent WHERE id = 'ghost')", 8 * DAY)

    listed = moot(capsys, "dlq", "parked", path)
    as_json = json.loads(moot(capsys, "dlq", "parked", path, "--json")[1])
    doctor = moot(capsys, "doctor", path)
    nothing = moot(capsys, "dlq", "discard", path)
    unknown = moot(capsys, "dlq", "discard", path, "--agent", "nobody")
    young = moot(capsys, "dlq", "discard", path, "--agent", "late", "--older-than", 7)
    old = moot(capsys, "dlq", "discard", path, "--older-than", 7)

    assert listed[0] == 0
    assert [line.split()[:2] for line in listed[1].splitlines()[1:]] == [["ghost", "3"], ["late", "2"]]
    assert [one["mail"] for one in as_json] == [3, 2]
    assert "5 messages wait" in doctor[1]
    assert "nobody claims 3 for 'ghost', 2 for 'late'" in doctor[1]
    assert (nothing[0], unknown[0]) == (2, 2)
    assert "say whose mail with --agent" in nothing[2]
    assert "knows no agent 'nobody'" in unknown[2]
    assert (young[1], old[1]) == ("0 messages deleted\n", "3 messages deleted\n")
    assert moot(capsys, "dlq", "discard", path, "--agent", "late")[1] == "2 messages deleted\n"
    assert moot(capsys, "dlq", "parked", path)[1] == "no mail waits\n"
    assert asyncio.run(read(path, "ghost")) == []


def test_vacuum_takes_out_what_nobody_claims(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "team.db"
    asyncio.run(send(path, "ghost", 300, size=1000))
    changed(path, "UPDATE unclaimed SET at = at - ?", 8 * DAY)
    before = path.stat().st_size

    kept = moot(capsys, "vacuum", path)
    taken = moot(capsys, "vacuum", path, "--unclaimed", 7)

    assert "messages" not in kept[1].splitlines()[0]
    assert "300 messages that nobody claims" in taken[1]
    assert path.stat().st_size < before / 2


def test_what_a_file_of_the_first_version_holds_can_be_seen_and_is_handled(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "team.db"
    asyncio.run(send(path, "late", 3))
    changed(path, "DROP TABLE unclaimed")
    changed(path, "PRAGMA user_version = 1")

    listed = moot(capsys, "dlq", "parked", path)

    assert listed[1].splitlines()[1].split()[-1] == "-"
    assert asyncio.run(read(path, "late")) == [0, 1, 2]


def test_a_new_message_does_not_look_as_old_as_one_that_was_deleted(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "team.db"
    asyncio.run(send(path, "late", 5))
    changed(path, "UPDATE unclaimed SET at = at - ?", 8 * DAY)
    changed(path, "DELETE FROM mail")

    asyncio.run(send(path, "late", 1))

    assert moot(capsys, "dlq", "discard", path, "--older-than", 7)[1] == "0 messages deleted\n"
    assert asyncio.run(read(path, "late")) == [0]
