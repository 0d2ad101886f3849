"""A stop in a hurry, at the second Ctrl-C, keeps what is left: it is no dead letter, and nothing of it comes twice."""

from __future__ import annotations

import asyncio

from moot import Agent, AgentContext, AgentManager, Payload, handles
from moot.testing.simulation.backend import SimulatedBackend


class Note(Payload):
    text: str


class Worker(Agent):
    def __init__(self, agent_id: str, heard: list[str], *, hangs: bool) -> None:
        super().__init__(agent_id)
        self.heard = heard
        self.hangs = hangs

    @handles
    async def hear(self, message: Note, ctx: AgentContext) -> None:
        if message.text == "plan":
            ctx.schedule(100, Note("planned"))
        elif self.hangs:
            await asyncio.Event().wait()
        else:
            self.heard.append(message.text)


async def test_a_second_signal_while_a_stop_drains_loses_nothing() -> None:
    heard: list[str] = []
    disk = SimulatedBackend()
    first = AgentManager(disk)
    await first.register(Worker("worker", heard, hangs=True))
    await first.start()
    for text in ("plan", "under way", "waiting"):
        await first.tell("worker", Note(text))

    stopping = asyncio.ensure_future(first.stop(timeout=1000))
    await asyncio.sleep(1)
    assert first._keeper is not None
    await first._keeper.hurry(grace=0.0)
    await stopping
    second = AgentManager(disk)
    await second.register(Worker("worker", heard, hangs=False))
    async with second:
        await asyncio.sleep(200)

    assert heard == ["under way", "waiting", "planned"]
    assert not list(second.dead_letters)
