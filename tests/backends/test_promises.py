"""Single promises of a durable system, each with the moment at which it is hardest to keep."""

from __future__ import annotations

import asyncio

from moot import Agent, AgentContext, AgentManager, Payload, Request, handles
from moot.testing.simulated_backend import SimulatedBackend


class Start(Payload):
    pass


class Charge(Request[int]):
    pass


class Asker(Agent):
    @handles
    async def start(self, message: Start, ctx: AgentContext) -> None:
        await ctx.ask("capability:charging", Charge())


class Charger(Agent):
    capabilities = ("charging",)

    def __init__(self, agent_id: str, charged: list[str], disk: SimulatedBackend) -> None:
        super().__init__(agent_id)
        self.charged = charged
        self.disk = disk

    @handles
    async def charge(self, message: Charge, ctx: AgentContext) -> int:
        first = not self.charged
        await ctx.effect("charge", self.charged.append)
        if first:
            self.disk.fail()
            await asyncio.Event().wait()
        return len(self.charged)


async def test_whoever_was_asked_by_capability_is_asked_again_in_the_next_life() -> None:
    charged: list[str] = []
    disk = SimulatedBackend()

    async def begin(*others: str) -> AgentManager:
        manager = AgentManager(disk)
        await manager.register(Asker("asker"))
        for name in others:
            await manager.register(Charger(name, charged, disk))
        await manager.start()
        return manager

    first = await begin("one", "two", "three")
    telling = asyncio.ensure_future(first.tell("asker", Start()))
    await asyncio.sleep(1)
    await asyncio.gather(telling, return_exceptions=True)
    await first.stop(drain=False)
    second = await begin("three", "one", "two")  # whose turn it would be is another matter now
    await second.settle()
    await second.stop()

    assert len(charged) == 1
    assert not disk.image.records
