"""Timers keep their beat where the process stands still: what was missed is sent as the timer says, in no burst."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest

from moot import Agent, AgentContext, AgentManager, Payload, handles
from moot.testing import run


class Tick(Payload):
    text: str = "tick"


class Clockwork(Agent):
    def __init__(self, agent_id: str, ticks: list[float], options: dict[str, Any]) -> None:
        super().__init__(agent_id)
        self.ticks, self.options = ticks, options

    async def on_start(self, ctx: AgentContext) -> None:
        ctx.schedule(content=Tick(), **self.options)

    @handles
    def tick(self, message: Tick, ctx: AgentContext) -> None:
        self.ticks.append(round(asyncio.get_running_loop().time()))


@pytest.mark.parametrize(
    ("missed", "ticks"),
    [("once", [10, 55, 60, 70]), ("skip", [10, 60, 70]), ("all", [10, 55, 55, 55, 55, 60, 70])],
)
async def test_after_a_pause_the_missed_beats_are_sent_as_the_timer_says(
    missed: Literal["once", "skip", "all"], ticks: list[float]
) -> None:
    found: list[float] = []
    async with AgentManager() as manager:
        await manager.register(Clockwork("clock", found, {"delay": 10, "every": 10, "missed": missed}))
        await asyncio.sleep(15)
        asyncio.get_running_loop().jump(40)  # type: ignore[attr-defined]  # as a stopped process, or a blocked loop
        await asyncio.sleep(20)

    assert found == ticks


def test_a_repeating_timer_that_is_set_in_each_life_is_one_timer(tmp_path: Any) -> None:
    found: list[float] = []

    async def life(seconds: float) -> None:
        async with AgentManager(f"sqlite:///{tmp_path / 'team.db'}") as manager:
            await manager.register(Clockwork("clock", found, {"delay": 10, "every": 10}))
            found.clear()
            await asyncio.sleep(seconds)

    run(life(25))  # (the virtual clock of the next life begins anew, so the stored timer is due after 30 s)
    run(life(65))

    assert found == [30, 40, 50, 60]
