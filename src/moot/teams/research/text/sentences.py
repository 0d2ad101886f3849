"""Sentences: where the citable units of a block of text begin and end.

A rule-based splitter with a list of abbreviations proved good enough. What
matters more is that a bare term ("``-v``", "Default value") is joined to what
follows it, because alone it is no evidence, and that every unit keeps its exact
character span.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import Literal, NamedTuple

from moot.teams.research.values import Sentence

__all__ = ["Block", "LineMap", "is_fragment", "split_block", "split_blocks"]

BlockKind = Literal["prose", "code", "row"]
_CODE_LIMIT = 600
_PROSE_LIMIT = 1_200
_FRAGMENT_WORDS = 4

_END = re.compile(r"[.!?][\"'\u201d\u2019)\]*_]*(?=\s)")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[])(?:[A-Z]|e\.g|i\.e|etc|cf|vs|al|Dr|Mr|Mrs|Ms|Prof|St|Fig|Figs|Eq|No|Nos|Sec|Ch|Vol|pp?|approx|ca|"
    r"Inc|Ltd|Corp|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|resp|incl|ver|ed|eds)\.$"
)
_STARTS = re.compile(r"\s+[\"'\u201c\u2018(\[*_`]*[A-Z0-9\u00c0-\u00de]")
_FINAL = re.compile(r"[.!?:;][\"'\u201d\u2019)\]*_`]*$")


class Block(NamedTuple):
    """A run of text under one heading, by its span: a paragraph, a list item, a table row, a listing."""

    start: int
    end: int
    headings: tuple[str, ...]
    kind: BlockKind = "prose"


class LineMap:
    """Line numbers (from 1) of character offsets."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *accumulate(len(line) for line in text.split("\n") for line in (line + "\n",))]

    def line(self, offset: int) -> int:
        """The line that this offset is on."""
        return bisect_right(self._starts, offset)


def split_blocks(text: str, blocks: Iterable[Block], lines: LineMap) -> list[tuple[tuple[str, ...], list[Sentence]]]:
    """Sentences of consecutive blocks, grouped by heading; bare terms joined to the unit after them."""
    groups: list[tuple[tuple[str, ...], list[tuple[int, int]]]] = []
    for block in blocks:
        if not groups or groups[-1][0] != block.headings:
            groups.append((block.headings, []))
        groups[-1][1].extend(split_block(text, block))
    return [(headings, [_sentence(text, span, lines) for span in _join(text, spans)]) for headings, spans in groups]


def split_block(text: str, block: Block) -> list[tuple[int, int]]:
    """Spans of the units of one block, without the space around them."""
    if block.kind == "row":
        spans = _cut(text, block.start, block.end, _PROSE_LIMIT)
    elif block.kind == "code":
        spans = _cut(text, block.start, block.end, _CODE_LIMIT)
    else:
        spans = [
            piece
            for start, end in _prose(text, block.start, block.end)
            for piece in _cut(text, start, end, _PROSE_LIMIT)
        ]
    return [span for span in (_strip(text, *span) for span in spans) if span[0] < span[1]]


def _prose(text: str, start: int, end: int) -> list[tuple[int, int]]:
    spans = []
    begin = start
    for match in _END.finditer(text, start, end):
        stop = match.end()
        if match.group()[0] == "." and _ABBREVIATION.search(text[max(begin, stop - 12) : match.start() + 1]):
            continue
        if _STARTS.match(text, stop, end):
            spans.append((begin, stop))
            begin = stop
    spans.append((begin, end))
    return spans


def _cut(text: str, start: int, end: int, limit: int) -> list[tuple[int, int]]:
    spans = []
    while end - start > limit:
        window = text[start : start + limit]
        at = next((place for place in (window.rfind("\n"), window.rfind(" ")) if place > 0), limit)
        spans.append((start, start + at))
        start += at
    spans.append((start, end))
    return spans


def _join(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    pending: int | None = None
    for start, end in spans:
        begin = start if pending is None else pending
        if _is_bare(text[start:end]) and pending is None:
            pending = begin
            continue
        joined.append((begin, end))
        pending = None
    if pending is not None:
        joined.append((pending, spans[-1][1]))
    return joined


def _is_bare(unit: str) -> bool:
    words = unit.split()
    return len(words) <= _FRAGMENT_WORDS and "|" not in words and not re.search(r"[.!?;][\"')\]*_`]*$", unit)


def is_fragment(unit: str) -> bool:
    """Whether a unit has no final punctuation, so that it is no whole sentence."""
    return not _FINAL.search(unit.rstrip())


def _strip(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _sentence(text: str, span: tuple[int, int], lines: LineMap) -> Sentence:
    start, end = span
    return Sentence(
        text=" ".join(text[start:end].split()),
        start=start,
        end=end,
        line=lines.line(start),
        end_line=lines.line(end - 1),
    )
