"""Shared state: versioned keys without locks.

A turn reads and writes in its handler; both are validated when it commits, and a turn that lost the race runs again.
Prints: 20 deposits by 4 tellers: balance 200
"""

import asyncio

from moot import Agent, AgentContext, AgentManager, InMemorySharedState, Payload, handles


class Deposit(Payload):
    amount: int


class Teller(Agent):
    @handles
    async def deposit(self, message: Deposit, ctx: AgentContext) -> None:
        balance = await ctx.shared_state.get("balance", 0)
        await asyncio.sleep(0)  # the others run in between, and still nothing is lost
        await ctx.shared_state.set("balance", balance + message.amount)


async def main() -> None:
    state = InMemorySharedState()
    async with AgentManager(shared_state=state) as manager:
        for number in range(4):
            await manager.register(Teller(f"teller_{number}"))
        for deposit in range(20):
            await manager.tell(f"teller_{deposit % 4}", Deposit(amount=10))
        await manager.settle()

    found = await state.read("balance")
    print(f"20 deposits by 4 tellers: balance {found.value}, version {found.version}")


if __name__ == "__main__":
    asyncio.run(main())
