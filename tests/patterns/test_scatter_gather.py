"""Scatter-gather: as many answers as are needed, or all that come; and who failed, and why."""

from __future__ import annotations

import asyncio

import pytest

from moot import Agent, AgentContext, AgentManager, AskTimeout, QuorumFailed, Request, handles
from moot.patterns.scatter_gather import Gathered, scatter_gather
from moot.testing import FakeContext


class Price(Request[int]):
    item: str


class Shop(Agent):
    capabilities = ("selling",)
    cancel_with_asker = True

    def __init__(self, agent_id: str, price: int, seconds: float = 0.0) -> None:
        super().__init__(agent_id)
        self.price = price
        self.seconds = seconds
        self.cancelled = 0

    @handles
    async def price_of(self, message: Price) -> int:
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.price < 0:
            raise ValueError("sold out")
        return self.price


class Compare(Request[Gathered[int]]):
    quorum: int | None = None


async def compare(message: Compare, ctx: AgentContext) -> Gathered[int]:
    return await scatter_gather(ctx, "capability:selling", Price("tea"), quorum=message.quorum, timeout=5)


async def ask(shops: list[Shop], quorum: int | None = None) -> Gathered[int]:
    async with AgentManager() as manager:
        for shop in shops:
            await manager.register(shop)
        await manager.register(compare)
        return await manager.ask("compare", Compare(quorum))


async def test_everybody_is_heard_out_and_failures_are_told() -> None:
    found = await ask([Shop("a", 3, 1.0), Shop("b", -1), Shop("c", 2), Shop("d", 1, 60.0)])

    assert found.answers == {"a": 3, "c": 2}
    assert "sold out" in found.failures["b"]
    assert "5 s" in found.failures["d"]


async def test_a_quorum_ends_the_wait_and_cancels_the_others() -> None:
    slow = Shop("d", 1, 60.0)
    began = asyncio.get_running_loop().time()

    found = await ask([Shop("a", 3, 1.0), Shop("b", -1), Shop("c", 2), slow], quorum=2)

    assert found == Gathered({"a": 3, "c": 2}, found.failures)
    assert "d" not in found.failures
    assert asyncio.get_running_loop().time() - began < 5
    assert slow.cancelled == 1


async def test_a_quorum_that_cannot_be_had_fails() -> None:
    context = FakeContext.of(message=Compare(), answers={"a": AskTimeout("a", "price", 5), "b": 2})

    with pytest.raises(QuorumFailed):
        await scatter_gather(context, ["a", "b"], Price("tea"), quorum=2)


async def test_a_plain_text_is_the_id_of_one_agent() -> None:
    context = FakeContext.of(answers={"selling": 1, "a": 2}, able={"selling": ["a"]})

    assert (await scatter_gather(context, "selling", Price("tea"))).answers == {"selling": 1}
    assert (await scatter_gather(context, "capability:selling", Price("tea"))).answers == {"a": 2}


@pytest.mark.parametrize(("to", "quorum"), [([], None), (["a"], 2), (["a"], 0), ("capability:flying", None)])
async def test_what_cannot_be_asked_is_refused(to: str | list[str], quorum: int | None) -> None:
    with pytest.raises(ValueError, match="answers cannot be had"):
        await scatter_gather(FakeContext.of(answers={"a": 1}), to, Price("tea"), quorum=quorum)
