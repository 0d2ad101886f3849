"""Coverage: whether the sources speak of a question, decided before any model is called.

Asked anyway, small models invent an answer and cite something for it. The coverage of a question is the best passage's
idf-weighted share of the question's words. The thresholds were chosen on a corpus of 40,000 passages (25 answerable
questions: lowest .63; 14 unanswerable: highest .60 but for one), and checked on small ones.

Each part of a question is judged on its own. So a part that can be answered does not carry one that cannot. A subject,
or a question for a survey, meets a lower threshold, and the report says that it is an overview.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from moot.teams.research.messages import Topic
from moot.teams.research.retrieval.find import find
from moot.teams.research.retrieval.question import Query, is_overview, split_question
from moot.teams.research.retrieval.rank import rank_sentences
from moot.teams.research.sources.index import Hit, PassageIndex
from moot.teams.research.text.stems import stems
from moot.teams.research.values import Note

__all__ = ["Coverage", "CoveredParts", "coverage_of", "covered_parts"]

_THRESHOLD = 0.62
_OVERVIEW_THRESHOLD = 0.40
_BEST = 8
_MOST_PARTS = 6
_FIRST = 4


class Coverage(NamedTuple):
    """How much of a question the best passage has (``share``), and whether that is enough to try an answer.

    ``missing`` are the question's stems that none of the best passages has.
    """

    is_enough: bool
    share: float
    missing: tuple[str, ...]


class CoveredParts(NamedTuple):
    """The parts of a question that the sources speak of, and those that they do not (``refused``).

    ``coverage`` is the best part's share, ``missing`` are the stems of refused parts that no passage has; ``notes`` are
    first quotes, found without a model.
    """

    parts: tuple[str, ...]
    refused: tuple[str, ...]
    coverage: float
    missing: tuple[str, ...]
    is_overview: bool = False
    notes: tuple[Note, ...] = ()


def covered_parts(index: PassageIndex, question: str) -> CoveredParts:
    """Judge each part of the question; parts beyond the sixth are refused."""
    parts = split_question(question)
    covered: list[str] = []
    refused = list(parts[_MOST_PARTS:])
    missing: list[str] = []
    notes: list[Note] = []
    best = 0.0
    for number, part in enumerate(parts[:_MOST_PARTS]):
        query, hits = find(index, Topic(number, part))
        coverage = coverage_of(query, hits, threshold=_OVERVIEW_THRESHOLD if is_overview(part) else _THRESHOLD)
        if coverage.is_enough:
            covered.append(part)
            notes += rank_sentences(query, hits, limit=_FIRST, topic=number)
        else:
            refused.append(part)
            missing += coverage.missing
        best = max(best, coverage.share)
    overview = any(is_overview(part) for part in covered)
    return CoveredParts(tuple(covered), tuple(refused), best, tuple(missing), overview, tuple(notes))


def coverage_of(query: Query, hits: Iterable[Hit], *, threshold: float = _THRESHOLD) -> Coverage:
    """Judge a question by the best passages found for it."""
    best = 0.0
    seen: set[str] = set()
    for hit in list(hits)[:_BEST]:
        words = set(stems(f"{hit.passage.frame} {hit.passage.text}"))
        own = sum(query.weights[word] for word in query.own if word in words) / query.total
        best = max(best, own)
        seen |= words
    missing = tuple(word for word in query.own if word not in seen)
    return Coverage(best >= threshold, round(best, 3), missing)
