"""The analyst: one list of notes without repetitions, where sources agree or differ, and what is still missing.

What the first reading did not cover is asked for once more, from the same
readers; then the gap is reported instead. All of it is done by rules: a small
model asked whether two sentences contradict each other says yes to everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from moot.agent.agent import Agent
from moot.agent.context import AgentContext
from moot.agent.handlers import handles
from moot.teams.research.evidence.differences import differences
from moot.teams.research.messages import Analyse, Analysis, Board, Progress, Reading, ReadTopic, Topic
from moot.teams.research.retrieval.question import ask_words, make_query
from moot.teams.research.text.sameness import repeats
from moot.teams.research.text.stems import stems
from moot.teams.research.values import Difference, Note

__all__ = ["AnalystAgent", "Pile", "boards_of", "gaps", "merge"]

_BOARD_NOTES = 6
_WORTH = 0.5
_WAIT = 600.0


class Pile(NamedTuple):
    """All notes on one topic, best first."""

    topic: Topic
    notes: tuple[Note, ...]


class AnalystAgent(Agent):
    """Answers `Analyse`."""

    capabilities = ("analysis",)

    @handles
    async def analyse(self, request: Analyse, ctx: AgentContext) -> Analysis:
        """Merge the readings, read once more for the gaps, and prepare the boards."""
        readings = list(request.readings)
        more = [
            (reader, reading.topic, missing)
            for reader, reading in zip(request.readers, readings, strict=False)
            if (missing := gaps(reading))
        ]
        if more:
            await ctx.progress(request.watcher, Progress(agent=self.id, text="reads again for what is missing"))
            readings += await ctx.gather(
                [
                    ctx.ask(reader, ReadTopic(topic=topic, words=missing, limit=3), timeout=_WAIT)
                    for reader, topic, missing in more
                ]
            )
        notes = merge(readings)
        piles = [
            Pile(first.topic, merge([reading for reading in readings if reading.topic.number == first.topic.number]))
            for first in request.readings
        ]
        analysis = Analysis(
            notes=notes,
            boards=boards_of(piles, request.boards),
            differences=_differences(piles),
            missing=_missing(piles),
        )
        text = f"{len(notes)} notes from {len({note.path for note in notes})} sources"
        if analysis.differences:
            text += f", {len(analysis.differences)} place(s) where they differ"
        await ctx.progress(
            request.watcher, Progress(agent=self.id, text=text, notes=notes, differences=analysis.differences)
        )
        return analysis


def merge(readings: Sequence[Reading]) -> tuple[Note, ...]:
    """All notes, best first; of two that say the same in the same words the better one, unless another file says it."""
    kept: list[Note] = []
    for note in sorted((note for reading in readings for note in reading.notes), key=lambda note: -note.score):
        if not any(note.path == known.path and repeats(note.quote, known.quote) for known in kept):
            kept.append(note)
    return tuple(kept)


def gaps(reading: Reading) -> tuple[str, ...]:
    """Stems of the topic that none of its notes has, though the sources may."""
    have = {word for note in reading.notes for word in stems(f"{note.quote} {note.frame}")}
    return tuple(word for word in ask_words(reading.topic.question) if word not in have)


def boards_of(piles: Sequence[Pile], limit: int) -> tuple[Board, ...]:
    """One board for each topic with its best notes; then, up to ``limit``, one for each further source worth it."""
    boards: list[Board] = []
    further: list[Board] = []
    for pile in piles:
        if not pile.notes:
            continue
        main = _board(pile.topic, pile.notes)
        boards.append(main)
        used = {note.path for note in main.notes}
        groups: dict[str, list[Note]] = {}
        for note in pile.notes:
            if note.path not in used and note.score >= _WORTH * main.notes[0].score:
                groups.setdefault(note.path, []).append(note)
        further += [_board(pile.topic, group) for group in groups.values()]
    return tuple(boards + further[: max(0, limit - len(boards))])


def _board(topic: Topic, notes: Sequence[Note]) -> Board:
    chosen: list[Note] = []
    echoes: list[Note] = []
    for note in notes:
        if any(repeats(note.quote, known.quote) for known in chosen):
            echoes.append(note)
        elif len(chosen) < _BOARD_NOTES:
            chosen.append(note)
    return Board(topic, tuple(chosen), tuple(echoes))


def _differences(piles: Sequence[Pile]) -> tuple[Difference, ...]:
    found = {
        frozenset(difference.notes): difference
        for pile in piles
        for difference in differences(make_query(pile.topic.question, _unit_weight), pile.notes)
    }
    return tuple(found.values())


def _missing(piles: Sequence[Pile]) -> tuple[str, ...]:
    have = {word for pile in piles for note in pile.notes for word in stems(f"{note.quote} {note.frame}")}
    wanted = dict.fromkeys(word for pile in piles for word in ask_words(pile.topic.question))
    return tuple(word for word in wanted if word not in have)


def _unit_weight(_: str) -> float:
    return 1.0
