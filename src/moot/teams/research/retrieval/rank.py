"""Sentence ranking: which sentences of the best passages answer the question. This is where answers are found.

Lexical on purpose: no model of up to 1.5 billion parameters picked evidence
clearly better than this score, at a hundred times its cost. The weights were
set by hand and measured on questions over Debian's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from moot.teams.research.retrieval.question import Query
from moot.teams.research.sources.index import Hit
from moot.teams.research.text.figures import figures
from moot.teams.research.text.sameness import repeats, words_of
from moot.teams.research.text.sentences import is_fragment
from moot.teams.research.text.stems import content_stems
from moot.teams.research.values import Note, Passage

__all__ = ["rank_sentences"]

_LONG_WORDS = 50
_MOST_ECHOES = 3
_JUNK_PATH = re.compile(
    r"(?i)change-?log|release-?notes|relnotes|sitemap|genindex|copyright|licen[cs]e|\bnews\b|/index\.html?$|toc\.html?$"
)
_LISTING = re.compile(
    r"(?i)^(?:sources|references|bibliography|further reading|see also|external links|works cited|index)$"
)
_JUNK_TEXT = re.compile(r"(?i)^(?:copyright|\u00a9|all rights reserved|table of contents|see also)\b")
_QUESTION = re.compile(r"\?[\"'\u201d)\]*_]*$")


def rank_sentences(query: Query, hits: Sequence[Hit], *, limit: int = 6, topic: int = 0) -> list[Note]:
    """The best sentences as notes, best first.

    A sentence that repeats a chosen one is passed over; from another file it is kept beside it, once, and
    does not count towards ``limit``: it shows that sources agree.
    """
    scored = [scored for hit in hits for scored in _score_passage(query, hit)]
    scored.sort(key=lambda item: (-item[0], item[1].id, item[2]))
    notes: list[Note] = []
    echoes: list[Note] = []
    for score, passage, position in scored:
        if score <= 0:
            continue
        note = _note(passage, position, score, topic)
        same = [known for known in (*notes, *echoes) if repeats(note.quote, known.quote)]
        if not same:
            notes.append(note)
        elif all(note.path != known.path for known in same) and len(same) < _MOST_ECHOES:
            echoes.append(note)
        if len(notes) == limit:
            break
    return [*notes, *echoes]


def _score_passage(query: Query, hit: Hit) -> Iterable[tuple[float, Passage, int]]:
    passage = hit.passage
    bodies = [words_of(sentence.text) for sentence in passage.sentences]
    frame = frozenset(content_stems(passage.frame))
    whole = frame.union(*bodies)
    passage_cov = query.share(whole)
    factor = (0.5 + 0.5 * passage_cov) * (1 - 0.06 * min(hit.rank, 8))
    if _JUNK_PATH.search(passage.path):
        factor *= 0.6
    is_listing = bool(passage.headings) and bool(_LISTING.match(passage.headings[-1].strip()))
    for position, body in enumerate(bodies):
        body_cov = query.share(body)
        if body_cov <= 0:
            continue
        near = frozenset().union(*bodies[max(0, position - 1) : position], *bodies[position + 1 : position + 2])
        heading_cov = _gain(query, body, frame)
        neighbour_cov = _gain(query, body | frame, near)
        score = (body_cov + 0.5 * heading_cov + 0.25 * neighbour_cov) * factor
        mark = _marks(query, passage.sentences[position].text)
        yield (score + mark) * (0.4 if is_listing else 1.0), passage, position


def _gain(query: Query, have: frozenset[str], more: Iterable[str]) -> float:
    return query.share(have.union(more)) - query.share(have)


def _marks(query: Query, text: str) -> float:
    mark = 0.0
    if query.cues and any(pattern.search(text) for pattern in query.cues):
        mark += 0.12
    if query.asked and any(figure.units & query.asked for figure in figures(text)):
        mark += 0.25
    if len(text.split()) > _LONG_WORDS:
        mark -= 0.10
    if is_fragment(text):
        mark -= 0.15
    if _JUNK_TEXT.search(text) or _QUESTION.search(text):
        mark -= 0.25
    return mark


def _note(passage: Passage, position: int, score: float, topic: int) -> Note:
    sentence = passage.sentences[position]
    return Note(
        id=f"{passage.id}.{position}",
        quote=sentence.text,
        path=passage.path,
        title=passage.title,
        headings=passage.headings,
        line=sentence.line,
        end_line=sentence.end_line,
        start=sentence.start,
        end=sentence.end,
        score=round(score, 4),
        topic=topic,
    )
