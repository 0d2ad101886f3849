"""`moot demo map_reduce`: words are counted by workers of whom some are no good; a chart shows who did what, when."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import msgspec

from moot import Agent, AgentContext, AgentManager, handles
from moot.cli.demos import SEED, play
from moot.patterns.map_reduce import Job, MapPart, MapReduceAgent, Reduced, ReduceKey, RunMapReduce

__all__ = ["map_reduce"]

WORDS = "agent moot message turn ask tell bargain decide meet vote debate team".split()
PARTS = 24
WIDTH = 72
MARKS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Span(msgspec.Struct, frozen=True):
    """A task at work: which, from when to when, and whether it was of use."""

    mark: str
    begin: float
    end: float
    is_done: bool


class Worker(Agent):
    """Counts, slowly or fast; some crash, some hang. It notes what it did when."""

    capabilities = ("counting",)
    cancel_with_asker = True

    def __init__(self, agent_id: str, pace: float, began: float) -> None:
        super().__init__(agent_id)
        self.pace = pace
        self.began = began
        self.spans: list[Span] = []

    @handles
    async def count(self, message: MapPart, ctx: AgentContext) -> Any:
        return await self.work(MARKS[message.number], [(word, 1) for word in message.part], ctx)

    @handles
    async def total(self, message: ReduceKey, ctx: AgentContext) -> Any:
        return await self.work("+", sum(message.values), ctx)

    async def work(self, mark: str, answer: Any, ctx: AgentContext) -> Any:
        now = asyncio.get_running_loop().time
        begin = now()
        is_done = False
        try:
            await asyncio.sleep(self.pace * (0.5 + ctx.random.random()))
            if self.id.startswith("crashes"):
                raise RuntimeError("out of paper")
            is_done = True
        finally:
            self.spans.append(Span(mark, begin - self.began, now() - self.began, is_done))
        return answer


def chart(worker: Worker, end: float) -> str:
    """The tasks of a worker over time: each by its mark, one that came to nothing as crosses, sums as ``+``."""
    cells = ["·"] * WIDTH
    for span in worker.spans:
        first, last = (min(WIDTH - 1, int(time / end * WIDTH)) for time in (span.begin, span.end))
        for cell in range(first, max(first + 1, last)):
            cells[cell] = span.mark if span.is_done else "×"
    return "".join(cells)


def told(workers: list[Worker], texts: list[list[str]], reduced: Reduced) -> None:
    end = max(span.end for worker in workers for span in worker.spans)
    for worker in workers:
        print(f"{worker.id:<10}{chart(worker, end)}{reduced.work.get(worker.id, 0):>4} done")
    print(f"{'':10}0 s{f'{end:.1f} s':>{WIDTH - 3}}\n")
    most = max(reduced.values.values())
    for word, number in sorted(reduced.values.items(), key=lambda item: (-item[1], item[0])):
        print(f"{word:<10}{'█' * round(40 * number / most)} {number}")
    is_right = reduced.values == Counter(word for text in texts for word in text)
    print(f"\n{sum(reduced.values.values())} words; {reduced.retried} attempts in vain; ", end="")
    print("the count is that of one careful worker" if is_right else "THE COUNT IS WRONG")


async def main(seed: int) -> None:
    choice = random.Random(seed)
    texts = [choice.choices(WORDS, weights=range(len(WORDS), 0, -1), k=60) for _ in range(PARTS)]
    began = asyncio.get_running_loop().time()
    paces = {"fast": 0.4, "steady_1": 1.0, "steady_2": 1.0, "slow": 2.0, "crashes": 0.2, "hangs": 1000.0}
    workers = [Worker(name, pace, began) for name, pace in paces.items()]
    async with AgentManager(seed=seed) as manager:
        for worker in workers:
            await manager.register(worker)
        job = Job("capability:counting", "capability:counting", combine=lambda word, ones: sum(ones), timeout=4.0)
        await manager.register(MapReduceAgent("job", job))
        reduced = await manager.ask("job", RunMapReduce(list(texts)), timeout=1000)
    told(workers, texts, reduced)


def map_reduce(seed: SEED = 1) -> None:
    """Count words with six workers, of whom one crashes and one hangs."""
    play(main(seed))  # what fails is shown in the chart
