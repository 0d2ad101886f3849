"""A file of a running system that vanishes, moves or is copied alone loses nothing that was acknowledged unnoticed.

The database, its log, its index and its sidecar belong together. Whoever opens them finds out whether they do, and a
running system finds out before it acknowledges anything more.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from moot import AgentManager
from moot.backends.errors import BackendBusy, BackendDamaged, BackendError, BackendFailed
from moot.backends.sqlite import SqliteBackend
from moot.backends.sqlite.batch import Batch
from moot.backends.sqlite.check import check
from moot.backends.sqlite.repair import repairing
from tests.backends.test_sqlite_faults import Book, Count, Note, program, write

Harm = Callable[[Path], object]


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}{suffix}")


def replaced(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def notes_in(path: Path) -> int:
    return asyncio.run(write(path, 0)).notes


async def harmed(path: Path, harm: Harm, *, inline: bool = False) -> BackendFailed:
    """Acknowledge three notes, harm the files, and try another; the error of the manager."""

    async def life() -> None:
        async with AgentManager(SqliteBackend(path, inline=inline)) as manager:
            await manager.register(Book("book"))
            for _ in range(3):
                await manager.tell("book", Note("x"))
            assert (await manager.ask("book", Count())).notes == 3
            harm(path)
            await manager.tell("book", Note("y"))
            await manager.tell("book", Note("z"))

    with pytest.raises(BackendFailed) as caught:
        await life()
    return caught.value


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-owner"])
@pytest.mark.parametrize("how", [Path.unlink, replaced, lambda path: path.rename(f"{path}.away")])
def test_a_file_beside_the_database_that_is_gone_ends_the_system_and_all_is_kept(
    tmp_path: Path, suffix: str, how: Harm, inline: bool
) -> None:
    path = tmp_path / "team.db"

    error = asyncio.run(harmed(path, lambda path: how(beside(path, suffix)), inline=inline))

    assert f"team.db{suffix} was deleted or replaced while the system ran" in str(error)
    assert "all that was acknowledged has been saved in team.db" in str(error)
    assert notes_in(path) in {3, 4}


@pytest.mark.parametrize("inline", [False, True])
def test_a_database_that_was_moved_is_whole_when_it_is_put_back(tmp_path: Path, inline: bool) -> None:
    path, away = tmp_path / "team.db", tmp_path / "away.db"

    error = asyncio.run(harmed(path, lambda path: path.rename(away), inline=inline))

    assert "it was deleted or replaced while the system ran" in str(error)
    with pytest.raises(BackendDamaged, match="is missing"):
        asyncio.run(write(away, 0))
    for suffix in ("-wal", "-shm", "-owner"):
        beside(away, suffix).unlink(missing_ok=True)
    away.rename(path)
    assert notes_in(path) in {3, 4}


def test_a_folder_that_is_gone_ends_the_system(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    error = asyncio.run(harmed(folder / "team.db", lambda path: folder.rename(tmp_path / "away")))

    assert "it was deleted or replaced while the system ran" in str(error)
    assert notes_in(tmp_path / "away" / "team.db") in {3, 4}


def test_a_link_that_leads_elsewhere_ends_the_system(tmp_path: Path) -> None:
    path, link = tmp_path / "team.db", tmp_path / "link.db"
    link.symlink_to(path)

    def turn_away(link: Path) -> None:
        link.unlink()
        link.symlink_to(tmp_path / "other.db")

    error = asyncio.run(harmed(link, turn_away))

    assert "it was deleted or replaced while the system ran" in str(error)
    assert notes_in(path) in {3, 4}


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("rest", [0, 0.5])
def test_a_log_that_was_cut_ends_the_system_and_does_the_database_no_harm(
    tmp_path: Path, rest: float, inline: bool
) -> None:
    path = tmp_path / "team.db"

    def cut(path: Path) -> None:
        log = beside(path, "-wal")
        os.truncate(log, int(log.stat().st_size * rest))

    error = asyncio.run(harmed(path, cut, inline=inline))

    assert "team.db-wal was cut while the system ran" in str(error)
    with pytest.raises(BackendDamaged, match="of changes are missing, which had been acknowledged"):
        asyncio.run(write(path, 0))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_log_that_somebody_has_moved_into_the_database_is_no_loss(tmp_path: Path) -> None:
    path = tmp_path / "team.db"

    async def life() -> int:
        async with AgentManager(f"sqlite:///{path}") as manager:
            await manager.register(Book("book"))
            for _ in range(3):
                await manager.tell("book", Note("x"))
                with closing(sqlite3.connect(path)) as other:
                    other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return (await manager.ask("book", Count())).notes

    assert asyncio.run(life()) == 3


LIVING = """
    async def main():
        async with AgentManager(f"sqlite:///{path}") as manager:
            await manager.register(Book("book"))
            for number in range(3):
                await manager.tell("book", Note("x"))
            await manager.ask("book", Count())
            print("written", flush=True)
            for line in iter(sys.stdin.readline, ""):
                await manager.tell("book", Note("y"))
    asyncio.run(main())
"""


def living(path: Path) -> subprocess.Popen[str]:
    """Another process that has acknowledged three notes, and waits."""
    process = program(LIVING, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    return process


def killed(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_no_second_process_is_let_in_by_any_way_to_the_file(tmp_path: Path) -> None:
    path, other, folder = tmp_path / "team.db", tmp_path / "other.db", tmp_path / "folder"
    first = living(path)

    beside(path, "-owner").unlink()
    with pytest.raises(BackendBusy):
        asyncio.run(write(path, 1))
    other.hardlink_to(path)
    for name in (path, other):
        with pytest.raises(BackendError, match=r"has 2 names \(hard links\)"):
            asyncio.run(write(name, 1))
        with pytest.raises(BackendError, match=r"has 2 names \(hard links\)"), repairing(name):
            pass
    path.unlink()
    with pytest.raises(BackendBusy):
        asyncio.run(write(other, 1))
    folder.symlink_to(tmp_path)
    with pytest.raises(BackendBusy):
        asyncio.run(write(folder / "other.db", 1))
    _, errors = first.communicate("\n")

    assert "BackendFailed" in errors
    assert "it was deleted or replaced while the system ran" in errors


def test_one_process_is_not_let_in_twice_and_keeps_its_locks(tmp_path: Path) -> None:
    path, other = tmp_path / "team.db", tmp_path / "other.db"

    async def life() -> None:
        async with AgentManager(f"sqlite:///{path}") as manager:
            await manager.register(Book("book"))
            path.rename(other)
            with pytest.raises(BackendBusy):
                await AgentManager(f"sqlite:///{other}").start()
            other.rename(path)
            await manager.tell("book", Note("x"))
            probe = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('PRAGMA journal_mode=DELETE')"
            refused = await asyncio.to_thread(
                subprocess.run, ["python3", "-c", probe, str(path)], capture_output=True, text=True, check=False
            )
            assert "database is locked" in refused.stderr

    asyncio.run(life())
    assert notes_in(path) == 1


def test_a_killed_process_leaves_a_file_that_opens(tmp_path: Path) -> None:
    path = tmp_path / "team.db"
    killed(living(path))

    assert beside(path, "-wal").stat().st_size > 0
    assert notes_in(path) == 3


def test_a_killed_process_whose_log_somebody_has_moved_into_the_database_leaves_a_file_that_opens(
    tmp_path: Path,
) -> None:
    path = tmp_path / "team.db"
    killed(living(path))
    with closing(sqlite3.connect(path)) as other:
        other.execute("SELECT count(*) FROM mail").fetchall()

    assert not beside(path, "-wal").exists()
    assert notes_in(path) == 3


@pytest.mark.parametrize("gone", [("-wal",), ("-wal", "-shm"), ("-wal", "-owner"), ("-wal", "-shm", "-owner")])
def test_a_file_without_the_log_of_a_killed_process_is_refused(tmp_path: Path, gone: tuple[str, ...]) -> None:
    path = tmp_path / "team.db"
    killed(living(path))
    for suffix in gone:
        beside(path, suffix).unlink()

    with pytest.raises(BackendDamaged, match="missing"):
        asyncio.run(write(path, 0))
    with pytest.raises(BackendDamaged, match="missing"), repairing(path):
        pass
    (end,) = [finding for finding in check(path) if finding.name == "end"]
    assert not end.ok
    assert f"moot doctor {path} --accept" in end.text

    with repairing(path, accept=True) as held:
        held.accept()

    assert all(finding.ok for finding in check(path))
    assert notes_in(path) == 0


@pytest.mark.parametrize("when", ["running", "killed"])
def test_a_copy_of_the_database_alone_is_refused(tmp_path: Path, when: str) -> None:
    path, copy = tmp_path / "team.db", tmp_path / "copy.db"
    process = living(path)
    if when == "killed":
        killed(process)
    shutil.copyfile(path, copy)
    if when == "running":
        process.communicate("")

    with pytest.raises(BackendDamaged, match=r"copy\.db-wal is missing: the file was copied or moved without it"):
        asyncio.run(write(copy, 0))
    with pytest.raises(BackendDamaged):  # also after somebody has looked, which makes an empty log
        asyncio.run(write(copy, 0))
    assert notes_in(path) == 3


def test_a_copy_of_a_file_that_was_closed_opens(tmp_path: Path) -> None:
    path, copy = tmp_path / "team.db", tmp_path / "copy.db"
    living(path).communicate("")
    shutil.copyfile(path, copy)

    assert notes_in(copy) == 3


@pytest.mark.parametrize("inline", [False, True])
def test_a_life_in_which_nothing_happens_leaves_a_file_that_may_be_copied(tmp_path: Path, inline: bool) -> None:
    path, copy = tmp_path / "team.db", tmp_path / "copy.db"

    async def life() -> None:
        async with AgentManager(SqliteBackend(path, inline=inline)):
            pass

    asyncio.run(life())
    shutil.copyfile(path, copy)

    assert notes_in(copy) == 0


@pytest.mark.parametrize("how", ["backup", "VACUUM INTO"])
def test_a_copy_that_sqlite_makes_of_a_running_system_opens(tmp_path: Path, how: str) -> None:
    path, copy = tmp_path / "team.db", tmp_path / "copy.db"
    process = living(path)
    with closing(sqlite3.connect(path)) as source:
        if how == "backup":
            with closing(sqlite3.connect(copy)) as target:
                source.backup(target)
        else:
            source.execute(f"VACUUM INTO '{copy}'")
    process.communicate("")

    assert notes_in(copy) == 3
    assert notes_in(path) == 3


def test_what_a_tool_has_repaired_after_a_kill_may_be_copied_alone(tmp_path: Path) -> None:
    path, copy = tmp_path / "team.db", tmp_path / "copy.db"
    killed(living(path))
    with repairing(path) as held:
        held.vacuum()
    shutil.copyfile(path, copy)

    assert notes_in(copy) == 3


def test_a_file_that_another_process_has_written_to_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "team.db"

    def overtake(path: Path) -> None:
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("UPDATE meta SET value = value + 1 WHERE key = 'batch'")

    error = asyncio.run(harmed(path, overtake))

    assert "another process has written to it" in str(error)
    assert notes_in(path) == 3


def test_a_commit_that_says_it_failed_and_had_not_is_not_made_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "team.db"
    apply = Batch.apply
    lies = [True, True]

    def lying(batch: Batch, connection: sqlite3.Connection) -> None:
        apply(batch, connection)
        if batch.mail and lies:
            lies.pop()
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_FULL, "SQLITE_FULL"
            raise error

    monkeypatch.setattr(Batch, "apply", lying)
    assert asyncio.run(write(path, 5)).notes == 5
    assert lies == []
    assert notes_in(path) == 5
