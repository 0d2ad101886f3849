"""Ballots and what is made of them: the values that every method of voting shares.

A ballot is counted as it was filled in or not at all: what a method cannot count is invalid, with the reason, and never
silently repaired. A tie is told as one; the lot that breaks it is drawn from a seed, so that anybody can draw it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

__all__ = ["Ballot", "Candidates", "Invalid", "Ranking", "Tally", "ballot_of", "by_lot", "check_weights", "flaw"]

Candidates = tuple[str, ...]
Ranking = tuple[tuple[str, ...], ...]
"""Groups of candidates, the best first; those of one group are level."""
MAX_SHOWN = 40
"""Characters of an unknown candidate's name that a reason repeats."""
MAX_VOTES = 2**63 - 1
"""All ballots together weigh no more: a larger number of votes cannot be kept."""


class Ballot(msgspec.Struct, frozen=True):
    """Who is preferred to whom: ``ranking`` is groups of candidates, best first, and those of a group are level.

    Who is not ranked comes after all who are. ``approves`` are the approved ones, by default all that are ranked; only
    `Approval` looks at it.
    """

    ranking: Ranking = ()
    approves: Candidates | None = None

    @classmethod
    def ranked(cls, *places: str | Iterable[str], approves: Iterable[str] | None = None) -> Ballot:
        """A ballot of places in order: a candidate, or several that are level."""
        groups = tuple((place,) if isinstance(place, str) else tuple(place) for place in places)
        return cls(groups, None if approves is None else tuple(approves))

    @classmethod
    def approving(cls, *candidates: str) -> Ballot:
        """A ballot that approves of these, all alike."""
        return cls((candidates,) if candidates else (), candidates)

    @property
    def approved(self) -> Candidates:
        """The candidates that this ballot approves of."""
        return self.approves if self.approves is not None else tuple(name for place in self.ranking for name in place)


class Invalid(msgspec.Struct, frozen=True):
    """The ballot at position ``index`` was not counted, for this reason."""

    index: int
    reason: str


class Tally(msgspec.Struct, frozen=True):
    """What came of a count.

    ``ranking`` are all candidates in groups, best first; ``winners`` is its first group, several if they are tied, none
    if no ballot was valid; ``elected`` is the one of them whom the lot of ``seed`` falls on. ``scores`` are what the
    method counts. Where there are rounds, ``rounds`` are the votes in each and ``lots`` who was eliminated by lot.
    """

    method: str
    ranking: Ranking
    winners: Candidates
    elected: str | None
    scores: dict[str, float]
    valid: int
    invalid: tuple[Invalid, ...] = ()
    seed: int = 0
    rounds: tuple[dict[str, int], ...] = ()
    lots: Candidates = ()


def ballot_of(answer: Any) -> Ballot:
    """The ballot that somebody answered: a `Ballot`, or names in order of preference, lists among them for level ones.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(answer, set | frozenset):
        raise ValueError(  # noqa: TRY004 - one error for all that is no ballot
            "a set has no order that outlives the process; answer with Ballot.approving(…) or a list"
        )
    try:
        packed = msgspec.msgpack.encode(answer)  # on every backend only what could be kept
        plain: Ballot | list[str | list[str]] = msgspec.msgpack.decode(packed, type=Ballot | list[str | list[str]])
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"it is no ballot ({error}); answer with a Ballot, or a list of names") from error
    return plain if isinstance(plain, Ballot) else Ballot.ranked(*plain)


def flaw(ballot: Ballot, candidates: Sequence[str]) -> str | None:
    """Why no method can count ``ballot``; None if there is no reason."""
    named = [name for place in ballot.ranking for name in place]
    for names in (named, ballot.approves or ()):
        unknown = next((name for name in names if name not in candidates), None)
        if unknown is not None:
            return f"it names {unknown[:MAX_SHOWN]!r}, who is no candidate"
        if len(set(names)) < len(names):
            return f"it names {next(name for name in names if names.count(name) > 1)!r} more than once"
    if not all(ballot.ranking):
        return "one of its places is empty"
    return None if named or ballot.approves is not None else "it is empty"


def by_lot(candidates: Iterable[str], seed: int) -> list[str]:
    """The candidates in the order of the lot: one that nobody can steer who does not choose the seed.

    It depends on the names and the seed alone, and so is the same in every process and for every order of candidates.
    """

    def drawn(name: str) -> bytes:
        return hashlib.blake2b(f"{seed}/{name}".encode(errors="surrogatepass"), digest_size=16).digest()

    return sorted(candidates, key=drawn)


def check_weights(weights: Collection[Any]) -> None:
    """Refuse weights that ballots cannot have.

    Raises:
        ValueError: one is no whole number of 1 or more, or they add up to too many votes.
    """
    for weight in weights:
        if not isinstance(weight, int) or weight < 1:
            raise ValueError(f"a ballot weighs a whole number, 1 or more, not {weight!r}; leave out who is not to vote")
    if sum(weights) > MAX_VOTES:
        raise ValueError("the ballots weigh more than 2**63 - 1 together; divide their weights")
