"""A program for other processes to simulate: a feeder sends numbers to a sink, which notes what it has seen."""

__all__ = ["FEEDING"]

FEEDING = """
import asyncio
from moot import Agent, AgentContext, Payload, handles

class Item(Payload):
    number: int

class Feeder(Agent):
    @handles
    async def item(self, message: Item, ctx: AgentContext) -> None:
        for number in range(message.number):
            ctx.send("sink", Item(number=number))

class Sink(Agent):
    def __init__(self, agent_id, seen):
        super().__init__(agent_id)
        self.seen = seen

    @handles
    def item(self, message: Item) -> None:
        self.seen.append(message.number)

async def fed(manager):
    seen = []
    await manager.register(Sink("sink", seen))
    await manager.register(Feeder("feeder"))
    await manager.tell("feeder", Item(number=10))
    return seen
"""
