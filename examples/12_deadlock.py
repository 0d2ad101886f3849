"""Three agents ask each other in a circle. It is found when it closes, and one of the asks fails; the others go on.

Prints: deadlock: alice -> bob -> carol -> alice
Prints: 2 of 3 were answered
"""

import asyncio

from moot import Agent, AgentContext, AgentManager, DeadlockError, Payload, Request, handles


class Meet(Payload):
    """Ask your neighbour for the time."""


class WhatTime(Request[str]):
    """Answered by whoever is not busy asking."""


class Neighbour(Agent):
    def __init__(self, agent_id: str, neighbour: str, doors: asyncio.Barrier) -> None:
        super().__init__(agent_id)
        self.neighbour = neighbour
        self.doors = doors
        self.answer: str | None = None

    @handles
    async def meet(self, message: Meet, ctx: AgentContext) -> None:
        await self.doors.wait()  # all of them are busy now
        try:
            self.answer = await ctx.ask(self.neighbour, WhatTime(), timeout=30)
        except DeadlockError as error:
            start = error.cycle.index("alice")
            cycle = (*error.cycle[start:], *error.cycle[:start], "alice")
            print(f"deadlock: {' -> '.join(cycle)}")

    @handles
    async def what_time(self, message: WhatTime) -> str:
        return "noon"


async def main() -> None:
    doors = asyncio.Barrier(3)
    names = ["alice", "bob", "carol"]
    agents = [Neighbour(name, names[(place + 1) % 3], doors) for place, name in enumerate(names)]
    async with AgentManager() as manager:
        for agent in agents:
            await manager.register(agent)
        for name in names:
            await manager.tell(name, Meet())
        await manager.settle()  # takes no half minute
    print(f"{sum(agent.answer == 'noon' for agent in agents)} of 3 were answered")


asyncio.run(main())
