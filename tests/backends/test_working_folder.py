"""A relative path means the folder in which the process worked when the path was first used, whatever it does later."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from moot import Agent, AgentManager, Payload, handles
from moot.backends.sqlite import SqliteBackend
from moot.backends.sqlite.inspection import inspecting
from moot.backends.sqlite.repair import repairing
from moot.engine.models.cache import cache_dir


class Note(Payload):
    text: str


class Book(Agent):
    def __init__(self, heard: list[str]) -> None:
        super().__init__("book")
        self.heard = heard

    @handles
    def on_note(self, message: Note) -> None:
        self.heard.append(message.text)


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[list[Path]]:
    """Three folders, of which the process works in the first."""
    before = Path.cwd()
    made = [tmp_path / name for name in ("first", "second", "third")]
    for folder in made:
        folder.mkdir()
    os.chdir(made[0])
    yield made
    os.chdir(before)


@pytest.mark.parametrize("inline", [False, True])
def test_a_system_stays_where_it_was_made(folders: list[Path], inline: bool) -> None:
    heard: list[str] = []

    async def life() -> None:
        manager = AgentManager(SqliteBackend(Path("team.db"), inline=inline) if inline else "sqlite:///team.db")
        os.chdir(folders[1])
        async with manager:
            await manager.register(Book(heard))
            await manager.tell("book", Note("one"))
            os.chdir(folders[2])
            for text in ("two", "three"):
                await manager.tell("book", Note(text))
            await manager.shared_state.set("key", "value")

    asyncio.run(life())

    assert heard == ["one", "two", "three"]
    assert [sorted(one.name for one in folder.iterdir()) for folder in folders] == [
        ["team.db", "team.db-owner"],
        [],
        [],
    ]


def test_a_path_that_leads_out_of_the_folder_and_a_linked_folder_stay_what_they_were(folders: list[Path]) -> None:
    first, second, third = folders
    (first / "link").symlink_to(second)
    managers = [AgentManager(f"sqlite:///{path}") for path in ("../third/a.db", "link/b.db")]
    os.chdir(third)

    async def lives() -> None:
        for manager in managers:
            async with manager:
                await manager.shared_state.set("key", "value")

    asyncio.run(lives())

    assert (third / "a.db").exists()
    assert (second / "b.db").exists()


def test_whoever_looks_or_repairs_stays_with_the_file(folders: list[Path]) -> None:
    async def life() -> None:
        async with AgentManager("sqlite:///team.db") as manager:
            await manager.shared_state.set("key", "value")

    asyncio.run(life())
    with inspecting(Path("team.db")) as inspection:
        os.chdir(folders[1])
        assert inspection.overview().bytes > 0
    os.chdir(folders[0])
    with repairing(Path("team.db")) as held:
        os.chdir(folders[1])
        held.prune(0, tombstones=True)
        held.vacuum()
    assert list(folders[1].iterdir()) == []


@pytest.mark.parametrize("variable", ["MOOT_CACHE_DIR", "XDG_CACHE_HOME"])
def test_the_cache_stays_where_it_was(folders: list[Path], variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOOT_CACHE_DIR", raising=False)
    monkeypatch.setenv(variable, f"cache-{variable}")
    before = cache_dir()
    os.chdir(folders[1])

    assert before.is_absolute()
    assert before.is_relative_to(folders[0])
    assert cache_dir() == before
