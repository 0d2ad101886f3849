"""An agent that cannot start has never come: what is stored for it waits for the next one of its id.

Its ``on_start`` may fail, or whoever registers it may be cancelled meanwhile: by Ctrl-C, by a timeout. Neither may cost
what was accepted for it in an earlier life.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moot import Agent, AgentContext, AgentManager, Payload, Request, handles
from moot.backends.base import Backend
from moot.backends.sqlite import SqliteBackend
from moot.errors import AgentStopped
from moot.testing import SimulatedBackend
from moot.testing.virtual_loop import run


class Note(Payload):
    number: int


class Plan(Payload):
    pass


class Question(Request[int]):
    pass


class Heard(msgspec.Struct, frozen=True):
    numbers: tuple[int, ...] = ()


class Hearer(Agent[Heard]):
    def __init__(self, agent_id: str, *, fails: str = "") -> None:
        super().__init__(agent_id)
        self.fails = fails
        self.is_stopped = False

    async def on_start(self, ctx: AgentContext[Heard]) -> None:
        if self.fails == "raises":
            raise ConnectionError("no network")
        if self.fails == "hangs":
            await asyncio.sleep(1000)

    async def on_stop(self, ctx: AgentContext[Heard]) -> None:
        self.is_stopped = True

    @handles
    async def plan(self, message: Plan, ctx: AgentContext[Heard]) -> None:
        ctx.schedule(100, Note(9))
        ctx.state = Heard((0,))

    @handles
    async def note(self, message: Note, ctx: AgentContext[Heard]) -> None:
        if self.fails == "hears nothing":
            await asyncio.sleep(1000)
        ctx.state = Heard((*ctx.state.numbers, message.number))

    @handles
    async def question(self, message: Question, ctx: AgentContext[Heard]) -> int:
        return len(ctx.state.numbers)


Disk = Callable[[], Backend]
"""Gives the backend of the next life."""


@pytest.fixture(params=["simulated", "sqlite"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    simulated = SimulatedBackend()
    if request.param == "simulated":
        return lambda: simulated
    return lambda: SqliteBackend(tmp_path / "team.db", inline=True)


async def first_life(disk: Disk) -> None:
    """A life that leaves a state, a timer and two messages."""
    async with AgentManager(disk()) as manager:
        await manager.register(Hearer("hearer", fails="hears nothing"))
        await manager.tell("hearer", Plan())
        await manager.settle()
        manager.tell_nowait("hearer", Note(1))
        manager.tell_nowait("hearer", Note(2))
        await manager.stop(drain=False)


async def fail(manager: AgentManager, how: str) -> Hearer:
    """Register an agent that does not get to its end."""
    agent = Hearer("hearer", fails=how)
    with pytest.raises((ConnectionError, TimeoutError)):
        async with asyncio.timeout(1):
            await manager.register(agent)
    return agent


def state_of(manager: AgentManager) -> Any:
    assert manager._system is not None
    return manager._system.directory.cells["hearer"].state


@pytest.mark.parametrize("how", ["raises", "hangs"])
async def test_the_next_agent_of_its_id_in_the_same_life_has_all(disk: Disk, how: str) -> None:
    await first_life(disk)

    async with AgentManager(disk()) as manager:
        agent = await fail(manager, how)
        await manager.register(Hearer("hearer"))
        await manager.settle()
        await asyncio.sleep(200)
        state = state_of(manager)

    assert state == Heard((0, 1, 2, 9))
    assert not agent.is_stopped
    assert not list(manager.dead_letters)


@pytest.mark.parametrize("how", ["raises", "hangs"])
async def test_the_next_life_has_all_and_what_came_meanwhile(disk: Disk, how: str) -> None:
    await first_life(disk)

    async with AgentManager(disk()) as manager:
        failing = asyncio.ensure_future(fail(manager, how))
        await asyncio.sleep(0.5 if how == "hangs" else 0)
        if how == "hangs":
            await manager.tell("hearer", Note(3))
            asking = asyncio.ensure_future(manager.ask("hearer", Question(), timeout=500))
        await failing
        if how == "hangs":
            with pytest.raises(AgentStopped):
                await asking
    async with AgentManager(disk()) as manager:
        await manager.register(Hearer("hearer"))
        await manager.settle()
        await asyncio.sleep(200)
        state = state_of(manager)

    assert state == Heard((0, 1, 2, *([3] if how == "hangs" else []), 9))
    assert [letter.message.message_type for letter in manager.dead_letters] == ["question"] * (how == "hangs")


def test_ctrl_c_while_an_agent_starts_keeps_all(disk: Disk) -> None:
    async def interrupted() -> None:
        await first_life(disk)
        manager = AgentManager(disk())

        async def body() -> None:
            async with manager:
                await manager.register(Hearer("hearer", fails="hangs"))

        task = asyncio.ensure_future(body())
        await asyncio.sleep(5)
        task.cancel()
        before = asyncio.get_running_loop().time()
        await asyncio.wait({task})
        assert asyncio.get_running_loop().time() - before < 5

    async def next_life() -> Any:
        async with AgentManager(disk()) as manager:
            await manager.register(Hearer("hearer"))
            await manager.settle()
            assert not list(manager.dead_letters)
            return state_of(manager)

    async def both() -> Any:
        await interrupted()
        return await next_life()

    assert run(both()) == Heard((0, 1, 2))


async def test_in_memory_mail_of_an_agent_that_could_not_start_is_a_dead_letter() -> None:
    async with AgentManager() as manager:
        failing = asyncio.ensure_future(fail(manager, "hangs"))
        await asyncio.sleep(0.5)
        await manager.tell("hearer", Note(3))
        await failing
        assert [letter.reason for letter in manager.dead_letters] == ["stopped"]
        await manager.register(Hearer("hearer"))
        assert await manager.ask("hearer", Question()) == 0
