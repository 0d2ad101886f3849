"""Admission: which parts of a question go to the team, and which the sources do not speak of.

Each part passes the coverage gate on its own, so that one that can be answered
does not carry one that cannot. A subject, or a question for a survey, meets a
lower threshold, and the report says that it is an overview.
"""

from __future__ import annotations

from typing import NamedTuple

from moot.teams.research.messages import Topic
from moot.teams.research.retrieval.gate import OVERVIEW_THRESHOLD, THRESHOLD, passes
from moot.teams.research.retrieval.question import is_overview, split_question
from moot.teams.research.retrieval.rank import rank_sentences
from moot.teams.research.retrieval.reader import find
from moot.teams.research.sources.index import PassageIndex
from moot.teams.research.values import Note

__all__ = ["Admission", "admit"]

_MOST_PARTS = 6
_FIRST = 4


class Admission(NamedTuple):
    """The parts that the sources speak of and those that they do not, with the stems that no passage has.

    ``coverage`` is the best part's share of words found in one passage; ``notes`` are first quotes, found without
    a model.
    """

    parts: tuple[str, ...]
    refused: tuple[str, ...]
    coverage: float
    missing: tuple[str, ...]
    is_overview: bool = False
    notes: tuple[Note, ...] = ()


def admit(index: PassageIndex, question: str) -> Admission:
    """Judge each part of the question; parts beyond the sixth are refused."""
    parts = split_question(question)
    admitted: list[str] = []
    refused = list(parts[_MOST_PARTS:])
    missing: list[str] = []
    notes: list[Note] = []
    coverage = 0.0
    for number, part in enumerate(parts[:_MOST_PARTS]):
        query, hits = find(index, Topic(number, part))
        gate = passes(query, hits, threshold=OVERVIEW_THRESHOLD if is_overview(part) else THRESHOLD)
        if gate.is_open:
            admitted.append(part)
            notes += rank_sentences(query, hits, limit=_FIRST, topic=number)
        else:
            refused.append(part)
        missing += () if gate.is_open else gate.missing
        coverage = max(coverage, gate.coverage)
    overview = any(is_overview(part) for part in admitted)
    return Admission(tuple(admitted), tuple(refused), coverage, tuple(missing), overview, tuple(notes))
