"""Boid: where one boid is a tick later, given whom it sees; the rules as they are read, without arrays.

A `Flock` does the same for all of its boids at once. This is what each `SwarmAgent` does at each tick; so the sum over
the others is written out for 2 and for 3 dimensions: with a loop over the axes inside, it takes four times as long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Protocol

from moot.patterns.swarm.rules import Boids, Box, Rules, Vector

__all__ = ["Seen", "moved"]

_NOTHING = 1e-12
"""A sum shorter than this part of its length to be has cancelled out; what is left of it is rounding."""

Sums = tuple[int, Vector, Vector]
"""Over the others within ``r``: how many, their velocities, and their pulls."""


class Seen(Protocol):
    """What is known of another boid; its velocity has the speed of all."""

    @property
    def position(self) -> Vector: ...
    @property
    def velocity(self) -> Vector: ...


def moved(
    rules: Rules, box: Box, position: Vector, velocity: Vector, others: Sequence[Seen], random: Random | None
) -> tuple[Vector, Vector]:
    """Position and velocity one tick later. Of the others only those within ``r`` count; noise takes a ``random``."""
    count, velocities, pulls = (_sums_2 if len(position) == 2 else _sums_3)(rules, box, position, others)
    if isinstance(rules, Boids):
        steered = _steered(rules, box, position, velocity, (count, velocities, pulls))
    else:
        steered = [v + seen for v, seen in zip(velocity, velocities, strict=True)]
    if rules.noise and random is not None:
        steered = _drawn(_scaled(steered, 1.0, velocity), rules.noise, random)
    turned = _scaled(steered, rules.speed, velocity)
    if not rules.moves_first:
        return box.moved(position, turned)
    reached, thrown = box.moved(position, velocity)
    return reached, tuple(v if a == b else -v for v, a, b in zip(turned, thrown, velocity, strict=True))


def _steered(rules: Boids, box: Box, position: Vector, velocity: Vector, sums: Sums) -> Sequence[float]:
    """The next velocity before it is scaled to the speed of all."""
    speed = rules.speed
    count, velocities, pulls = sums
    steered = list(velocity)
    if count:
        own, along, aside = 1.0 - rules.alignment, rules.alignment / count, speed / count
        steered = [
            own * v + along * seen + aside * pull for v, seen, pull in zip(velocity, velocities, pulls, strict=True)
        ]
    if not box.is_periodic:
        for axis, (x, side) in enumerate(zip(position, box.sides, strict=True)):
            inward = max(1.0 - x / rules.r, 0.0) - max(1.0 - (side - x) / rules.r, 0.0)
            steered[axis] += speed * rules.avoidance * inward
    return steered


def _sums_2(rules: Rules, box: Box, position: Vector, others: Sequence[Seen]) -> Sums:
    r2, cohesion, separation = rules.r**2, rules.cohesion / rules.r, rules.separation * rules.r
    x, y = position
    side_x, side_y = box.sides if box.is_periodic else (math.inf, math.inf)
    half_x, half_y = side_x / 2, side_y / 2
    count = 0
    v_x = v_y = p_x = p_y = 0.0
    for other in others:
        d_x, d_y = other.position
        d_x -= x
        d_y -= y
        if not -half_x <= d_x <= half_x:
            d_x -= math.copysign(side_x, d_x)
        if not -half_y <= d_y <= half_y:
            d_y -= math.copysign(side_y, d_y)
        square = d_x * d_x + d_y * d_y
        if square <= r2:
            count += 1
            pull = cohesion - separation / square if square else 0.0
            p_x += pull * d_x
            p_y += pull * d_y
            o_x, o_y = other.velocity
            v_x += o_x
            v_y += o_y
    return count, (v_x, v_y), (p_x, p_y)


def _sums_3(rules: Rules, box: Box, position: Vector, others: Sequence[Seen]) -> Sums:
    r2, cohesion, separation = rules.r**2, rules.cohesion / rules.r, rules.separation * rules.r
    count = 0
    v_x = v_y = v_z = p_x = p_y = p_z = 0.0
    for other in others:
        d_x, d_y, d_z = box.way(position, other.position)
        square = d_x * d_x + d_y * d_y + d_z * d_z
        if square <= r2:
            count += 1
            pull = cohesion - separation / square if square else 0.0
            p_x += pull * d_x
            p_y += pull * d_y
            p_z += pull * d_z
            o_x, o_y, o_z = other.velocity
            v_x += o_x
            v_y += o_y
            v_z += o_z
    return count, (v_x, v_y, v_z), (p_x, p_y, p_z)


def _drawn(heading: Vector, noise: float, random: Random) -> Sequence[float]:
    angle = random.uniform(-noise / 2, noise / 2)
    if len(heading) == 2:
        aside: Vector = (-heading[1], heading[0])
    else:
        drawn = [random.gauss(0.0, 1.0) for _ in heading]
        along = sum(a * u for a, u in zip(drawn, heading, strict=True))
        aside = _scaled([a - along * u for a, u in zip(drawn, heading, strict=True)], 1.0, heading)
    cosine, sine = math.cos(angle), math.sin(angle)
    return [cosine * u + sine * a for u, a in zip(heading, aside, strict=True)]


def _scaled(vector: Sequence[float], length: float, otherwise: Vector) -> Vector:
    """A vector of that length; in the direction of ``otherwise`` if it has cancelled out, or is no number."""
    there = math.hypot(*vector)
    if not _NOTHING * length < there < math.inf:
        vector, there = otherwise, math.hypot(*otherwise)
    factor = length / there
    return tuple([factor * x for x in vector])
