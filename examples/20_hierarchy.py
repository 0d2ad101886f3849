"""Hierarchy: a head of two managers of two workers each; one worker fails, and another does its part.

Prints: words: 24 · north_2 did 2, north_1 failed 1
"""

import asyncio
from collections import Counter

from moot import AgentContext, AgentManager
from moot.patterns.hierarchy import ManagerAgent, TaskRequest, WorkerAgent

TEXTS = [
    "a moot is an assembly that meets",
    "it bargains and it decides",
    "agents work for managers",
    "and managers for other managers, to any depth",
]


class CountWords(WorkerAgent):
    done: Counter[str] = Counter()
    failed: Counter[str] = Counter()

    def work(self, content: str, ctx: AgentContext) -> int:
        if self.id == "north_1":
            self.failed[self.id] += 1
            raise ValueError("it is snowing")
        self.done[self.id] += 1
        return len(content.split())


class Sum(ManagerAgent):
    def combine(self, task: list[str], results: list[int], ctx: AgentContext) -> int:
        return sum(results)


class Head(Sum):
    def split(self, task: list[str], ctx: AgentContext) -> list[list[str]]:
        return [task[:2], task[2:]]


async def main() -> None:
    async with AgentManager() as manager:
        for name in ("north_1", "north_2", "south_1", "south_2"):
            await manager.register(CountWords(name))
        await manager.register(Sum("north", ["north_1", "north_2"]))
        await manager.register(Sum("south", ["south_1", "south_2"]))
        await manager.register(Head("head", ["north", "south"]))

        print("words:", await manager.ask("head", TaskRequest(TEXTS)))
        print(f"north_2 did {CountWords.done['north_2']}, north_1 failed {CountWords.failed['north_1']}")


if __name__ == "__main__":
    asyncio.run(main())
