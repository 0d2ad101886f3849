"""Shared state without locks: no update is lost, and no pair of writers decides on what the other has changed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from moot import Agent, AgentContext, AgentManager, Payload, SharedState, handles
from moot.state import Access

WRITERS = 8
ACCOUNTS = 4
TRANSFERS = 25


class Transfer(Payload):
    source: str
    target: str
    amount: int


class Teller(Agent):
    @handles
    async def transfer(self, message: Transfer, ctx: AgentContext) -> None:
        state = ctx.shared_state
        source, target = await state.get(message.source), await state.get(message.target)
        await asyncio.sleep(ctx.random.choice((0, 0.001, 0.01)))  # others come between
        await state.set(message.source, source - message.amount)
        if message.source != message.target:
            await state.set(message.target, target + message.amount)


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'bank.db'}"


def pairs(writer: int) -> list[tuple[str, str, int]]:
    """The transfers of one writer."""
    return [
        (f"account/{(writer + number) % ACCOUNTS}", f"account/{(writer * 3 + number * 7 + 1) % ACCOUNTS}", number + 1)
        for number in range(TRANSFERS)
    ]


def expected() -> dict[str, int]:
    """The balances after all transfers, in whatever order."""
    balances = {f"account/{number}": 1000 for number in range(ACCOUNTS)}
    for writer in range(WRITERS):
        for source, target, amount in pairs(writer):
            if source == target:
                balances[source] -= amount
            else:
                balances[source] -= amount
                balances[target] += amount
    return balances


async def balances(state: SharedState) -> dict[str, int]:
    return {key: await state.get(key) for key in await state.keys("account/")}


async def test_eight_tellers_lose_no_update(url: str) -> None:
    async with AgentManager(url, seed=7) as manager:
        for number in range(ACCOUNTS):
            await manager.shared_state.set(f"account/{number}", 1000)
        await manager.register(Teller, WRITERS)
        for writer in range(WRITERS):
            for transfer in pairs(writer):
                await manager.tell(f"teller_{writer + 1}", Transfer(*transfer))
        await manager.settle()

        assert await balances(manager.shared_state) == expected()
        assert not len(manager.dead_letters)
    if url != "memory://":
        async with AgentManager(url) as manager:
            assert await balances(manager.shared_state) == expected()


async def test_eight_callers_from_outside_lose_no_update(url: str) -> None:
    async with AgentManager(url) as manager:
        state = manager.shared_state
        for number in range(ACCOUNTS):
            await state.set(f"account/{number}", 1000)

        async def run(writer: int) -> None:
            for source, target, amount in pairs(writer):

                async def move(
                    access: Access, source: str = source, target: str = target, amount: int = amount
                ) -> None:
                    taken, given = await access.get(source), await access.get(target)
                    await asyncio.sleep(0)
                    await access.set(source, taken - amount)
                    if source != target:
                        await access.set(target, given + amount)

                await state.transact(move)

        await asyncio.gather(*(run(writer) for writer in range(WRITERS)))

        assert await balances(state) == expected()


class GoOffCall(Payload):
    """A doctor goes home if another stays: each reads both and writes one, so no two writes collide."""

    doctor: str


class Doctor(Agent):
    @handles
    async def go(self, message: GoOffCall, ctx: AgentContext) -> None:
        on_call = [key for key in await ctx.shared_state.keys("on_call/") if await ctx.shared_state.get(key)]
        await asyncio.sleep(0.01)
        if len(on_call) > 1:
            await ctx.shared_state.set(f"on_call/{message.doctor}", value=False)


async def test_write_skew_is_refused(url: str) -> None:
    async with AgentManager(url) as manager:
        for doctor in ("ada", "bob"):
            await manager.shared_state.set(f"on_call/{doctor}", value=True)
            await manager.register(Doctor(doctor))
        await asyncio.gather(*(manager.tell(doctor, GoOffCall(doctor)) for doctor in ("ada", "bob")))
        await manager.settle()

        staying = [await manager.shared_state.get(f"on_call/{doctor}") for doctor in ("ada", "bob")]
        assert sorted(staying) == [False, True]


async def test_a_key_that_appears_in_a_listing_is_a_conflict(url: str) -> None:
    async with AgentManager(url) as manager:
        state = manager.shared_state
        runs = 0

        async def count(access: Access) -> Any:
            nonlocal runs
            runs += 1
            found = await access.keys("task/")
            if runs == 1:
                await state.set("task/new", 1)  # another comes between
            await access.set("count", len(found))

        await state.transact(count)

        assert (runs, await state.get("count")) == (2, 1)


async def test_changes_can_be_watched_across_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    async with AgentManager(url) as manager:
        for number in range(5):
            await manager.shared_state.set("key", number)
        await manager.shared_state.delete("key")
        watching = manager.shared_state.watch(after=0)
        seen = [await anext(watching) for _ in range(2)]
    async with AgentManager(url) as manager:
        await manager.shared_state.set("key", "new")
        watching = manager.shared_state.watch(after=seen[-1].revision)
        later = [await anext(watching) for _ in range(5)]

    assert [change.value for change in (*seen, *later)] == [0, 1, 2, 3, 4, None, "new"]
    assert [change.version for change in (*seen, *later)] == [1, 2, 3, 4, 5, 6, 7]


async def test_the_log_of_changes_is_kept_in_check(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "state.db"
    async with AgentManager(f"sqlite:///{path}") as manager:
        state = manager.shared_state

        async def many(access: Access) -> None:
            for number in range(12_500):
                await access.set(f"key {number}", number)

        await state.transact(many)
        for number in range(600):
            await state.set("key", number)
    connection = sqlite3.connect(path)
    (rows,) = connection.execute("SELECT count(*) FROM shared_log").fetchone()
    connection.close()

    assert 10_000 <= rows <= 11_000
