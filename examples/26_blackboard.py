"""Blackboard: two kinds of sources make a word of its fragments, each telling the others only through the board.

Prints: solved: assembly, of em, as, bly, s
Prints: 4 fragments, and more candidates than words
"""

import asyncio

from moot import AgentContext, AgentManager
from moot.patterns.blackboard import BlackboardAgent, Entry, Hypothesis, Interest, KnowledgeSource, Solve

WORDS = {"assembly", "assess", "embassy", "moot"}


class Joiner(KnowledgeSource):
    """Puts fragments and candidates together, if a word could begin so."""

    interests = (Interest("fragment"), Interest("candidate", priority=1))

    async def contribute(self, entry: Entry, ctx: AgentContext) -> list[Hypothesis]:
        found: list[Hypothesis] = []
        for one in await self.read(ctx, "fragment"):
            of = entry.of or (entry.key,)
            text = entry.content + one.content
            if one.key not in of and any(word.startswith(text) for word in WORDS):
                found.append(Hypothesis("candidate", text, text, confidence=len(text) / 10, of=(*of, one.key)))
        return found


class Dictionary(KnowledgeSource):
    """Knows which candidates are words that use every fragment."""

    interests = (Interest("candidate", priority=2),)

    async def contribute(self, entry: Entry, ctx: AgentContext) -> list[Hypothesis]:
        fragments = await self.read(ctx, "fragment")
        is_word = entry.content in WORDS and len(entry.of) == len(fragments)
        return [Hypothesis("word", f"word {entry.key}", entry.content, of=entry.of)] if is_word else []


async def main() -> None:
    async with AgentManager() as manager:
        await manager.register(BlackboardAgent("board", levels=("fragment", "candidate", "word")))
        await manager.register(Joiner("joiner", "board"))
        await manager.register(Dictionary("dictionary", "board"))

        fragments = tuple(Hypothesis("fragment", text, text) for text in ("em", "as", "bly", "s"))
        solution = await manager.ask("board", Solve("a word", fragments))
        if solution.goal is not None:
            print(f"{solution.reason}: {solution.goal.content}, of {', '.join(text.key for text in fragments)}")
        counts = [
            sum(entry.level == level for entry in solution.entries) for level in ("fragment", "candidate", "word")
        ]
        print(f"{counts[0]} fragments, and {'more' if counts[1] > counts[2] else 'no more'} candidates than words")


if __name__ == "__main__":
    asyncio.run(main())
