"""`moot demo hierarchy`: a tree of managers counts primes, while workers fail, hang and are replaced."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from moot import Agent, AgentContext, AgentManager
from moot.cli.demos import SEED, play
from moot.patterns.hierarchy import Delegation, ManagerAgent, PullingWorker, TaskRequest, WorkerAgent, WorkPool

__all__ = ["hierarchy"]

SPAN, PARTS = 10_000, 4
HOW = Delegation(timeout=5, attempts=5)


class Done:
    """What the workers did, by worker: parts counted, failed, and left hanging."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.hung: Counter[str] = Counter()

    async def count(self, content: Any, ctx: AgentContext, moods: tuple[float, float]) -> int:
        """Count the primes in [first, last), unless in the mood to fail or to hang."""
        await asyncio.sleep(0.2 + ctx.random.random())
        mood = ctx.random.random()
        if mood < moods[0]:
            self.failed[ctx.agent_id] += 1
            raise ValueError("out of ideas")
        if mood < sum(moods):
            self.hung[ctx.agent_id] += 1
            await asyncio.sleep(1000)
        first, last = content
        self.counted[ctx.agent_id] += 1
        return sum(n > 1 and all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(first, last))


class Counting(WorkerAgent):
    def __init__(self, agent_id: str, done: Done, fails: float = 0.0, hangs: float = 0.0) -> None:
        super().__init__(agent_id)
        self.done = done
        self.moods = (fails, hangs)

    async def work(self, content: Any, ctx: AgentContext) -> int:
        return await self.done.count(content, ctx, self.moods)


class Pulling(PullingWorker):
    def __init__(self, agent_id: str, done: Done) -> None:
        super().__init__(agent_id, "pool", credit=2)
        self.done = done

    async def work(self, content: Any, ctx: AgentContext) -> int:
        return await self.done.count(content, ctx, (0.0, 0.0))


class Adding(ManagerAgent):
    """Splits [first, last) and adds up what its workers count."""

    def split(self, task: Any, ctx: AgentContext) -> list[list[int]]:
        first, last = task
        step = (last - first) // PARTS
        return [[first + n * step, first + (n + 1) * step] for n in range(PARTS)]

    def combine(self, task: Any, results: list[int], ctx: AgentContext) -> int:
        return sum(results)


def tree(done: Done) -> list[tuple[str, list[Agent[Any]]]]:
    """The managers under the head, with their workers."""
    return [
        ("solid", [Counting(f"solid_{n}", done) for n in range(3)]),
        ("moody", [Counting(f"moody_{n}", done, fails=0.4) for n in range(3)]),
        ("sleepy", [Counting("sleepy_0", done, hangs=0.7), Counting("sleepy_1", done, hangs=0.1)]),
        ("pooled", [Pulling(f"puller_{n}", done) for n in range(2)]),
    ]


async def main(seed: int) -> None:
    done = Done()
    async with AgentManager(seed=seed) as manager:
        for name, workers in tree(done):
            if name == "pooled":
                await manager.register(WorkPool("pool"))
            for worker in workers:
                await manager.register(worker)
            below = ["pool"] if name == "pooled" else [worker.id for worker in workers]
            await manager.register(Adding(name, below, HOW))
        await manager.register(Adding("head", [name for name, _ in tree(done)], Delegation(timeout=60)))
        began = asyncio.get_running_loop().time()
        primes = await manager.ask("head", TaskRequest([0, SPAN]), timeout=120)
        took = asyncio.get_running_loop().time() - began
        await manager.settle()
    print("head")
    for name, workers in tree(done):
        print(f"├─ {name}{'  (a pool that its workers pull from)' if name == 'pooled' else ''}")
        for worker in workers:
            told = [f"{done.counted[worker.id]} counted"]
            told += [f"{done.failed[worker.id]} failed"] if done.failed[worker.id] else []
            told += [f"{done.hung[worker.id]} hung"] if done.hung[worker.id] else []
            print(f"│   ├─ {worker.id:<10} {', '.join(told)}")
    lost = done.failed.total() + done.hung.total()
    print(f"\n{primes} primes below {SPAN:,}: {PARTS * PARTS} parts, {lost} given to another, in {took:.1f} s")


def hierarchy(seed: SEED = 1) -> None:
    """Count primes with a tree of managers whose workers fail, hang and pull."""
    play(main(seed))  # failures are shown in the tree
