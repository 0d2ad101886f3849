"""The question as the ranking sees it: its parts, its weighted stems, and the cue that an answer would show.

A language model of the size that runs everywhere neither plans sub-questions
nor ranks evidence better than these rules do; it adds keywords, which weigh
less than the user's own words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from moot.teams.research.text.figures import asked_units
from moot.teams.research.text.stems import content_stems

__all__ = ["Query", "ask_words", "cue", "is_overview", "make_query", "other_words", "question_words", "split_question"]

_KEYWORD_WEIGHT = 0.3
_SCAFFOLD = frozenset(
    content_stems(
        "many much long take takes taken often kind kinds sort mean means happen happens tell explain describe "
        "say says according sources source document documents give given get use used using does work name exactly "
        "currently called possible way ways one"
    )
)
_ASKS = re.compile(
    r"\b(?:what|which|who|whom|whose|when|where|why|how|does|do|did|is|are|was|were|can|could|will|should)\b",
    re.IGNORECASE,
)
_PART = re.compile(
    r"(?<=\?)\s+|[,;]?\s+and\s+(?=(?:what|which|who|when|where|why|how)\b)|[,;]\s+(?=(?:what|which|who|when|where|why|how)\b)",
    re.IGNORECASE,
)
_PRONOUN = re.compile(r"\b(?:it|its|they|them|their|this|that|these|those|he|she|his|her)\b", re.IGNORECASE)
_BROAD = re.compile(
    r"^\s*(?:how far|how close|what is the (?:state|status|history|future|outlook)|tell me about"
    r"|give (?:me )?an overview|overview|summari[sz]e|compare|describe|explain everything)\b",
    re.IGNORECASE,
)
_QUANTITY = r"(?<![A-Za-z_])\d|\b(?:two|three|four|five|six|seven|eight|nine|ten|twice|half)\b"
_OTHER_WORDS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\bat most\b", re.IGNORECASE), "maximum limit"),
    (re.compile(r"\bat least\b", re.IGNORECASE), "minimum"),
)
_CUES: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...] = tuple(
    (re.compile(asked, re.IGNORECASE), re.compile(shown))
    for asked, shown in (
        (
            r"\bwhy\b",
            r"(?i)\b(?:because|since|so that|in order to|prevents?|avoids?|therefore|due to|reason|otherwise)\b",
        ),
        (r"\bwho\b", r"\b[A-Z][a-z]+(?: [A-Z]\.)? [A-Z][a-z]+"),
        (
            r"\bhow (?:much|many|long|far|fast|big|large|often|old)\b|\bmaximum\b|\bminimum\b|\bdefaults?\b|\blimit\b",
            _QUANTITY,
        ),
        (r"\bwhen\b|\bwhat year\b", r"(?i)\b(?:when|if|after|before|until)\b|\d"),
        (r"\bwhat (?:is|are) (?:an? |the )?\w+", r"(?i)\b(?:is|are|means?|refers? to|called)\b"),
        (r"\bhow (?:do|does|can|to|is|are)\b", r"(?i)\b(?:by|use|using|run|set|with|to)\b|[-`$]"),
    )
)


class Query(NamedTuple):
    """A question for ranking: the weight of each stem, what the question's own stems weigh together, its cues.

    ``asked`` are the units in which an answer would count.
    """

    text: str
    own: tuple[str, ...]
    weights: dict[str, float]
    total: float
    cues: tuple[re.Pattern[str], ...]
    asked: frozenset[str] = frozenset()

    def share(self, words: Iterable[str]) -> float:
        """The idf-weighted share of the question found among these stems, keywords adding a little."""
        found = set(words)
        return min(1.0, sum(weight for word, weight in self.weights.items() if word in found) / self.total)


def ask_words(question: str) -> tuple[str, ...]:
    """The stems that the question is about, without the words that only make it a question."""
    found = tuple(dict.fromkeys(content_stems(question)))
    return tuple(word for word in found if word not in _SCAFFOLD) or found


def make_query(question: str, idf: Callable[[str], float], keywords: Iterable[str] = ()) -> Query:
    """Weigh the question's stems by ``idf``; all of the keywords' stems together by a third of that."""
    own = ask_words(question)
    weights = {word: max(idf(word), 0.05) for word in own}
    total = sum(weights.values()) or 1.0
    extra = {word: max(idf(word), 0.05) for line in keywords for word in content_stems(line)}
    extra = {word: weight for word, weight in extra.items() if word not in weights}
    scale = min(_KEYWORD_WEIGHT, _KEYWORD_WEIGHT * total / (sum(extra.values()) or 1.0))
    weights.update((word, weight * scale) for word, weight in extra.items())
    return Query(question, own, weights, total, cue(question), frozenset(asked_units(question)))


def other_words(question: str) -> tuple[str, ...]:
    """Words that an author would use for phrases of the question: "maximum" for "at most"."""
    return tuple(words for pattern, words in _OTHER_WORDS if pattern.search(question))


def cue(question: str) -> tuple[re.Pattern[str], ...]:
    """Patterns of which an answering sentence is likely to show one."""
    return tuple(shown for asked, shown in _CUES if asked.search(question))


def split_question(question: str) -> tuple[str, ...]:
    """The parts of a question that asks several things; one part when any of them could not stand alone."""
    parts = [part.strip(" ,;") for part in _PART.split(question) if part and part.strip(" ,;?")]
    leans = any(_PRONOUN.search(part) for part in parts[1:])
    if len(parts) < 2 or leans or any(len(set(content_stems(part)) - _SCAFFOLD) < 2 for part in parts):
        return (question.strip(),)
    return tuple(part if part.endswith("?") else f"{part}?" for part in parts)


def question_words(question: str) -> dict[str, str]:
    """The question's own word for each stem."""
    words = [word.strip("?!.,;:\"'()") for word in question.split()]
    return {word_stem: word for word in reversed(words) for word_stem in content_stems(word)}


def is_overview(question: str) -> bool:
    """Whether a subject is named, or a survey asked for, rather than a fact."""
    return bool(_BROAD.search(question)) or not (_ASKS.search(question) or question.rstrip().endswith("?"))
