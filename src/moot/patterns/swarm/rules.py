"""Rules and boxes: what a boid does about its neighbours, and the space it flies in, as values.

Lengths are in any unit, times in ticks. All boids fly at the same speed; what the rules change is the heading ``u``, a
unit vector. With ``d`` the way to a neighbour (the shortest one, in a periodic box) and means over all others within
``r``, a boid's next heading is, scaled back to length 1,

    u + alignment (mean u_j - u) + cohesion mean(d) / r - separation mean(r d / |d|²)

and in a box with walls, for each wall nearer than ``r``, avoidance (1 - distance / r) away from it.

Sources: C. Reynolds, "Flocks, Herds, and Schools", SIGGRAPH 1987, for the three rules, and "Steering Behaviors", GDC
1999, for the weight 1/|d| of the separation; T. Vicsek et al., "Novel Type of Phase Transition in a System of
Self-Driven Particles", PRL 75, 1995.
"""

from __future__ import annotations

import math
from typing import ClassVar

import msgspec

__all__ = ["Boids", "Box", "Rules", "Vector", "Vicsek"]

Vector = tuple[float, ...]


class Boids(msgspec.Struct, frozen=True, tag=True):
    """Reynolds' boids: keep apart, fly as the others do, stay together.

    ``r`` is how far a boid sees. ``avoidance`` is for walls, where there are some.
    ``noise`` is the width of a uniform random turn at each tick, in radians.
    """

    r: float = 1.0
    separation: float = 0.05
    alignment: float = 0.3
    cohesion: float = 0.05
    avoidance: float = 0.3
    speed: float = 0.05
    noise: float = 0.0
    moves_first: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_positive(r=self.r, speed=self.speed)
        _check_weights(separation=self.separation, alignment=self.alignment, cohesion=self.cohesion)
        _check_weights(avoidance=self.avoidance, noise=self.noise)


class Vicsek(msgspec.Struct, frozen=True, tag=True):
    """Vicsek's model: the mean heading of all within ``r``, oneself among them, and a random turn.

    ``noise`` is the η of the paper: the turn is uniform between -η/2 and η/2, in radians. A boid moves with the
    velocity it had, and turns then.
    """

    r: float = 1.0
    speed: float = 0.03
    noise: float = 0.0
    separation: ClassVar[float] = 0.0
    cohesion: ClassVar[float] = 0.0
    moves_first: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_positive(r=self.r, speed=self.speed)
        _check_weights(noise=self.noise)


Rules = Boids | Vicsek


class Box(msgspec.Struct, frozen=True):
    """From 0 to ``sides``, in 2 or 3 dimensions.

    Who leaves a periodic box on one side comes in on the other; from the walls of another it is thrown back as light
    from a mirror.
    """

    sides: Vector
    is_periodic: bool = True

    def __post_init__(self) -> None:
        if len(self.sides) not in (2, 3):
            raise ValueError(f"a box has 2 or 3 sides, not {len(self.sides)}")
        _check_positive(**{f"side {number}": side for number, side in enumerate(self.sides, 1)})

    @classmethod
    def cube(cls, side: float, dim: int = 2, *, is_periodic: bool = True) -> Box:
        """A box of ``dim`` equal sides."""
        return cls((float(side),) * dim, is_periodic)

    @classmethod
    def around(cls, n: int, dim: int = 2, *, r: float = 1.0, neighbours: float = 12.0) -> Box:
        """A periodic cube in which ``n`` boids, evenly spread, see ``neighbours`` others each; never too small."""
        ball = math.pi * r**2 if dim == 2 else 4 / 3 * math.pi * r**3
        return cls.cube(max(2.5 * r, (n * ball / neighbours) ** (1 / dim)), dim)

    @property
    def dim(self) -> int:
        """How many dimensions."""
        return len(self.sides)

    def check_fits(self, rules: Rules) -> None:
        """Raise `ValueError` where a boid would see another twice, or could cross the box in a tick."""
        if self.is_periodic and not 2 * rules.r < min(self.sides):
            raise ValueError(
                f"in a periodic box of {min(self.sides):g} a boid sees less than half as far, not r={rules.r:g}; "
                "take a larger box or a smaller r"
            )
        if not rules.speed < min(self.sides):
            raise ValueError(f"a boid of speed {rules.speed:g} crosses a box of {min(self.sides):g} in one tick")

    def contains(self, position: Vector) -> bool:
        """Whether it is a finite position in this box."""
        if len(position) != len(self.sides):
            return False
        for x, side in zip(position, self.sides, strict=True):  # noqa: SIM110 - a generator takes twice as long
            if not 0 <= x <= side:
                return False
        return True

    def way(self, start: Vector, end: Vector) -> Vector:
        """From ``start`` to ``end``: in a periodic box the shortest of all ways."""
        if not self.is_periodic:
            return tuple(b - a for a, b in zip(start, end, strict=True))
        return tuple(b - a - side * round((b - a) / side) for a, b, side in zip(start, end, self.sides, strict=True))

    def moved(self, position: Vector, velocity: Vector) -> tuple[Vector, Vector]:
        """Position and velocity one tick later."""
        if self.is_periodic:
            return tuple(
                [_wrapped(x + v, side) for x, v, side in zip(position, velocity, self.sides, strict=True)]
            ), velocity
        mirrored = [_mirrored(x + v, v, side) for x, v, side in zip(position, velocity, self.sides, strict=True)]
        return tuple([x for x, _ in mirrored]), tuple([v for _, v in mirrored])


def _wrapped(x: float, side: float) -> float:
    x %= side
    return x if x < side else 0.0  # (-1e-20 % 1.0 is 1.0)


def _mirrored(x: float, v: float, side: float) -> tuple[float, float]:
    if x < 0:
        return -x, -v
    return (2 * side - x, -v) if x > side else (x, v)


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} is above 0 and finite, not {value:g}")


def _check_weights(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} is 0 or more and finite, not {value:g}")
