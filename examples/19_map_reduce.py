"""Map-reduce: words are counted by four workers, of whom one crashes and one hangs, and the count is right.

A task that fails goes to a worker that has not tried it; each counts once.
Prints: {'agents': 2, 'and': 2, 'bargain': 2, 'decide': 1, 'meet': 3}
"""

import asyncio
from typing import Any

from moot import Agent, AgentManager, handles
from moot.patterns.map_reduce import Job, MapPart, MapReduceAgent, ReduceKey, RunMapReduce

TEXTS = ["agents meet", "agents bargain and meet", "meet and bargain", "decide"]


class Counter(Agent):
    capabilities = ("counting",)
    cancel_with_asker = True

    @handles
    async def count(self, message: MapPart) -> Any:
        if self.id == "crashing":
            raise RuntimeError("out of paper")
        if self.id == "hanging":
            await asyncio.sleep(1000)
        return [(word, 1) for word in message.part.split()]


class Summer(Agent):
    @handles
    async def total(self, message: ReduceKey) -> int:
        return sum(message.values)


async def main() -> None:
    async with AgentManager() as manager:
        for name in ("crashing", "hanging", "ann", "ben"):
            await manager.register(Counter(name))
        await manager.register(Summer("summer"))
        await manager.register(MapReduceAgent("counts", Job("capability:counting", "summer", timeout=0.2)))

        reduced = await manager.ask("counts", RunMapReduce(TEXTS))
        print(reduced.values)
        print("done by:", ", ".join(reduced.work), "- attempts in vain:", reduced.retried)


if __name__ == "__main__":
    asyncio.run(main())
