"""Deferred replies: an agent that owes many answers at once and waits for none of them.

`ctx.defer()` returns a `ReplyTo` that can be kept; sending to it in a later turn answers the ask.
Prints: 100 orders served while the kitchen was busy
"""

import asyncio

from moot import Agent, AgentContext, AgentManager, Payload, ReplyTo, Request, handles


class Order(Request[str]):
    dish: str


class Cook(Payload):
    number: int
    dish: str


class Cooked(Payload):
    number: int
    dish: str


class Waiter(Agent):
    """Takes every order at once; a handler that awaited the kitchen could serve one guest at a time."""

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.open_orders: dict[int, ReplyTo] = {}

    @handles
    async def order(self, message: Order, ctx: AgentContext) -> None:
        number = len(self.open_orders) + 1
        self.open_orders[number] = ctx.defer()
        ctx.send("kitchen", Cook(number=number, dish=message.dish))

    @handles
    async def serve(self, message: Cooked, ctx: AgentContext) -> None:
        ctx.send(self.open_orders[message.number], f"{message.dish}, order {message.number}")


class Kitchen(Agent):
    @handles
    async def cook(self, message: Cook, ctx: AgentContext) -> None:
        await asyncio.sleep(0)  # the stove
        ctx.send("waiter", Cooked(number=message.number, dish=message.dish))


async def main() -> None:
    async with AgentManager() as manager:
        await manager.register(Waiter("waiter"))
        await manager.register(Kitchen("kitchen"))
        asks = [manager.ask("waiter", Order(dish="soup"), timeout=5) for _ in range(100)]
        served = await asyncio.gather(*asks)
        print(len(served), "orders served; the last:", served[-1])


if __name__ == "__main__":
    asyncio.run(main())
