"""Pairwise comparison: how many prefer whom to whom, and the strongest paths through it.

Source: M. Schulze, "A new monotonic, clone-independent, reversal symmetric, and Condorcet-consistent single-winner
election method", Social Choice and Welfare 36, 2011.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

from moot.patterns.voting.ballots import Ballot, Ranking

__all__ = ["Matrix", "beaten", "layers", "pairwise", "strongest_paths"]

Matrix = dict[str, dict[str, int]]
"""``matrix[a][b]`` is the votes for ``a`` against ``b``, or the strength of a path from ``a`` to ``b``."""


def pairwise(ballots: Sequence[Ballot], candidates: Sequence[str], *, weights: Sequence[int] = ()) -> Matrix:
    """How many votes prefer each candidate to each other. Who is not ranked comes after all who are."""
    matrix = {name: {other: 0 for other in candidates if other != name} for name in candidates}
    for index, ballot in enumerate(ballots):
        place = {name: number for number, names in enumerate(ballot.ranking) for name in names}
        last = len(ballot.ranking)
        for better, worse in permutations(candidates, 2):
            if place.get(better, last) < place.get(worse, last):
                matrix[better][worse] += weights[index] if weights else 1
    return matrix


def strongest_paths(matrix: Mapping[str, Mapping[str, int]]) -> Matrix:
    """The strength of the strongest path from each to each, a path being as strong as the weakest of its victories.

    The strength of a victory is the votes for it; that of a defeat or draw is 0. The algorithm is Floyd and Warshall's.
    """
    paths = {
        name: {other: votes if votes > matrix[other][name] else 0 for other, votes in row.items()}
        for name, row in matrix.items()
    }
    for middle, start, end in permutations(matrix, 3):
        paths[start][end] = max(paths[start][end], min(paths[start][middle], paths[middle][end]))
    return paths


def beaten(paths: Mapping[str, Mapping[str, int]]) -> dict[str, set[str]]:
    """For each candidate the others whom it is placed before: to whom it has a stronger path than they have back."""
    return {
        name: {other for other, strength in row.items() if strength > paths[other][name]} for name, row in paths.items()
    }


def layers(wins: Mapping[str, set[str]]) -> Ranking:
    """The candidates in groups: first all whom nobody beats, then all whom nobody beats of the rest, and so on."""
    ranking = []
    left = list(wins)
    while left:
        best = [name for name in left if not any(name in wins[other] for other in left)]
        ranking.append(tuple(best))
        left = [name for name in left if name not in best]
    return tuple(ranking)
