"""Pipeline: texts pass through three agents, each of which works on another text at the same time.

Prints: 4 texts: [5, 2, 4, 3] words
"""

import asyncio

from moot import Agent, AgentManager, Request, handles
from moot.patterns.pipeline import PipelineAgent, RunPipeline, Stage


class Clean(Request[str]):
    text: str


class Split(Request[list[str]]):
    text: str


class Count(Request[int]):
    words: list[str]


class Cleaner(Agent):
    @handles
    async def clean(self, message: Clean) -> str:
        return message.text.strip().lower()


class Splitter(Agent):
    @handles
    async def split(self, message: Split) -> list[str]:
        return message.text.split()


class Counter(Agent):
    @handles
    async def count(self, message: Count) -> int:
        return len(message.words)


async def main() -> None:
    texts = [" A moot is an assembly ", "it meets", "it bargains and decides", "agents meet here"]
    async with AgentManager() as manager:
        for agent in (Cleaner("cleaner"), Splitter("splitter"), Counter("counter")):
            await manager.register(agent)
        line = [Stage("cleaner", Clean), Stage("splitter", Split), Stage("counter", Count)]
        await manager.register(PipelineAgent("line", line))

        counts = await asyncio.gather(*(manager.ask("line", RunPipeline(text)) for text in texts))
        print(f"{len(texts)} texts: {counts} words")


if __name__ == "__main__":
    asyncio.run(main())
