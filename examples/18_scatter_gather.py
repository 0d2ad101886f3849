"""Scatter-gather: five shops are asked for a price at once; three answers are enough, and one shop never answers.

Prints: 3 answers, the best 40 from shop_1
"""

import asyncio

from moot import Agent, AgentContext, AgentManager, Request, handles
from moot.patterns.scatter_gather import Gathered, scatter_gather


class Price(Request[int]):
    item: str


class Compare(Request[Gathered[int]]):
    item: str


class Shop(Agent):
    capabilities = ("selling",)
    cancel_with_asker = True

    @handles
    async def price(self, message: Price) -> int:
        number = int(self.id.rpartition("_")[2])
        await asyncio.sleep(3600 if number == 5 else number / 100)
        return 30 + 10 * number


async def compare(message: Compare, ctx: AgentContext) -> Gathered[int]:
    return await scatter_gather(ctx, "capability:selling", Price(message.item), quorum=3)


async def main() -> None:
    async with AgentManager() as manager:
        await manager.register(Shop, 5)
        await manager.register(compare)

        found = await manager.ask("compare", Compare("tea"))
        shop, price = min(found.answers.items(), key=lambda one: one[1])
        print(f"{len(found.answers)} answers, the best {price} from {shop}")


if __name__ == "__main__":
    asyncio.run(main())
