"""Figures: the quantities that a sentence gives, with their unit and what stands around them.

Times and sizes are brought to seconds and bytes, "20 million" and "one million"
to numbers, so that two sentences about one thing can be compared, and a
sentence that counts what a question asks for can be told from one that does not.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from moot.teams.research.text.stems import MAGNITUDES, NUMBER_WORDS, content_stems, plain, stem

__all__ = ["Figure", "asked_units", "figures"]

_TIME = {
    "nanosecond": 1e-9, "microsecond": 1e-6, "millisecond": 1e-3, "second": 1.0, "minute": 60.0, "hour": 3600.0,
    "day": 86400.0, "week": 604800.0, "month": 2.63e6, "year": 3.156e7, "decade": 3.156e8, "century": 3.156e9,
    "ms": 1e-3, "\u00b5s": 1e-6, "ns": 1e-9, "s": 1.0, "min": 60.0, "h": 3600.0,
}  # fmt: skip
_BYTES = {"byte": 1.0, "kb": 1e3, "kib": 1024.0, "mb": 1e6, "mib": 2.0**20, "gb": 1e9, "gib": 2.0**30, "tb": 1e12}
_FIGURE = re.compile(
    r"(?<![\w.-])(?P<number>\d[\d,]*(?:\.\d+)?|"
    + "|".join(NUMBER_WORDS)
    + r"|a|an)\b(?P<percent>\s?%|\s+per\s?cent\b)?"
    r"(?=(?P<rest>(?:[\s-]+[A-Za-z\u00b5]+){0,4}))",
    re.IGNORECASE,
)
_YEAR = re.compile(r"(?:1[5-9]|20)\d\d")
_UNIT_ENDS = frozenset(
    "in of to and or on at by from for with than per as is are was were that which the a an "
    "can could would will may might must instead against rather".split()
)
_COUNTED = frozenset({"bit", "qubit", "byte"})
_WINDOW = 90
_ASKED: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"\bhow (?:long|quickly|soon)\b|\bhow much time\b|\bwhat (?:time|duration)\b", re.IGNORECASE),
        "<time>",
    ),
    (re.compile(r"\bhow much (?:memory|space|storage)\b|\bhow (?:big|large)\b", re.IGNORECASE), "<bytes>"),
    (re.compile(r"\b(?:percentage|per ?cent|share|rate|threshold|fidelity)\b", re.IGNORECASE), "%"),
)
_HOW_MANY = re.compile(r"\bhow many ((?:[\w-]+ ?){1,5})|\bnumber of ((?:[\w-]+ ?){1,4})", re.IGNORECASE)


class Figure(NamedTuple):
    """A quantity in a sentence: its value in base units, its dimension (``<time>``, ``<bytes>``, ``%``) or unit stems.

    ``near`` holds the stems around it, which say what it counts.
    """

    value: float
    units: frozenset[str]
    shown: str
    near: frozenset[str] = frozenset()


def figures(text: str) -> list[Figure]:
    """The quantities of a sentence; bare years, and numbers that name or count nothing, are none."""
    bare = plain(text)
    found = []
    for match in _FIGURE.finditer(bare):
        figure = _figure(match)
        if figure is not None:
            window = bare[max(0, match.start() - _WINDOW) : match.end("rest") + _WINDOW]
            found.append(figure._replace(near=frozenset(content_stems(window)) - figure.units))
    return found


def _figure(match: re.Match[str]) -> Figure | None:
    word = match.group("number").lower()
    value = float(word.replace(",", "")) if word[0].isdigit() else NUMBER_WORDS.get(word, 1.0)
    shown = match.group()
    if match.group("percent"):
        return Figure(value, frozenset({"%"}), shown)
    words = [part.lower() for part in re.findall(r"[A-Za-z\u00b5]+", match.group("rest"))]
    used = 0
    if words and words[0] in MAGNITUDES:
        value *= MAGNITUDES[words[0]]
        used = 1
    elif word in ("a", "an") and not (words and _singular(words[0]) in _TIME and len(words[0]) > 2):
        return None
    unit = []
    for part in words[used : used + 3]:
        if part in _UNIT_ENDS:
            break
        unit.append(part)
    if not unit:
        return None
    shown = f"{shown} {' '.join([*words[:used], *unit])}"
    first = _singular(unit[0]) if len(unit[0]) > 2 else unit[0]
    if first in _TIME:
        return Figure(value * _TIME[first], frozenset({"<time>"}), f"{match.group()} {' '.join(words[: used + 1])}")
    if first in _BYTES:
        return Figure(value * _BYTES[first], frozenset({"<bytes>"}), f"{match.group()} {' '.join(words[: used + 1])}")
    if _YEAR.fullmatch(word) and first not in _COUNTED:
        return None
    return Figure(value, frozenset(stem(part) for part in unit), shown)


def _singular(word: str) -> str:
    if word == "centuries":
        return "century"
    return word[:-1] if word.endswith("s") and len(word) > 2 else word


def asked_units(question: str) -> set[str]:
    """The units that an answer to the question would count in."""
    asked = {unit for pattern, unit in _ASKED if pattern.search(question)}
    for match in _HOW_MANY.finditer(question):
        words = (match.group(1) or match.group(2)).lower().split()
        head = next((word for word in words if word.endswith("s") and len(word) > 3), words[0])
        asked.add("<time>" if _singular(head) in _TIME else stem(head))
    return asked
