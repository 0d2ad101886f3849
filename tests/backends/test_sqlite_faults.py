"""What goes wrong with the file is said in one clear error, and nothing that was accepted is lost for it."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moot import Agent, AgentContext, AgentManager, Payload, Request, handles
from moot.backends.errors import BackendBusy, BackendDamaged, BackendError, BackendFailed, BackendVersion
from moot.backends.sqlite import SqliteBackend
from moot.backends.sqlite.batch import Batch
from moot.backends.sqlite.schema import Profile, connect
from moot.testing import run


class Total(msgspec.Struct, frozen=True):
    notes: int = 0
    letters: int = 0


class Note(Payload):
    text: str


class Count(Request[Total]):
    """How many notes there were."""


class Book(Agent[Total]):
    @handles
    async def on_note(self, message: Note, ctx: AgentContext[Total]) -> None:
        ctx.state = Total(ctx.state.notes + 1, ctx.state.letters + len(message.text))

    @handles
    async def on_count(self, message: Count, ctx: AgentContext[Total]) -> Total:
        return ctx.state


async def write(path: Path, notes: int, text: str = "x") -> Total:
    """Open the book, write notes, and say what is in it."""
    async with AgentManager(f"sqlite:///{path}") as manager:
        await manager.register(Book("book"))
        for _ in range(notes):
            await manager.tell("book", Note(text))
        total: Total = await manager.ask("book", Count())
        return total


async def length_of(path: Path, key: str) -> int:
    """The length of a shared text."""
    async with AgentManager(f"sqlite:///{path}") as manager:
        return len(await manager.shared_state.get(key))


def program(body: str, path: Path, **options: Any) -> subprocess.Popen[str]:
    """Run ``body`` in a process of its own, as part of this module."""
    code = f"import asyncio, sys\nfrom pathlib import Path\nfrom {__name__} import *\npath = Path(sys.argv[1])\n"
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code + textwrap.dedent(body), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        **options,
    )


async def test_a_second_owner_is_told_who_the_first_is(tmp_path: Path) -> None:
    path = tmp_path / "team.db"
    async with AgentManager(f"sqlite:///{path}"):
        with pytest.raises(BackendBusy, match=rf"team\.db belongs to a running system \(process {os.getpid()} on "):
            await AgentManager(f"sqlite:///{path}").start()
    assert (await write(path, 1)).notes == 1


def test_two_processes_on_one_file(tmp_path: Path) -> None:
    path = tmp_path / "team.db"
    first = program(
        """
        async def main():
            async with AgentManager(f"sqlite:///{path}") as manager:
                print("open", flush=True)
                await asyncio.to_thread(sys.stdin.readline)
        asyncio.run(main())
        """,
        path,
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "open\n"

    with pytest.raises(BackendBusy, match=f"process {first.pid}"):
        asyncio.run(write(path, 1))
    first.communicate("\n")

    assert first.returncode == 0
    assert asyncio.run(write(path, 1)).notes == 1


@pytest.mark.parametrize(
    "content", [b"not a database at all, but text", os.urandom(8192), b"SQLite format 3\0" + b"\1" * 500]
)
async def test_what_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "team.db"
    path.write_bytes(content)

    with pytest.raises(BackendDamaged, match=r"team\.db is damaged: .* run 'moot doctor"):
        await write(path, 1)

    assert path.read_bytes() == content


def executed(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


async def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "team.db"
    executed(path, "CREATE TABLE theirs(x)")

    with pytest.raises(BackendDamaged, match="it is a database of another program"):
        await write(path, 1)


async def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "team.db"
    await write(path, 1)
    executed(path, "PRAGMA user_version = 99")

    with pytest.raises(BackendVersion, match="schema version 99, and this version of Moot knows up to 2; upgrade Moot"):
        await write(path, 1)


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"cannot be opened: .*check that its folder exists"):
        await write(tmp_path / "nowhere" / "team.db", 1)


READ_ONLY = """
    import os
    import moot.backends.sqlite.owner, moot.cli.inspect  # (while they can be read)
    if os.geteuid() == 0:
        os.seteuid(65534)  # nothing is read-only to root
    try:
        asyncio.run(write(path, 1))
    except BackendError as error:
        print(error)
"""


@pytest.mark.parametrize("locked", ["folder", "file"])
def test_what_cannot_be_written_is_refused_at_the_start_and_left_as_it_is(locked: str) -> None:
    with tempfile.TemporaryDirectory(prefix="moot-read-only-") as name:
        folder = Path(name)
        path = folder / "team.db"
        run(write(path, 3))
        before = path.read_bytes()
        folder.chmod(0o555 if locked == "folder" else 0o777)
        for one in folder.iterdir():
            one.chmod(0o444 if locked == "file" else 0o666)

        with program(READ_ONLY, path) as child:
            said, errors = child.communicate()

        assert "Traceback" not in errors, errors
        assert "team.db" in said
        assert "written" in said
        assert path.read_bytes() == before
        folder.chmod(0o755)
        for one in folder.iterdir():
            one.chmod(0o644)
        assert run(write(path, 1)).notes == 4


async def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "team.db").mkdir()

    with pytest.raises(BackendError, match="cannot be opened"):
        await write(tmp_path / "team.db", 1)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:////",
        "sqlite:///:memory:",
        "sqlite://team.db",
        "sqlite:///x.db?profile=fast",
        "sqlite:///x?y=1",
    ],
)
def test_a_url_that_names_no_file_or_no_profile_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"sqlite|profile"):
        AgentManager(url)


async def test_a_file_that_has_lost_its_end_is_found_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "team.db"
    await write(path, 3)
    before = path.read_bytes()
    await write(path, 3)
    path.write_bytes(before)  # as if the disk had dropped what it had said was written

    with pytest.raises(BackendDamaged, match=r"its last \d+ batch\(es\) of changes are missing"):
        await write(path, 1)


async def test_a_relaxed_file_that_has_lost_its_end_goes_on_with_what_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "team.db"
    await write(path, 3)
    before = path.read_bytes()
    await write(path, 3)
    path.write_bytes(before)

    async with AgentManager(f"sqlite:///{path}?profile=relaxed") as manager:
        await manager.register(Book("book"))
        assert await manager.ask("book", Count()) == Total(3, 3)

    assert any("as the relaxed profile allows" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(("profile", "level"), [("durable", 2), ("relaxed", 1)])
def test_a_profile_says_how_much_is_synced(tmp_path: Path, profile: Profile, level: int) -> None:
    connection = connect(tmp_path / "team.db", profile)

    assert connection.execute("PRAGMA synchronous").fetchone() == (level,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_truncated_log_is_found_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "team.db"
    killed = program(
        """
        async def main():
            async with AgentManager(f"sqlite:///{path}") as manager:
                await manager.register(Book("book"))
                for number in range(20):
                    await manager.tell("book", Note("x"))
                print("written", flush=True)
                await asyncio.to_thread(sys.stdin.readline)
        asyncio.run(main())
        """,
        path,
    )
    assert killed.stdout is not None
    assert killed.stdout.readline() == "written\n"
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    log = path.with_name("team.db-wal")
    os.truncate(log, log.stat().st_size - 20_000)

    with pytest.raises(BackendDamaged, match="are missing, which had been acknowledged"):
        asyncio.run(write(path, 0))


def test_a_full_disk_stops_nothing_for_good(tmp_path: Path) -> None:
    path = tmp_path / "team.db"
    full = program(
        """
        import resource
        async def main():
            async with AgentManager(f"sqlite:///{path}") as manager:
                await manager.register(Book("book"))
                await manager.tell("book", Note("first"))
                resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
                state = manager.shared_state
                writes = [asyncio.ensure_future(state.set(f"key {n}", "y" * 100_000)) for n in range(8)]
                telling = asyncio.ensure_future(manager.tell("book", Note("second")))
                while not manager._backend._journal.is_behind:
                    await asyncio.sleep(0)
                print("full", sum(write.done() for write in (*writes, telling)), flush=True)
                await asyncio.to_thread(sys.stdin.readline)
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                await asyncio.gather(*writes, telling)
                print("room", (await manager.ask("book", Count())).notes, flush=True)
        import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        asyncio.run(main())
        """,
        path,
    )
    out, errors = full.communicate("\n", timeout=60)

    assert full.returncode == 0, errors
    assert out.splitlines() == ["full 0", "room 2"]
    assert "cannot be written" in errors
    assert "can be written again" in errors
    assert asyncio.run(write(path, 0)) == Total(2, 11)
    assert asyncio.run(length_of(path, "key 7")) == 100_000


class FailingOnce:
    """Makes one batch fail, as a failed sync does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
        self.armed = False
        apply = Batch.apply

        def failing(batch: Batch, connection: sqlite3.Connection) -> None:
            if self.armed:
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode, error.sqlite_errorname = code, "SQLITE_IOERR_FSYNC"
                raise error
            apply(batch, connection)

        monkeypatch.setattr(Batch, "apply", failing)


@pytest.mark.parametrize("inline", [True, False])
def test_a_failed_sync_is_final_and_nothing_after_it_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inline: bool
) -> None:
    path = tmp_path / "team.db"
    disk = FailingOnce(monkeypatch, sqlite3.SQLITE_IOERR_FSYNC)

    async def main() -> None:
        manager = AgentManager(SqliteBackend(path, inline=inline))
        async with manager:
            await manager.register(Book("book"))
            await manager.tell("book", Note("kept"))
            disk.armed = True
            with pytest.raises(BackendFailed):
                await manager.tell("book", Note("lost"))
            with pytest.raises((BackendFailed, Exception)):
                await manager.ask("book", Count(), timeout=5)

    with pytest.raises(BackendFailed, match="cannot be written any more: disk I/O error"):
        asyncio.run(main())
    disk.armed = False

    assert asyncio.run(write(path, 0)) == Total(1, 4)


def test_a_forked_child_cannot_write_and_does_the_parent_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "team.db"
    forking = program(
        """
        import os
        async def main():
            async with AgentManager(f"sqlite:///{path}") as manager:
                await manager.register(Book("book"))
                await manager.tell("book", Note("1"))
                child = os.fork()
                if child == 0:
                    try:
                        manager._backend._journal.put_shared("x", 1, 1, b"")
                        await manager._backend._journal.synced()
                    except Exception as error:
                        os._exit(7 if "fork" in str(error) else 8)
                    os._exit(9)
                _, status = os.waitpid(child, 0)
                print(os.waitstatus_to_exitcode(status), flush=True)
                await manager.tell("book", Note("2"))
                print((await manager.ask("book", Count())).notes)
        import warnings; warnings.simplefilter("ignore")
        asyncio.run(main())
        """,
        path,
    )
    out, errors = forking.communicate(timeout=30)

    assert (out.split(), errors) == (["7", "2"], "")
    assert asyncio.run(write(path, 0)).notes == 2


def test_whoever_kills_the_process_again_and_again_becomes_a_dead_letter(tmp_path: Path) -> None:
    path = tmp_path / "team.db"
    deadly = """
        import os
        from moot import RetryPolicy
        class Deadly(Agent):
            retry = RetryPolicy(max_deaths=3)

            @handles
            async def on_note(self, message: Note, ctx: AgentContext) -> None:
                await ctx.effect("wait until the message is kept", lambda key: True)
                if message.text == "poison":
                    os.kill(os.getpid(), 9)
        async def main():
            async with AgentManager(f"sqlite:///{path}") as manager:
                await manager.register(Deadly("deadly"))
                if not len(manager.dead_letters):
                    await manager.tell("deadly", Note("poison"), message_id="poison")
                await manager.tell("deadly", Note("harmless"))
                await manager.settle()
                print([(letter.message.content["text"], letter.attempts) for letter in manager.dead_letters])
        asyncio.run(main())
        """
    outcomes = []
    for _ in range(5):
        process = program(deadly, path)
        out, errors = process.communicate(timeout=30)
        outcomes.append((process.returncode, out.strip() or errors))

    assert [code for code, _ in outcomes] == [-9, -9, -9, -9, 0], outcomes  # in the first it had got on
    assert outcomes[-1][1] == "[('poison', 3)]"


def test_a_file_that_is_deleted_while_the_system_runs_is_not_said_to_be_written(tmp_path: Path) -> None:
    path = tmp_path / "team.db"

    def delete() -> None:
        for file in tmp_path.glob("team.db*"):
            file.unlink()

    async def main() -> None:
        async with AgentManager(f"sqlite:///{path}") as manager:
            await manager.register(Book("book"))
            await manager.tell("book", Note("there"))
            delete()
            await manager.tell("book", Note("nowhere"))

    with pytest.raises(BackendFailed, match="it was deleted or replaced while the system ran"):
        asyncio.run(main())


async def test_a_key_that_is_no_text_is_refused() -> None:
    async with AgentManager() as manager:
        with pytest.raises(ValueError, match="5 cannot be a key; use Unicode text"):
            await manager.shared_state.set(5, 1)  # type: ignore[arg-type]
