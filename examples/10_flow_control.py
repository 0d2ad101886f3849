"""Flow control: a flood at a slow agent, under each overflow policy, and in batches.

What is lost is a dead letter, so handled and lost always add up.
Prints: block: 100 handled, 0 lost, then 10 handled, 90 lost for each other policy, and 100 messages in 4 batches
"""

import asyncio

from moot import Agent, AgentContext, AgentManager, BatchPolicy, MailboxPolicy, Payload, handles
from moot.policies import Overflow

FLOOD = 100


class Tick(Payload):
    symbol: str
    price: int


class Market(Agent):
    """Sends the whole flood in one turn."""

    @handles
    async def opened(self, message: Tick, ctx: AgentContext) -> None:
        for price in range(FLOOD):
            ctx.send("board", Tick(symbol="ABCDE"[price % 5], price=price), priority=price % 3)


class Board(Agent):
    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.shown: list[int] = []

    @handles
    async def show(self, message: Tick) -> None:
        await asyncio.sleep(0.001)  # slow, compared with the market
        self.shown.append(message.price)


class Ledger(Agent):
    batches = 0

    @handles(batch=BatchPolicy(max_size=25))
    async def book(self, messages: list[Tick]) -> None:
        self.batches += 1


def symbol(tick: Tick) -> str:
    return tick.symbol


async def flood(overflow: Overflow) -> None:
    async with AgentManager() as manager:
        board = Board("board")
        policy = MailboxPolicy(10, overflow, key=symbol if overflow == "coalesce" else None)
        await manager.register(board, mailbox=policy)
        await manager.register(Market("market"))
        await manager.tell("market", Tick(symbol="", price=0))
        await manager.settle()
        lost = sum(manager.dead_letters.counts.values())
        print(f"{overflow}: {len(board.shown)} handled, {lost} lost; the last price shown is {board.shown[-1]}")


async def main() -> None:
    policies: list[Overflow] = ["block", "fail", "drop_newest", "drop_oldest", "drop_lowest", "coalesce"]
    for overflow in policies:
        await flood(overflow)
    async with AgentManager() as manager:
        ledger = Ledger("board")
        await manager.register(ledger)
        await manager.register(Market("market"))
        await manager.tell("market", Tick(symbol="", price=0))
        await manager.settle()
        print(f"{FLOOD} messages in {ledger.batches} batches")


if __name__ == "__main__":
    asyncio.run(main())
