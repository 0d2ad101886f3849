"""Sums: what a flock's engines compute, and the definition of it that compares each boid with each other.

An engine finds for each boid the others within ``r`` and adds up their headings and the pulls that they exert. All else
of a tick is the same for all engines (`moot.patterns.swarm.motion`). This definition takes N² time and memory, and is
what the engines are tested against.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from moot.patterns.swarm.rules import Box, Rules

__all__ = ["Engine", "Floats", "Sums", "by_definition", "ways"]

Floats = NDArray[np.float64]


class Sums(NamedTuple):
    """Over the others within ``r`` of each of N boids: how many, their headings, and their pulls.

    Shapes (N,), (N, dim), (N, dim). The pull of one at ``d`` is ``cohesion d / r - separation r d / |d|²``; one in the
    very same place has none.
    """

    counts: Floats
    headings: Floats
    pulls: Floats


Engine = Callable[[Floats, Floats, Rules, Box], Sums]
"""Given positions in the box and headings, both (N, dim)."""


def by_definition(positions: Floats, headings: Floats, rules: Rules, box: Box) -> Sums:
    """Each boid against each other."""
    d = ways(positions[:, None, :], positions[None, :, :], box)
    squares = (d * d).sum(axis=-1)
    is_near = squares <= rules.r**2
    np.fill_diagonal(is_near, val=False)
    apart = np.where(squares > 0, squares, np.inf)
    pulls = d * (is_near * (rules.cohesion / rules.r - rules.separation * rules.r / apart))[:, :, None]
    return Sums(is_near.sum(axis=1).astype(np.float64), is_near @ headings, pulls.sum(axis=1))


def ways(starts: Floats, ends: Floats, box: Box) -> Floats:
    """From starts to ends; in a periodic box the shortest of all ways."""
    d: Floats = ends - starts
    if box.is_periodic:
        sides = np.array(box.sides)
        d -= sides * np.rint(d / sides)
    return d
