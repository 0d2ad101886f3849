"""Methods of voting: plurality, approval, Borda, Schulze and instant-runoff, as values.

``Schulze().tally(ballots, candidates)`` is a pure function of its arguments. All methods share what is before and after
the count: which ballots are valid, what each weighs, and the lot among those who are tied for the first place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import ClassVar

import msgspec

from moot.patterns.voting.ballots import Ballot, Invalid, Ranking, Tally, by_lot, check_weights, flaw
from moot.patterns.voting.pairwise import beaten, layers, pairwise, strongest_paths
from moot.patterns.voting.runoff import run_off

__all__ = ["METHODS", "Approval", "Borda", "Count", "InstantRunoff", "Method", "Plurality", "Schulze"]

Weighed = Sequence[tuple[Ballot, int]]


class Count(msgspec.Struct, frozen=True):
    """What a method makes of valid ballots."""

    ranking: Ranking
    scores: dict[str, float]
    rounds: tuple[dict[str, int], ...] = ()
    lots: tuple[str, ...] = ()


class Method(msgspec.Struct, frozen=True):
    """A way to count ballots. One of your own says in `flaw` what it cannot count, and in `count` how it does."""

    name: ClassVar[str] = ""

    def tally(
        self, ballots: Sequence[Ballot], candidates: Sequence[str], *, weights: Sequence[int] = (), seed: int = 0
    ) -> Tally:
        """Count ``ballots``; the lots of ties are drawn from ``seed``. ``weights`` has one for each, 1 or more.

        Raises:
            ValueError: there is no candidate or one twice; weights are missing, or not as `check_weights` wants them.
        """
        names = tuple(candidates)
        if not names or len(set(names)) < len(names):
            raise ValueError(f"an election needs candidates, each named once, not {names!r}")
        if weights and len(weights) != len(ballots):
            raise ValueError(f"{len(ballots)} ballots need as many weights, not {len(weights)}")
        check_weights(weights)
        valid: list[tuple[Ballot, int]] = []
        invalid = []
        for index, ballot in enumerate(ballots):
            if reason := flaw(ballot, names) or self.flaw(ballot):
                invalid.append(Invalid(index, reason))
            else:
                valid.append((ballot, weights[index] if weights else 1))
        count = self.count(valid, names, seed)
        winners = count.ranking[0] if valid else ()
        elected = by_lot(winners, seed)[0] if winners else None
        facts = (count.scores, len(valid), tuple(invalid), seed, count.rounds, count.lots)
        return Tally(self.name, count.ranking, winners, elected, *facts)

    def flaw(self, ballot: Ballot) -> str | None:
        """Why this method cannot count a ballot that names each of its candidates once; None if it can."""
        return None

    def count(self, ballots: Weighed, candidates: Sequence[str], seed: int) -> Count:
        """Count valid ballots, each with its weight."""
        raise NotImplementedError(f"{type(self).__name__} has no count(); override it")


class Plurality(Method, frozen=True):
    """Who is first on most ballots. Only the first place counts, and must be one candidate's."""

    name = "plurality"

    def flaw(self, ballot: Ballot) -> str | None:
        return None if ballot.ranking and len(ballot.ranking[0]) == 1 else "its first place is not one candidate's"

    def count(self, ballots: Weighed, candidates: Sequence[str], seed: int) -> Count:
        return _by_score(candidates, ((ballot.ranking[0][0], weight) for ballot, weight in ballots))


class Approval(Method, frozen=True):
    """Whom most ballots approve of (S. Brams, P. Fishburn, "Approval Voting", 1978)."""

    name = "approval"

    def count(self, ballots: Weighed, candidates: Sequence[str], seed: int) -> Count:
        return _by_score(candidates, ((name, weight) for ballot, weight in ballots for name in ballot.approved))


class Borda(Method, frozen=True):
    """A point for each candidate that is ranked below, and half a point for each that is level (J.-C. de Borda, 1781).

    Those who are not ranked are level with each other and below all others, so nobody gains by ranking fewer.
    """

    name = "borda"

    def flaw(self, ballot: Ballot) -> str | None:
        return _unranked(ballot)

    def count(self, ballots: Weighed, candidates: Sequence[str], seed: int) -> Count:
        halves = (half for ballot, weight in ballots for half in _halves(ballot, weight, candidates))
        return _by_score(candidates, halves, unit=2)


class Schulze(Method, frozen=True):
    """Who has a stronger path to every other than back; it elects whoever beats all others (M. Schulze, 2011).

    Level places are allowed, and who is not ranked is level with the others that are not. The strength of a victory is
    the votes for it. ``scores`` are how many others a candidate is placed before. Places are given from the top: to
    all before whom nobody is that has none yet.
    """

    name = "schulze"

    def flaw(self, ballot: Ballot) -> str | None:
        return _unranked(ballot)

    def count(self, ballots: Weighed, candidates: Sequence[str], seed: int) -> Count:
        weights = [weight for _, weight in ballots]
        matrix = pairwise([ballot for ballot, _ in ballots], candidates, weights=weights)
        wins = beaten(strongest_paths(matrix))
        return Count(layers(wins), {name: float(len(wins[name])) for name in candidates})


class InstantRunoff(Method, frozen=True):
    """The one with the fewest votes goes, and each ballot counts for the next on it, until one is left.

    Level places are invalid; a ballot all of whose candidates have gone counts no more. The lowest go together if even
    together they have fewer votes than the next. Otherwise, of those who are level, the one goes that had fewer votes
    in the latest round in which they were not, then the one that the lot falls on. If all who remain are level, they
    share the first place. ``scores`` are the votes in a candidate's last round.
    """

    name = "instant_runoff"

    def flaw(self, ballot: Ballot) -> str | None:
        return _unranked(ballot) or (
            "several share a place" if any(len(place) > 1 for place in ballot.ranking) else None
        )

    def count(self, ballots: Weighed, candidates: Sequence[str], seed: int) -> Count:
        orders = [([name for (name,) in ballot.ranking], weight) for ballot, weight in ballots]
        ranking, rounds, lots = run_off(orders, candidates, seed)
        last: dict[str, float] = {name: float(votes) for counted in rounds for name, votes in counted.items()}
        return Count(ranking, last, rounds, lots)


METHODS: Mapping[str, Method] = {
    method.name: method for method in (Plurality(), Approval(), Borda(), Schulze(), InstantRunoff())
}
"""The methods by name, for messages."""


def _unranked(ballot: Ballot) -> str | None:
    return None if ballot.ranking else "it ranks nobody"


def _halves(ballot: Ballot, weight: int, candidates: Sequence[str]) -> Iterable[tuple[str, int]]:
    """Half points."""
    ranked = {name for place in ballot.ranking for name in place}
    below = len(candidates)
    for place in (*ballot.ranking, tuple(name for name in candidates if name not in ranked)):
        below -= len(place)
        for name in place:
            yield name, weight * (2 * below + len(place) - 1)


def _by_score(candidates: Sequence[str], points: Iterable[tuple[str, int]], unit: int = 1) -> Count:
    """Counted in whole numbers, ``unit`` of them a point: fractions would make ties of large weights."""
    scores = dict.fromkeys(candidates, 0)
    for name, more in points:
        scores[name] += more
    order = sorted(candidates, key=lambda name: -scores[name])
    ranking = tuple(tuple(group) for _, group in groupby(order, key=scores.__getitem__))
    return Count(ranking, {name: score / unit for name, score in scores.items()})
