"""Messages of a swarm whose boids are agents, and of an agent that holds a whole flock."""

from __future__ import annotations

import msgspec

from moot import Payload, Request
from moot.patterns.swarm.flock import FlockState
from moot.patterns.swarm.rules import Vector

__all__ = [
    "Advance",
    "AdvanceTo",
    "Fly",
    "GetFlock",
    "GetPositions",
    "Neighbourhood",
    "PositionUpdate",
    "Report",
    "SwarmReport",
]


class PositionUpdate(Payload):
    """Where its sender is at a tick, and its velocity, per tick."""

    tick: int
    position: Vector
    velocity: Vector


class Neighbourhood(Payload):
    """What a boid sees at ``tick``: the last that was heard of those near it. It moves once and tells where it is then.

    One that has moved on already repeats what it told last.
    """

    tick: int
    others: tuple[PositionUpdate, ...] = ()


class Report(msgspec.Struct, frozen=True):
    """A flock at a tick, by its polar order (0 to 1)."""

    tick: int
    order: float


class SwarmReport(Report, frozen=True):
    """The same of a swarm: how many boids were ``heard`` of lately, and who is ``silent``."""

    heard: int
    silent: tuple[str, ...] = ()


class Fly(Request[SwarmReport]):
    """Go on until tick ``until``; the answer comes then. Asked twice, it is done once."""

    until: int


class GetPositions(Request[dict[str, PositionUpdate]]):
    """The last that was heard of each boid."""


class AdvanceTo(Request[Report]):
    """Let a flock come to ``tick``; asked twice, it is done once."""

    tick: int


class Advance(Request[Report]):
    """Let ``steps`` ticks of a flock pass."""

    steps: int = 1


class GetFlock(Request[FlockState]):
    """The flock as it is, for `Flock.restore`."""
