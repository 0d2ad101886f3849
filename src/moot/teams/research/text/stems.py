"""Words, stems and numbers of a text: the one tokenizer that all of the research team uses.

Index and queries must agree on what a word is: a stemmer of the index's own
gives words that the other side cannot find a document frequency of zero, and
so the largest weight. The index therefore stores stems made here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from functools import cache, lru_cache
from typing import Protocol

__all__ = [
    "MAGNITUDES",
    "NUMBER_WORDS",
    "content_stems",
    "is_number_word",
    "numbers",
    "overlap",
    "plain",
    "stem",
    "stems",
    "word_tokens",
]

_WORD = re.compile(r"\w+")
_POSSESSIVE = re.compile(r"['\u2019]s\b")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)\s]*(?:\s+\"[^\"]*\")?\)")
_MARKUP = re.compile(
    r"\*{1,3}|`+|(?<!\w)_{1,2}(?=\w)|(?<=\w)_{1,2}(?!\w)|^\s*(?:[-+*]|\d+[.)]|>|#{1,6})\s+", re.MULTILINE
)
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")

_STOP = frozenset(
    """a about above after again against all also am an and any are as at be because been before being below between
    both but by can could did do does doing down during each few for from further had has have having he her here hers
    him his how i if in into is it its itself just may me might more most must my no nor not now of off on once only or
    other our out over own same shall she should so some such than that the their theirs them then there these they
    this those through to too under until up upon us very was we were what when where which while who whom whose why
    will with within without would you your yours it's don doesn didn isn aren wasn weren won cannot
    """.split()
)

NUMBER_WORDS = {
    word: float(value)
    for value, word in enumerate("zero one two three four five six seven eight nine ten eleven twelve".split())
} | {"half": 0.5}
MAGNITUDES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}


class _Stemmer(Protocol):
    def stemWord(self, word: str) -> str: ...  # noqa: N802 (the library's name)


def plain(text: str) -> str:
    """The text without Markdown's inline marks, for scoring and prompts; a quote stays verbatim."""
    return _MARKUP.sub("", _LINK.sub(r"\1", text))


def word_tokens(text: str) -> list[str]:
    """Lower-case words in order; ``max_connections`` also yields its parts."""
    return list(_tokens(text))


@lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """The Snowball (English) stem of one lower-case word."""
    return word if word.isdigit() else _stemmer().stemWord(word)


def stems(text: str) -> list[str]:
    """Stems of all words in order, stop words included."""
    return [stem(word) for word in _tokens(text)]


def content_stems(text: str) -> list[str]:
    """Stems of the words that carry meaning, in order: two characters or more, no stop word."""
    return [stem(word) for word in _tokens(text) if len(word) > 1 and word not in _STOP]


def numbers(text: str) -> list[float]:
    """The numbers that a text names: in digits (thousands commas removed) or words ("half", "two million")."""
    found: list[float] = []
    words = re.findall(r"\d[\d,]*(?:\.\d+)?|[A-Za-z]+", text)
    for position, word in enumerate(words):
        value = _number(word)
        if value is None:
            continue
        following = words[position + 1].lower() if position + 1 < len(words) else ""
        found.append(value * MAGNITUDES.get(following, 1.0))
    return found


def overlap(left: AbstractSet[str], right: AbstractSet[str]) -> float:
    """Jaccard similarity of two sets of stems."""
    return len(left & right) / len(left | right) if left or right else 0.0


def is_number_word(word_stem: str) -> bool:
    """Whether a stem is a number in letters ("ten", "million"), which `numbers` reads."""
    return word_stem in NUMBER_WORDS or word_stem in MAGNITUDES


def _number(word: str) -> float | None:
    if _NUMBER.fullmatch(word):
        return float(word.replace(",", ""))
    return NUMBER_WORDS.get(word.lower())


def _tokens(text: str) -> Iterator[str]:
    cleaned = _THOUSANDS.sub("", _POSSESSIVE.sub("", text)).lower()
    for word in _WORD.findall(cleaned):
        bare = word.strip("_")
        if not bare:
            continue
        yield bare
        if "_" in bare:
            yield from (part for part in bare.split("_") if part)


@cache
def _stemmer() -> _Stemmer:
    try:
        import snowballstemmer
    except ImportError as error:
        raise ModuleNotFoundError(
            "the research team needs snowballstemmer; install it with: python -m pip install 'moot[research]'"
        ) from error
    stemmer: _Stemmer = snowballstemmer.stemmer("english")
    return stemmer
