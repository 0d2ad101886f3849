"""Whether one sentence repeats another: the same words, the same numbers, the same polarity.

Words alone are not enough: "the timeout is 30 seconds" and "the timeout is not
60 seconds" share nearly all of theirs, and are the very pair that must be kept.
"""

from __future__ import annotations

from functools import lru_cache

from moot.teams.research.text.polarity import polarity_faults
from moot.teams.research.text.stems import content_stems, numbers, overlap, plain

__all__ = ["repeats", "words_of"]

_SAME = 0.7


@lru_cache(maxsize=20_000)
def words_of(text: str) -> frozenset[str]:
    """The content stems of a sentence, without its markup."""
    return frozenset(content_stems(plain(text)))


def repeats(left: str, right: str) -> bool:
    """Whether the sentences say the same in nearly the same words."""
    if overlap(words_of(left), words_of(right)) <= _SAME:
        return False
    return set(numbers(left)) ^ set(numbers(right)) <= {1.0} and not polarity_faults(plain(left), plain(right))
