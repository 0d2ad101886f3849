"""Polarity: whether a claim denies what its quote affirms, affirms what it denies, or swaps a pair of opposites.

Counting negations over whole sentences loses every claim that takes one clause
of a longer quote. So each negation is taken with what it denies: the words that
follow it in its clause. A swapped pair ("before" for "after") keeps every other
word, and coverage alone would accept it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from moot.teams.research.text.stems import content_stems, plain, stem, stems

__all__ = ["polarity_faults"]

_NEGATION = re.compile(
    r"\b(?:no longer|not|no|never|without|cannot|neither|nor|none|unable to|fail(?:s|ed)? to|lacks?)\b|n['\u2019]t\b",
    re.IGNORECASE,
)
_NOT_ONLY = re.compile(r"\bnot (?:only|just|merely)\b|\bno (?:more|less|fewer|later) than\b", re.IGNORECASE)
_CLAUSE_END = re.compile(r"[,;:.!?()]|\b(?:but|because|although|while|if|unless|so that|and then)\b", re.IGNORECASE)
_SCOPE = 3

_PAIRS = """
before after|maximum minimum|max min|enable disable|increase decrease|more less|more fewer|higher lower|high low
larger smaller|large small|greater less|greater smaller|faster slower|fast slow|above below|over under|first last
earlier later|allow deny|allow forbid|allow prevent|accept reject|start stop|open close|add remove|on off|true false
always never|include exclude|read write|input output|local remote|public private|success failure|succeed fail
positive negative|upper lower|internal external|static dynamic|automatic manual|required optional|raise lower|rise fall
exponential polynomial|exponentially polynomially|longer shorter|long short|better worse|best worst|most least
strong weak|stronger weaker|synchronous asynchronous|client server|lossless lossy|volatile persistent
possible impossible|secure insecure|classical quantum|mandatory optional|permanent temporary
temporarily permanently|ascending descending|push pull|safe unsafe|valid invalid|begin end|oldest newest|old new
""".strip()


class _Denial(NamedTuple):
    """A negation's first word of content, and all that it reaches."""

    head: str
    scope: frozenset[str]


def polarity_faults(claim: str, quotes: str) -> list[str]:
    """Reasons why a claim turns its quotes around; empty when it does not."""
    faults = []
    denied, quoted = _denials(claim), _denials(quotes)
    reached = frozenset().union(*(denial.scope for denial in quoted))
    own = frozenset().union(*(denial.scope for denial in denied))
    words = set(content_stems(claim))
    if any(not denial.scope & reached for denial in denied):
        faults.append("denies what the quote does not deny")
    if any(denial.head in words - own and denial.head not in _affirmed(quotes, reached) for denial in quoted):
        faults.append("affirms what the quote denies")
    pair = _opposed(stems(claim), stems(quotes))
    if pair:
        faults.append(f"says {pair[0]} where the quote says {pair[1]}")
    return faults


def _denials(text: str) -> list[_Denial]:
    bare = _NOT_ONLY.sub(" ", plain(text))
    found = []
    for match in _NEGATION.finditer(bare):
        rest = bare[match.end() :]
        end = _CLAUSE_END.search(rest)
        words = content_stems(rest[: end.start()] if end else rest)[:_SCOPE]
        if words:
            found.append(_Denial(words[0], frozenset(words)))
    return found


def _affirmed(quotes: str, reached: frozenset[str]) -> set[str]:
    """Stems that the quotes also use outside of what they deny."""
    words = content_stems(plain(quotes))
    return {word for word in reached if words.count(word) > 1}


def _opposed(claim: list[str], quote: list[str]) -> tuple[str, str] | None:
    said, quoted = set(claim), set(quote)
    for word in claim:
        if word not in quoted:
            for other in _OPPOSITES.get(word, ()):
                if other in quoted and other not in said:
                    return word, other
    return None


def _opposites() -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for pair in _PAIRS.replace("\n", "|").split("|"):
        left, right = (stem(word) for word in pair.split())
        table[left] = (*table.get(left, ()), right)
        table[right] = (*table.get(right, ()), left)
    return table


_OPPOSITES = _opposites()
