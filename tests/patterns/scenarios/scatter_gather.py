"""Five shops are asked for a price; three answers are enough, and one shop never answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from moot import Agent, AgentContext, Request, handles
from moot.patterns.scatter_gather import scatter_gather
from tests.patterns.suite import CLIENT, Begin


class Price(Request[int]):
    item: str


class Shop(Agent):
    capabilities = ("selling",)
    cancel_with_asker = True

    @handles
    async def price(self, message: Price) -> int:
        number = int(self.id.rpartition("_")[2])
        if number == 0:
            await asyncio.sleep(1000)
        return 10 * number


class Client(Agent):
    @handles
    async def begin(self, message: Begin, ctx: AgentContext) -> None:
        found = await scatter_gather(ctx, "capability:selling", Price("tea"), quorum=3, timeout=20)
        await ctx.shared_state.set("outcome", found.answers)


def agents() -> Sequence[Agent[Any]]:
    return [*(Shop(f"shop_{number}") for number in range(5)), Client(CLIENT)]


def judge(state: dict[str, Any]) -> list[str]:
    prices: dict[str, int] = state["outcome"]
    wrong = [f"{shop} said {price}" for shop, price in prices.items() if shop != f"shop_{price // 10}" or not price]
    return wrong if len(prices) >= 3 else [*wrong, f"{len(prices)} answers instead of 3"]
