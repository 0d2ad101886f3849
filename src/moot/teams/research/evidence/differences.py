"""Where notes on one question differ: other figures for the same thing, or one denying the other.

The rule works on notes of one question, not on any two sentences: what the
question asks for fixes the unit, and both notes must speak of what it names. It
gives no verdict; both quotes are shown. (A 1.5 billion parameter model, asked
whether two sentences contradict each other, says yes to everything.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

from moot.teams.research.retrieval.question import Query
from moot.teams.research.text.figures import Figure, figures
from moot.teams.research.text.polarity import polarity_faults
from moot.teams.research.text.stems import content_stems, overlap, plain
from moot.teams.research.values import Difference, Note

__all__ = ["differences", "disputes"]

_RATIO = 1.25
_SHARED = 2
_ALIKE = 0.3
_ALIKE_STRICT = 0.4
_RELEVANT = 0.45
_OPPOSITE = 0.5
_MOST = 4


def differences(query: Query, notes: Sequence[Note]) -> list[Difference]:
    """Pairs of notes on one question that give different figures for what it asks."""
    asked = query.asked
    named = set(query.own) - asked
    relevant = [
        (note, [figure for figure in figures(note.quote) if not asked or figure.units & asked])
        for note in notes
        if query.share(content_stems(plain(f"{note.quote} {note.frame}"))) >= _RELEVANT
    ]
    found: dict[object, Difference] = {}
    for (left, lefts), (right, rights) in combinations(relevant, 2):
        pair = _differing(lefts, rights) if left.path != right.path else None
        if pair and _same_subject(left, right, named, pair, strict=not asked):
            key = (frozenset((left.path, right.path)), frozenset((pair[0].value, pair[1].value)))
            shown = Difference(kind="figures", notes=(left.id, right.id), values=(pair[0].shown, pair[1].shown))
            found.setdefault(key, shown)
        elif left.path != right.path and _contrary(left.quote, right.quote, _OPPOSITE):
            found[left.id, right.id] = Difference(kind="negation", notes=(left.id, right.id))
    return list(found.values())[:_MOST]


def disputes(claim: str, cited: Iterable[str], notes: Sequence[Note]) -> tuple[str, ...]:
    """Ids of notes, not cited by the claim, that say nearly the same with the opposite polarity."""
    known = set(cited)
    return tuple(note.id for note in notes if note.id not in known and _contrary(claim, note.quote, _OPPOSITE / 2))


def _contrary(left: str, right: str, alike: float) -> bool:
    """Whether two sentences use the same words to say opposite things."""
    lefts, rights = set(content_stems(plain(left))), set(content_stems(plain(right)))
    is_alike = len(lefts & rights) >= _OPPOSITE * len(lefts) and overlap(lefts, rights) >= alike
    return is_alike and bool(polarity_faults(plain(left), plain(right)))


def _differing(lefts: Sequence[Figure], rights: Sequence[Figure]) -> tuple[Figure, Figure] | None:
    """The pair of one unit whose surroundings are most alike; none where two figures of that unit agree."""
    pairs = [(left, right) for left in lefts for right in rights if left.units & right.units]
    agreed: set[str] = set()
    for left, right in pairs:
        if _agree(left.value, right.value):
            agreed |= left.units & right.units
    open_pairs = [pair for pair in pairs if not pair[0].units & pair[1].units & agreed]
    return max(open_pairs, key=lambda pair: len(pair[0].near & pair[1].near), default=None)


def _agree(left: float, right: float) -> bool:
    low, high = sorted((left, right))
    return low == high or (low > 0 and high / low <= _RATIO)


def _same_subject(left: Note, right: Note, named: set[str], pair: tuple[Figure, Figure], *, strict: bool) -> bool:
    """Whether both figures are of one thing: both notes name all that the question names, or share more than that."""
    quotes = [set(content_stems(plain(note.quote))) for note in (left, right)]
    lefts, rights = (words | set(content_stems(note.frame)) for words, note in zip(quotes, (left, right), strict=True))
    shared = {word for word in quotes[0] & quotes[1] - pair[0].units - pair[1].units if not word.isdigit()}
    both = named & lefts & rights
    if not pair[0].near & pair[1].near or 2 * len(both) < len(named) or len(shared) < _SHARED:
        return False
    if both != named and len(shared - named) < _SHARED:
        return False
    smaller = min(map(len, quotes)) or 1
    return len(shared) / smaller >= (_ALIKE_STRICT if strict else _ALIKE)
