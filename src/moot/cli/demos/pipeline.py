"""`moot demo pipeline`: texts pass through three stages, and a chart shows which stage worked on which text, when."""

from __future__ import annotations

import asyncio

from moot import Agent, AgentContext, AgentManager, Request, handles
from moot.cli.demos import SEED, play
from moot.patterns.pipeline import PipelineAgent, RunPipeline, Stage

__all__ = ["pipeline"]

TEXTS = ["a moot is an assembly", "it meets", "it bargains and decides", "agents meet here", "and so do we"]


class Clean(Request[str]):
    text: str


class Split(Request[list[str]]):
    text: str


class Count(Request[int]):
    words: list[str]


class Worker(Agent):
    """Does its part of the work, and notes when it did: (begin, end), in seconds."""

    def __init__(self, agent_id: str, began: float) -> None:
        super().__init__(agent_id)
        self.worked: list[tuple[float, float]] = []
        self.began = began

    async def work(self, ctx: AgentContext) -> None:
        now = asyncio.get_running_loop().time
        begin = now()
        await asyncio.sleep(0.5 + ctx.random.random())
        self.worked.append((begin - self.began, now() - self.began))

    @handles
    async def clean(self, message: Clean, ctx: AgentContext) -> str:
        await self.work(ctx)
        return message.text.strip().lower()

    @handles
    async def split(self, message: Split, ctx: AgentContext) -> list[str]:
        await self.work(ctx)
        return message.text.split()

    @handles
    async def count(self, message: Count, ctx: AgentContext) -> int:
        await self.work(ctx)
        return len(message.words)


def chart(workers: list[Worker], width: int = 64) -> list[str]:
    """A line a stage; each text is shown by its number while that stage works on it."""
    end = max(until for worker in workers for _, until in worker.worked)
    lines = []
    for worker in workers:
        cells = ["·"] * width
        for number, (begin, until) in enumerate(worker.worked, 1):
            for cell in range(int(begin / end * width), max(int(begin / end * width) + 1, int(until / end * width))):
                cells[min(cell, width - 1)] = str(number)
        lines.append(f"{worker.id:<9}{''.join(cells)}")
    return lines


async def main(seed: int) -> None:
    workers = [Worker(name, asyncio.get_running_loop().time()) for name in ("cleaner", "splitter", "counter")]
    stages = [Stage("cleaner", Clean), Stage("splitter", Split), Stage("counter", Count)]
    async with AgentManager(seed=seed) as manager:
        for worker in workers:
            await manager.register(worker)
        await manager.register(PipelineAgent("line", stages))
        counts = await asyncio.gather(*(manager.ask("line", RunPipeline(text)) for text in TEXTS))
    print("\n".join(chart(workers)))
    spent = sum(until - begin for worker in workers for begin, until in worker.worked)
    took = max(until for worker in workers for _, until in worker.worked)
    print(f"\n{spent:.1f} s of work in {took:.1f} s")
    for text, count in zip(TEXTS, counts, strict=True):
        print(f"{count} words: {text}")


def pipeline(seed: SEED = 1) -> None:
    """Pass five texts through three stages, all at work at once."""
    play(main(seed))
