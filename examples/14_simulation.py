"""A bug found by simulation: money is lost between two asks, in one of many thousand orders; the seed replays it.

Prints: seed 6 breaks: 190 of 200 · it takes 1 fault: drop@teller>bob#1 · one turn for both: 100 seeds hold
"""

from __future__ import annotations

import contextlib

from moot import Agent, AgentContext, DeliveryError, Payload, Request, handles
from moot.testing import Faults, SimulatedManager, search


class Change(Request[int]):
    amount: int


class Balance(Request[int]):
    pass


class Move(Payload):
    amount: int


class Account(Agent[int]):
    def initial_state(self) -> int:
        return 100

    @handles
    async def change(self, message: Change, ctx: AgentContext[int]) -> int:
        ctx.state += message.amount
        return ctx.state

    @handles
    async def balance(self, message: Balance, ctx: AgentContext[int]) -> int:
        return ctx.state


class Teller(Agent):
    @handles
    async def move(self, message: Move, ctx: AgentContext) -> None:
        with contextlib.suppress(DeliveryError):
            await ctx.ask("ada", Change(amount=-message.amount), timeout=5)
            await ctx.ask("bob", Change(amount=message.amount), timeout=5)  # who says that it arrives?


class CarefulTeller(Agent):
    @handles
    async def move(self, message: Move, ctx: AgentContext) -> None:
        for name, amount in (("ada", -message.amount), ("bob", message.amount)):
            await ctx.shared_state.set(name, await ctx.shared_state.get(name, 100) + amount)


async def bank(manager: SimulatedManager) -> None:
    for agent in (Account("ada"), Account("bob"), Teller("teller")):
        await manager.register(agent)
    await manager.tell("teller", Move(amount=10))
    await manager.settle()
    total = await manager.ask("ada", Balance()) + await manager.ask("bob", Balance())
    assert total == 200, f"{total} of 200"


async def careful_bank(manager: SimulatedManager) -> None:
    await manager.register(CarefulTeller("teller"))
    await manager.tell("teller", Move(amount=10))
    await manager.settle()
    assert sum([await manager.shared_state.get(name, 100) for name in ("ada", "bob")]) == 200


def main() -> None:
    faults = Faults(drop=0.01, delay=0.1)
    broken = search(bank, seeds=range(1000), faults=faults).shrunk
    assert broken is not None
    print(f"seed {broken.seed} breaks: {broken.error}\nit takes {len(broken.struck)} fault: {broken.struck[0]}")
    print(f"one turn for both: {search(careful_bank, seeds=range(100), faults=faults).check().seeds} seeds hold")


main()
