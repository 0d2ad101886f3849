"""The sidecar forgets nothing that the database does not know yet."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from moot import AgentManager
from moot.backends.errors import BackendBusy, BackendVersion
from moot.backends.sqlite.owner import Owner, holder


async def test_a_start_that_fails_forgets_no_attempt(tmp_path: Path) -> None:
    path = tmp_path / "team.db"
    async with AgentManager(f"sqlite:///{path}"):
        pass
    owner = Owner(path)
    owner.begin(7)
    owner.close()
    change(path, "PRAGMA user_version = 99")

    with pytest.raises(BackendVersion):
        await AgentManager(f"sqlite:///{path}").start()

    change(path, "PRAGMA user_version = 2")
    owner = Owner(path)
    assert owner.interrupted == [7]
    owner.counted()
    owner.close()
    after = Owner(path)
    assert after.interrupted == []
    after.close()


def test_who_holds_a_file_can_be_asked_without_holding_it(tmp_path: Path) -> None:
    path = tmp_path / "team.db"

    assert holder(path) is None
    owner = Owner(path)
    assert str(holder(path)).startswith("process ")
    with pytest.raises(BackendBusy):
        Owner(path)
    owner.close()
    assert holder(path) is None
    Owner(path).close()


def test_a_link_to_a_file_has_the_same_owner(tmp_path: Path) -> None:
    path, link = tmp_path / "team.db", tmp_path / "link.db"
    link.symlink_to(path)
    owner = Owner(path)

    assert holder(link) is not None
    with pytest.raises(BackendBusy):
        Owner(link)
    owner.close()


def change(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.close()
