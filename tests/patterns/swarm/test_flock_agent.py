"""One agent holds a flock: each tick is applied once, and a flock on disk goes on where it was, to the bit."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from moot import AgentManager, TurnError
from moot.patterns.swarm import Advance, AdvanceTo, Boids, Box, Flock, FlockAgent, GetFlock
from moot.patterns.swarm.flock_agent import MAX_BOIDS, MAX_STEPS

RULES = Boids(noise=0.2)


def agent() -> FlockAgent:
    return FlockAgent("flock", 50, RULES, box=Box.cube(4.0, 3), seed=4, engine="kdtree")


def flown(ticks: int) -> Flock:
    return Flock(50, RULES, box=Box.cube(4.0, 3), seed=4, engine="kdtree").step(ticks)


async def test_a_flock_advances_by_messages_and_to_a_tick_only_once() -> None:
    async with AgentManager() as manager:
        await manager.register(agent())

        ticks = [(await manager.ask("flock", message)).tick for message in (AdvanceTo(7), AdvanceTo(7), AdvanceTo(3))]
        report = await manager.ask("flock", Advance(5))

        assert ticks == [7, 7, 7]
        assert (report.tick, report.order) == (12, flown(12).order())
        assert await manager.ask("flock", GetFlock()) == flown(12).state()


async def test_messages_at_once_are_applied_each_once() -> None:
    async with AgentManager() as manager:
        await manager.register(agent())

        await asyncio.gather(*(manager.ask("flock", Advance()) for _ in range(10)))

        assert await manager.ask("flock", GetFlock()) == flown(10).state()


def test_a_flock_on_disk_goes_on_in_another_life(tmp_path: Path) -> None:
    async def life(tick: int) -> object:
        async with AgentManager(f"sqlite:///{tmp_path}/flock.db") as manager:
            await manager.register(agent())
            await manager.tell("flock", AdvanceTo(tick), message_id=f"to {tick}")
            await manager.tell("flock", Advance(), message_id="once in all lives")
            return await manager.ask("flock", GetFlock())

    for tick in (5, 5, 9):
        state = asyncio.run(life(tick))

    assert state == flown(9).state()


async def test_more_than_a_turn_should_do_is_refused() -> None:
    with pytest.raises(ValueError, match=f"up to {MAX_BOIDS} boids"):
        FlockAgent("flock", MAX_BOIDS + 1)

    async with AgentManager() as manager:
        await manager.register(agent())
        with pytest.raises(TurnError, match=f"up to {MAX_STEPS} ticks"):
            await manager.ask("flock", AdvanceTo(MAX_STEPS + 1))
