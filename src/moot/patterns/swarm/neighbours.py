"""Neighbours: what was heard of each of them last. The newest tick wins.

So it makes no difference in which order updates come, how often, or how late: what is known after them is the same
(the maximum is associative, commutative and idempotent).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from moot.patterns.swarm.messages import PositionUpdate
from moot.patterns.swarm.rules import Box, Rules

__all__ = ["is_news", "joined", "missing", "silent"]

_TOLERANCE = 1e-6


def joined(
    heard: Mapping[str, PositionUpdate], news: Iterable[tuple[str, PositionUpdate]]
) -> dict[str, PositionUpdate]:
    """What is known after ``news``, pairs of a boid and its update."""
    known = dict(heard)
    for boid, update in news:
        before = known.get(boid)
        if before is None or before.tick < update.tick:
            known[boid] = update
    return known


def silent(boids: Iterable[str], heard: Mapping[str, PositionUpdate], tick: int, forget_after: int) -> list[str]:
    """Of whom nothing was heard in the ``forget_after`` ticks before ``tick``: nobody sees or waits for them."""
    return [boid for boid in boids if _last(heard, boid) < tick - forget_after]


def missing(boids: Iterable[str], heard: Mapping[str, PositionUpdate], tick: int, forget_after: int) -> bool:
    """Whether one that is not silent has still to tell where it is at ``tick``."""
    return any(tick - forget_after <= _last(heard, boid) < tick for boid in boids)


def is_news(update: PositionUpdate, before: PositionUpdate | None, tick: int, rules: Rules, box: Box) -> bool:
    """Whether it is newer, and can be true: in the box, at the speed of all, no further than it flies, by ``tick``."""
    if not (0 <= update.tick <= tick and box.contains(update.position) and len(update.velocity) == box.dim):
        return False
    if not abs(math.hypot(*update.velocity) - rules.speed) <= _TOLERANCE * rules.speed:  # (also what is no number)
        return False
    if before is None:
        return True
    if update.tick <= before.tick:
        return False
    reach = rules.speed * (update.tick - before.tick) * (1 + _TOLERANCE)
    return math.dist(before.position, update.position) <= reach or (
        math.hypot(*box.way(before.position, update.position)) <= reach
    )


def _last(heard: Mapping[str, PositionUpdate], boid: str) -> int:
    update = heard.get(boid)
    return -1 if update is None else update.tick
