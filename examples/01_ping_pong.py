"""Ping-pong: two agents, and a rally that each turn continues.

`ctx.send` takes effect when the handler returns, so a turn that fails sends nothing.
Prints: ping 1, pong 1, ping 2, pong 2, ping 3, pong 3
"""

import asyncio

from moot import Agent, AgentContext, AgentManager, Payload, handles

RALLY = 3


class Ping(Payload):
    number: int


class Pong(Payload):
    number: int


class Pinger(Agent):
    @handles
    async def serve(self, message: Ping, ctx: AgentContext) -> None:
        print("ping", message.number)
        ctx.send("ponger", Pong(number=message.number))

    @handles
    async def play_on(self, message: Pong, ctx: AgentContext) -> None:
        if message.number < RALLY:
            ctx.send(self.id, Ping(number=message.number + 1))


class Ponger(Agent):
    @handles
    async def answer(self, message: Pong, ctx: AgentContext) -> None:
        print("pong", message.number)
        ctx.send("pinger", message)


async def main() -> None:
    async with AgentManager() as manager:
        await manager.register(Pinger("pinger"))
        await manager.register(Ponger("ponger"))
        await manager.tell("pinger", Ping(number=1))
        await manager.settle()  # until nothing is left to do


if __name__ == "__main__":
    asyncio.run(main())
