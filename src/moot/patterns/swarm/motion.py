"""Motion: from what each boid sees to where it is one tick later, for a whole flock at once."""

from __future__ import annotations

import numpy as np

from moot.patterns.swarm.rules import Boids, Box, Rules
from moot.patterns.swarm.sums import Floats, Sums

__all__ = ["drawn", "moved", "normed", "turned"]

_NOTHING = 1e-12
"""A sum of headings shorter than this has cancelled out; what is left of it is rounding."""


def turned(positions: Floats, headings: Floats, sums: Sums, rules: Rules, box: Box) -> Floats:
    """The headings, (N, dim), that the rules make of what is seen, before noise."""
    if not isinstance(rules, Boids):
        return normed(headings + sums.headings, headings)
    some = np.maximum(sums.counts, 1.0)[:, None]
    steered = headings + (rules.alignment * sums.headings + sums.pulls) / some
    steered -= np.where(sums.counts > 0, rules.alignment, 0.0)[:, None] * headings
    if not box.is_periodic and rules.avoidance:
        near, far = positions / rules.r, (np.array(box.sides) - positions) / rules.r
        steered += rules.avoidance * (np.maximum(1.0 - near, 0.0) - np.maximum(1.0 - far, 0.0))
    return normed(steered, headings)


def drawn(headings: Floats, noise: float, random: np.random.Generator) -> Floats:
    """The headings after a random turn of at most ``noise / 2`` radians to either side.

    In 3 dimensions the axis of the turn is random, too, among those at right angles to the heading.
    """
    n, dim = headings.shape
    angles = random.uniform(-noise / 2, noise / 2, n)
    cosines, sines = np.cos(angles)[:, None], np.sin(angles)[:, None]
    if dim == 2:
        aside = np.stack((-headings[:, 1], headings[:, 0]), axis=1)
    else:
        aside = random.normal(size=(n, 3))
        aside -= (aside * headings).sum(axis=1)[:, None] * headings
        aside = normed(aside, np.roll(headings, 1, axis=1))
    return normed(cosines * headings + sines * aside, headings)


def moved(positions: Floats, velocities: Floats, box: Box) -> tuple[Floats, Floats]:
    """Positions and velocities one tick later: through the sides of a periodic box, or thrown back from walls."""
    sides = np.array(box.sides)
    reached = positions + velocities
    if box.is_periodic:
        reached -= sides * np.floor(reached / sides)
        reached[(reached < 0) | (reached >= sides)] = 0.0  # rounding, at the side
        return reached, velocities
    is_out = (reached < 0) | (reached > sides)
    reached = np.abs(reached)
    return np.where(reached > sides, 2 * sides - reached, reached), np.where(is_out, -velocities, velocities)


def normed(vectors: Floats, otherwise: Floats) -> Floats:
    """Each scaled to length 1; one of no length, or of none that is a number, is replaced by that of ``otherwise``."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    scaled: Floats
    if lengths.min(initial=1.0) > _NOTHING and lengths.max(initial=1.0) < np.inf:
        scaled = vectors / lengths
    else:
        has_length = (lengths > _NOTHING) & (lengths < np.inf)
        scaled = np.where(has_length, vectors, otherwise) / np.where(has_length, lengths, 1.0)
    return scaled
