"""The engine that needs scipy alone: pairs of neighbours from a k-d tree, added up by numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from moot.patterns.swarm.rules import Box, Rules
from moot.patterns.swarm.sums import Floats, Sums, ways

__all__ = ["by_tree", "neighbours", "pairs"]

_WIDER = 1 + 1e-9
"""The tree rounds differently: it is asked for more, and who is within ``r`` is decided as in the definition."""


def by_tree(positions: Floats, headings: Floats, rules: Rules, box: Box) -> Sums:
    """As the definition says, in about N log N."""
    n = len(positions)
    first, second, d, squares = pairs(positions, rules.r, box)
    both = np.concatenate((first, second))
    counts = np.bincount(both, minlength=n).astype(np.float64)
    others = headings.take(np.concatenate((second, first)), axis=0)
    seen = np.empty_like(headings)
    pulls = np.zeros_like(headings)
    for axis in range(box.dim):
        seen[:, axis] = np.bincount(both, others[:, axis], n)
    if rules.separation or rules.cohesion:
        squares[squares == 0] = np.inf
        d *= (rules.cohesion / rules.r - rules.separation * rules.r / squares)[:, None]
        for axis in range(box.dim):
            pulls[:, axis] = np.bincount(both, np.concatenate((d[:, axis], -d[:, axis])), n)
    return Sums(counts, seen, pulls)


def pairs(positions: Floats, r: float, box: Box) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats, Floats]:
    """Each pair within ``r`` once: first, second, the way from the first to the second, and its length squared."""
    found = _tree(positions, box).query_pairs(r * _WIDER, output_type="ndarray")
    first, second = np.ascontiguousarray(found[:, 0]), np.ascontiguousarray(found[:, 1])
    d = ways(positions.take(first, axis=0), positions.take(second, axis=0), box)
    squares = np.einsum("ij,ij->i", d, d)
    is_near = squares <= r * r
    if is_near.all():
        return first, second, d, squares
    return first[is_near], second[is_near], d[is_near], squares[is_near]


def neighbours(places: Floats, others: Floats, r: float, box: Box) -> list[list[int]]:
    """For each place the numbers of the others within ``r``, or a rounding error more, of it, in rising order."""
    if not len(others) or not len(places):
        return [[] for _ in places]
    found: list[list[int]] = _tree(others, box).query_ball_point(places, r * _WIDER, return_sorted=True).tolist()
    return found


def _tree(positions: Floats, box: Box) -> cKDTree:
    return cKDTree(positions, boxsize=box.sides if box.is_periodic else None, compact_nodes=False, balanced_tree=False)
