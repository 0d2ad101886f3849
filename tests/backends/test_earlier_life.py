"""A file of an earlier version opens and goes on: mail, turns, timers, states, records, letters, shared keys, ids.

``data/earlier_life.db`` was written by a process that killed itself in the middle of a turn: `earlier_life`.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from moot import Agent, AgentContext, AgentManager, Reason, handles
from tests.backends.earlier_life import Add, Clerk, Count, Hold, Keeper, Ledger, Release, Say, Total, Work

WRITTEN = Path(__file__).parent / "data/earlier_life.db"


class Absent(Agent):
    def __init__(self) -> None:
        super().__init__("absent")
        self.amounts: list[int] = []

    @handles
    async def add(self, message: Add, ctx: AgentContext) -> None:
        self.amounts.append(message.amount)


class Life:
    """The second life of the file's agents."""

    def __init__(self, manager: AgentManager) -> None:
        self.manager = manager
        self.ledger, self.keeper, self.absent = Ledger(), Keeper("keeper"), Absent()
        self.clerk, self.waiting = Clerk("clerk"), Clerk("waiting")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A copy, whose ids were given just now: they are remembered for a week."""
    copy = Path(shutil.copy(WRITTEN, tmp_path / "copy.db"))
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE given SET at = ?", (time.time(),))
    return copy


@asynccontextmanager
async def second_life(file: Path) -> AsyncIterator[Life]:
    async with AgentManager(f"sqlite:///{file}") as manager:
        life = Life(manager)
        for agent in (life.ledger, life.keeper, life.absent, life.clerk, life.waiting):
            await manager.register(agent)
        yield life


async def ended(life: Life) -> None:
    """All has gone on: the timer that came due, and the turn that waits for the keeper."""
    while (await life.manager.ask("ledger", Count())) != 1003:  # noqa: ASYNC110 - a timer of the file's
        await asyncio.sleep(0)
    await life.manager.tell("keeper", Release())
    await life.manager.settle()


def test_states_and_timers_go_on(file: Path) -> None:
    async def main() -> None:
        async with second_life(file) as life:
            await ended(life)

        async with second_life(file) as life:  # the timer of later did not come due, and is still there
            assert await life.manager.ask("ledger", Count()) == 1003
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("SELECT count(*) FROM timer").fetchone() == (1,)

    asyncio.run(main())


def test_the_turn_under_way_is_run_again_with_its_records_and_the_mail_behind_it_follows(file: Path) -> None:
    async def main() -> None:
        async with second_life(file) as life:
            await life.manager.ask("clerk", Say(text="last"))

            assert life.clerk.done == [3, "left in the mailbox", "left there, too", "with an id", "hello", "last"]
            assert life.clerk.stamped == []  # recorded in the first life
            assert life.ledger.counted == 0
            assert life.absent.amounts == [7]
            await ended(life)

    asyncio.run(main())


def test_ids_given_from_outside_are_known(file: Path) -> None:
    async def main() -> None:
        async with second_life(file) as life:
            for amount in (1, 2):
                await life.manager.tell("ledger", Add(amount=amount), message_id=f"add {amount}")
            await life.manager.tell("clerk", Work(name="with an id"), message_id="left")
            await ended(life)

            assert await life.manager.ask("ledger", Count(), message_id="counted") == 3
            assert await life.manager.ask("clerk", Say(text="hello"), message_id="said") == "hello!"
            assert life.clerk.done.count("with an id") == life.clerk.done.count("hello") == 1

    asyncio.run(main())


def test_asks_that_were_deferred_find_who_asks_again(file: Path) -> None:
    async def main() -> None:
        async with second_life(file) as life:
            outside = life.manager.ask("keeper", Hold(label="outside"), message_id="held")
            asking = asyncio.ensure_future(life.manager.gather([outside]))
            await ended(life)

            assert await asking == ["outside, at last"]
            assert life.waiting.done == ["clerk, at last"]

    asyncio.run(main())


def test_dead_letters_and_shared_keys_are_there(file: Path) -> None:
    async def main() -> None:
        async with second_life(file) as life:
            manager = life.manager
            (letter,) = manager.dead_letters

            assert letter.reason is Reason.FAILED
            assert letter.error == "ValueError: cannot enter 'unreadable'"
            colour = await manager.shared_state.read("colour")
            assert (colour.value, colour.version) == ({"name": "green"}, 2)
            assert await manager.shared_state.keys() == ["colour"]

            await manager.requeue(letter.id)
            await ended(life)

            (again,) = manager.dead_letters
            assert again.id != letter.id
            assert again.message.causation == letter.message.id

    asyncio.run(main())


def test_it_holds_what_the_tests_say(file: Path) -> None:
    with closing(sqlite3.connect(WRITTEN)) as connection:
        rows = {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("mail", "state", "record", "timer", "given", "dead", "shared")
        }

    assert rows == {"mail": 7, "state": 2, "record": 2, "timer": 2, "given": 7, "dead": 1, "shared": 2}
    assert Total(3).amount == 3
