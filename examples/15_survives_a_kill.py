"""A system that is killed in the middle of its work and goes on: nothing lost, nothing twice, no effect repeated.

Prints: first life: killed by signal 9 · sold 6 of 6 · paid, once each: 0 1 2 3 4 5
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from moot import Agent, AgentContext, AgentManager, Payload, Request, handles

ORDERS = 6


class Order(Payload):
    number: int


class Sold(Request[int]):
    """How many orders were paid for."""


class Till(msgspec.Struct, frozen=True):
    sold: int = 0


class Shop(Agent[Till]):
    def __init__(self, agent_id: str, folder: str, *, is_deadly: bool) -> None:
        super().__init__(agent_id)
        self.ledger = Path(folder) / "ledger"
        self.is_deadly = is_deadly

    @handles
    async def order(self, message: Order, ctx: AgentContext[Till]) -> None:
        await ctx.effect("pay", lambda key: self.pay(message.number))
        if self.is_deadly and message.number == 2:
            os.kill(os.getpid(), signal.SIGKILL)  # the payment is made, the turn is not over
        ctx.state = Till(ctx.state.sold + 1)

    def pay(self, number: int) -> bool:
        """What must not happen twice: outside of the system, where nothing can be rolled back."""
        with self.ledger.open("a") as ledger:
            ledger.write(f"{number} ")
        return True

    @handles
    async def sold(self, message: Sold, ctx: AgentContext[Till]) -> int:
        return ctx.state.sold


async def life(folder: str, *, is_deadly: bool) -> None:
    """One life of the process; the first ends in the middle."""
    async with AgentManager(f"sqlite:///{folder}/shop.db") as manager:
        await manager.register(Shop("shop", folder, is_deadly=is_deadly))
        for number in range(ORDERS):
            await manager.tell("shop", Order(number), message_id=f"order {number}")
        print(f"sold {await manager.ask('shop', Sold())} of {ORDERS}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(life(sys.argv[1], is_deadly=True))
    with tempfile.TemporaryDirectory() as place:
        killed = subprocess.run([sys.executable, __file__, place], check=False)
        print(f"first life: killed by signal {-killed.returncode}")
        asyncio.run(life(place, is_deadly=False))
        print("paid, once each:", Path(place, "ledger").read_text())
