"""The coverage gate: whether the sources speak of the question at all, decided before any model is called.

Asked anyway, small models invent an answer and cite something for it. The gate
takes the best passage's idf-weighted share of the question's words. The
thresholds were chosen on a corpus of 40,000 passages (25 answerable questions:
lowest .63; 14 unanswerable: highest .60 but for one), and checked on small ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from moot.teams.research.retrieval.question import Query
from moot.teams.research.sources.index import Hit
from moot.teams.research.text.stems import stems

__all__ = ["OVERVIEW_THRESHOLD", "THRESHOLD", "Gate", "passes"]

THRESHOLD = 0.62
OVERVIEW_THRESHOLD = 0.40
_BEST = 8


class Gate(NamedTuple):
    """The verdict, the best passage's coverage, and the question's stems that the best passages do not have."""

    is_open: bool
    coverage: float
    missing: tuple[str, ...]


def passes(query: Query, hits: Iterable[Hit], *, threshold: float = THRESHOLD) -> Gate:
    """Judge a question by the best passages found for it."""
    best = 0.0
    seen: set[str] = set()
    for hit in list(hits)[:_BEST]:
        words = set(stems(f"{hit.passage.frame} {hit.passage.text}"))
        own = sum(query.weights[word] for word in query.own if word in words) / query.total
        best = max(best, own)
        seen |= words
    missing = tuple(word for word in query.own if word not in seen)
    return Gate(best >= threshold, round(best, 3), missing)
