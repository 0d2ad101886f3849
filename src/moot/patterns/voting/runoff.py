"""Instant runoff: rounds of elimination, and who goes when several have the fewest votes."""

from __future__ import annotations

from collections.abc import Sequence

from moot.patterns.voting.ballots import Ranking, by_lot

__all__ = ["run_off"]

Rounds = list[dict[str, int]]


def run_off(
    orders: Sequence[tuple[Sequence[str], int]], candidates: Sequence[str], seed: int
) -> tuple[Ranking, tuple[dict[str, int], ...], tuple[str, ...]]:
    """The ranking, the votes of each round, and who was eliminated by lot. ``orders`` have a weight each."""
    left = list(candidates)
    rounds: Rounds = []
    gone: list[tuple[str, ...]] = []
    lots: list[str] = []
    while True:
        votes = dict.fromkeys(left, 0)
        for order, weight in orders:
            if (choice := next((name for name in order if name in votes), None)) is not None:
                votes[choice] += weight
        rounds.append(votes)
        fewest = min(votes.values())
        lowest = [name for name in left if votes[name] == fewest]
        if len(lowest) == len(left):
            return (tuple(left), *reversed(gone)), tuple(rounds), tuple(lots)
        if fewest * len(lowest) >= min(count for count in votes.values() if count > fewest):
            lowest = _fewer_before(lowest, rounds)
            if len(lowest) > 1:
                lowest = by_lot(lowest, seed)[-1:]
                lots += lowest
        gone.append(tuple(lowest))
        left = [name for name in left if name not in lowest]


def _fewer_before(level: list[str], rounds: Rounds) -> list[str]:
    """Of those who are level now, the ones that had the fewest in the latest round in which they were not."""
    for votes in reversed(rounds):
        fewest = min(votes[name] for name in level)
        level = [name for name in level if votes[name] == fewest]
    return level
