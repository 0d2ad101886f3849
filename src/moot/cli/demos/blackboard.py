"""`moot demo blackboard`: a sentence is understood from syllables that were misheard, in the manner of Hearsay-II."""

from __future__ import annotations

import random
from itertools import pairwise

from rich.console import Console
from rich.table import Table

from moot import AgentContext, AgentManager
from moot.cli.demos import SEED, play
from moot.patterns.blackboard import (
    BlackboardAgent,
    Entry,
    Hypothesis,
    Interest,
    KnowledgeSource,
    Limits,
    Solution,
    Solve,
)

__all__ = ["blackboard"]

LEVELS = ("syllable", "word", "phrase", "sentence")
SAID = ("a", "moot", "is", "an", "as", "sem", "bly")
HEARD_FOR = {"moot": ("moon", "mood"), "is": ("his",), "an": ("and",), "sem": ("sam",), "bly": ("blue",), "a": ("the",)}
LEXICON = ("a", "the", "moot", "moon", "mood", "is", "his", "an", "and", "as", "as-sem-bly", "blue", "sam")
GRAMMAR = {
    "a": ("moot", "moon"),
    "the": ("moon", "mood"),
    "moot": ("is",),
    "moon": ("is", "and"),
    "mood": ("is",),
    "is": ("an", "blue"),
    "his": ("mood",),
    "an": ("as-sem-bly",),
    "and": ("as",),
    "sam": ("blue",),
}
"""Which words may follow which."""


class Lexicon(KnowledgeSource):
    """Finds the words that begin with a syllable."""

    kind = "lexicon"
    interests = (Interest("syllable"),)

    async def contribute(self, entry: Entry, ctx: AgentContext) -> list[Hypothesis]:
        heard = {(one.content[0], one.content[1]): one.confidence for one in await self.read(ctx, "syllable")}
        at, found = entry.content[0], []
        for word in LEXICON:
            parts = [heard.get((at + n, part), 0.0) for n, part in enumerate(word.split("-"))]
            if word.split("-")[0] == entry.content[1] and all(parts):
                found.append(span("word", at, at + len(parts), [word], sum(parts) / len(parts)))
        return found


class Grammar(KnowledgeSource):
    """Joins two words that may follow each other."""

    kind = "grammar"
    interests = (Interest("word", priority=1),)

    async def contribute(self, entry: Entry, ctx: AgentContext) -> list[Hypothesis]:
        found = []
        for one in await self.read(ctx, "word"):
            for left, right in ((entry, one), (one, entry)):
                if left.content[1] == right.content[0] and right.content[2][0] in GRAMMAR.get(left.content[2][0], ()):
                    words = [*left.content[2], *right.content[2]]
                    confidence = (left.confidence + right.confidence) / 2
                    found.append(span("phrase", left.content[0], right.content[1], words, confidence))
        return found


class Joiner(KnowledgeSource):
    """Joins phrases of which one ends with the word that the other begins with; all of it is a sentence."""

    kind = "joiner"
    interests = (Interest("phrase", priority=2, confidence=0.5),)

    async def contribute(self, entry: Entry, ctx: AgentContext) -> list[Hypothesis]:
        found = []
        for one in await self.read(ctx, "phrase"):
            for left, right in ((entry, one), (one, entry)):
                words = left.content[2]
                shared = len(words[-1].split("-"))
                if words[-1] == right.content[2][0] and left.content[1] - shared == right.content[0]:
                    joined = [*words, *right.content[2][1:]]
                    whole = left.content[0] == 0 and right.content[1] == len(SAID)
                    confidence = min(left.confidence, right.confidence)
                    level = "sentence" if whole else "phrase"
                    found.append(span(level, left.content[0], right.content[1], joined, confidence))
        return found


def span(level: str, begin: int, end: int, words: list[str], confidence: float) -> Hypothesis:
    """Words that were heard from one syllable to another."""
    text = " ".join(words)
    return Hypothesis(level, f"{begin} {text}" if level != "syllable" else text, [begin, end, list(words)], confidence)


def hear(seed: int) -> tuple[Hypothesis, ...]:
    """What reaches the ear: each syllable, and what it may have been instead."""
    chance = random.Random(seed)
    heard = []
    for at, said in enumerate(SAID):
        heard.append(Hypothesis("syllable", f"syllable {at} {said}", [at, said], 0.6 + 0.3 * chance.random()))
        heard += [
            Hypothesis("syllable", f"syllable {at} {other}", [at, other], 0.3 + 0.5 * chance.random())
            for other in HEARD_FOR.get(said, ())
        ]
    return tuple(heard)


def show(solution: Solution) -> None:
    """The board by level, and who worked in what order."""
    table = Table(
        "level", "begins at", "hypothesis", "confidence", "by", title="The board, the best of each level first"
    )
    for level in reversed(LEVELS):
        entries = sorted((one for one in solution.entries if one.level == level), key=lambda one: -one.confidence)
        for entry in entries[:7]:
            what = entry.content[1] if level == "syllable" else " ".join(entry.content[2]).replace("-", "")
            table.add_row(level, str(entry.content[0]), what, f"{entry.confidence:.2f}", entry.author)
        if len(entries) > 7:
            table.add_row(level, "", f"… {len(entries) - 7} more", "", "")
        table.add_section()
    Console(width=100).print(table)
    kinds = [one.partition(":")[0] for one in solution.history]
    print("activations: " + "".join(kind[0].upper() for kind in kinds) + "   (Lexicon, Grammar, Joiner)")
    print(f"the control changed its mind {sum(one != other for one, other in pairwise(kinds))} times")
    heard = " ".join(solution.goal.content[2]).replace("-", "") if solution.goal is not None else "nothing"
    print(f"{solution.reason} after {len(kinds)} activations: {heard}")


async def main(seed: int) -> None:
    async with AgentManager(seed=seed) as manager:
        await manager.register(BlackboardAgent("board", LEVELS, limits=Limits(parallel=2)))
        for agent in (Lexicon("lexicon", "board"), Grammar("grammar", "board"), Joiner("joiner", "board")):
            await manager.register(agent)
        await manager.settle()
        show(await manager.ask("board", Solve("what was said", hear(seed))))


def blackboard(seed: SEED = 1) -> None:
    """Understand a sentence from syllables that were misheard."""
    play(main(seed))
