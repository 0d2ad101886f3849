"""Whatever is opened has an owner that closes it, also when what it was opened for fails.

Connections to databases are counted after every test (`conftest.py`); Python warns of files, sockets and processes, and
a warning is an error here.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from moot import AgentManager
from moot.backends.sqlite.owner import holder
from moot.cli.app import drain
from moot.testing import ScriptedEngine


class Unclosable(ScriptedEngine):
    async def close(self) -> None:
        raise ConnectionError("its server does not let go")


def test_a_manager_whose_parts_cannot_be_made_lets_go_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "team.db"

    async def start() -> None:
        with pytest.raises(ValueError, match="watchdog"):
            await AgentManager(f"sqlite:///{path}", watchdog=0).start()

    asyncio.run(start())

    assert holder(path) is None
    assert _threads() == []


def test_a_manager_that_cannot_read_what_was_kept_lets_go_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "team.db"

    async def twice() -> None:
        async with AgentManager(f"sqlite:///{path}"):
            pass
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("INSERT INTO agent VALUES (1, 'worker')")
            connection.execute("INSERT INTO dead VALUES (1, 1, x'00')")
        with pytest.raises(Exception, match="Expected"):
            await AgentManager(f"sqlite:///{path}").start()

    asyncio.run(twice())

    assert holder(path) is None
    assert _threads() == []


async def test_an_engine_that_cannot_be_closed_does_not_keep_the_file(tmp_path: Path) -> None:
    path = tmp_path / "team.db"
    manager = AgentManager(f"sqlite:///{path}", engine=Unclosable())
    manager._owns_engine = True  # as one that was named has
    await manager.start()

    with pytest.raises(ConnectionError):
        await manager.stop()

    assert holder(path) is None


def test_a_stream_that_nobody_reads_is_let_go_with_nothing_left_open() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        stream.write("a line that is still buffered")
        before = _lowest_free()

        assert isinstance(drain(stream), BrokenPipeError)

        assert _lowest_free() <= before


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("moot")]


def _lowest_free() -> int:
    """The number that the next file would get."""
    number = os.open(os.devnull, os.O_RDONLY)
    os.close(number)
    return number
