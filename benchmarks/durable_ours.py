"""Durable turns of Moot: agents that each send themselves the next message and count it in their state.

``durable_ours.py AGENTS SECONDS [BUSY]``: with BUSY (0 to 1) the event loop is kept busy for that share of the time.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from moot import Agent, AgentContext, AgentManager, Payload, handles


class Step(Payload):
    number: int
    text: str


class Count(msgspec.Struct, frozen=True):
    turns: int = 0
    total: int = 0


class Walker(Agent[Count]):
    goes_on = True

    @handles
    async def step(self, message: Step, ctx: AgentContext[Count]) -> None:
        state = ctx.state
        ctx.state = Count(state.turns + 1, state.total + message.number)
        if Walker.goes_on:
            ctx.send(self.id, Step(message.number + 1, message.text))


async def keep_busy(share: float) -> None:
    """Use the loop for ``share`` of the time, a millisecond at once."""
    while Walker.goes_on:
        until = time.perf_counter() + 0.001
        while time.perf_counter() < until:
            pass
        await asyncio.sleep(0.001 * (1 - share) / share)


async def main(agents: int, seconds: float, busy: float) -> None:
    with tempfile.TemporaryDirectory(prefix=".durable-", dir=".") as folder:
        async with AgentManager(f"sqlite:///{Path(folder).absolute()}/team.db") as manager:
            for number in range(agents):
                await manager.register(Walker(f"walker_{number}"))
            for number in range(agents):
                await manager.tell(f"walker_{number}", Step(0, "hello"))
            asyncio.get_running_loop().call_later(seconds, setattr, Walker, "goes_on", False)
            if busy:
                loading = asyncio.ensure_future(keep_busy(busy))
            before, wall, cpu = manager.stats().turns, time.perf_counter(), time.process_time()
            while Walker.goes_on:
                await asyncio.sleep(0.01)
            await manager.settle()  # all of it is on the disk
            turns = manager.stats().turns - before
            taken, used = time.perf_counter() - wall, time.process_time() - cpu
            if busy:
                await loading
    print(json.dumps({"turns_s": turns / taken, "cpu_us": used / turns * 1e6}))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0.0))
