"""Flock: boids that fly together, as arrays.

A tick is a function of the arrays before it, of the seed and of the number of the tick: no generator is carried along.
So a flock can be put down as a `FlockState` at any tick and goes on from there, in another process too, as if nothing
had been.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from moot.patterns.swarm import cell_list
from moot.patterns.swarm.kdtree import by_tree, pairs
from moot.patterns.swarm.motion import drawn, moved, normed, turned
from moot.patterns.swarm.rules import Boids, Box, Rules
from moot.patterns.swarm.sums import Engine, Floats, by_definition

__all__ = ["EngineName", "Flock", "FlockState", "polar_order"]

EngineName = Literal["auto", "numba", "kdtree", "numpy"]

_WORTH_LOADING = 1_000
"""The number of boids from which numba, which takes a second to load, is taken by itself."""
_TOLERANCE = 1e-9
"""By which part a velocity that is put down may miss the speed of all and is left as it is, to the last bit."""


class FlockState(msgspec.Struct, frozen=True):
    """All there is to a flock at a tick. Positions and velocities are float64, little-endian, row by row."""

    rules: Rules
    box: Box
    seed: int
    tick: int
    positions: bytes
    velocities: bytes


class Flock:
    """``n`` boids in a box, at random places and with random headings to begin with.

    ``positions`` and ``velocities`` are read-only float64 arrays of shape (n, dim), in the box's unit of length and in
    that per tick; ``tick`` counts the steps. The same seed gives the same flight. ``engine`` finds the neighbours:
    ``numba`` (a compiled cell list), ``kdtree`` (scipy), ``numpy`` (the definition, N² of time and memory), or
    ``auto``: numba for 1,000 boids or more where it is installed, else kdtree.

    Raises:
        ValueError: the box is too small for the rules. ModuleNotFoundError: numba is wanted and not installed.
    """

    def __init__(
        self, n: int, rules: Rules | None = None, *, box: Box | None = None, seed: int = 0, engine: EngineName = "auto"
    ) -> None:
        if n < 1:
            raise ValueError(f"a flock has at least 1 boid, not {n}")
        if seed < 0:
            raise ValueError(f"a seed is 0 or more, not {seed}")
        self.rules = Boids() if rules is None else rules
        self.box = Box.around(n, r=self.rules.r) if box is None else box
        self.box.check_fits(self.rules)
        self.seed = seed
        self.tick = 0
        self.engine = _chosen(engine, n)
        self._sums = _ENGINES[self.engine]
        if self.engine == "numba":
            cell_list.load()
        random = np.random.default_rng((seed, 0))
        positions = random.uniform(0, 1, (n, self.box.dim)) * self.box.sides
        headings = normed(random.normal(size=(n, self.box.dim)), np.eye(1, self.box.dim))
        self._hold(positions, self.rules.speed * headings)

    @classmethod
    def restore(cls, state: FlockState, *, engine: EngineName = "auto") -> Flock:
        """The flock that was put down. Raises `ValueError` where it is none."""
        positions, velocities = (
            np.frombuffer(kept, "<f8").reshape(-1, state.box.dim) for kept in (state.positions, state.velocities)
        )
        flock = cls(len(positions), state.rules, box=state.box, seed=state.seed, engine=engine)
        flock.put(positions, velocities)
        flock.tick = state.tick
        return flock

    def put(self, positions: Any, velocities: Any) -> Flock:
        """Put the boids elsewhere: arrays or lists of shape (n, dim); velocities are scaled to the speed of all.

        Raises:
            ValueError: a shape is another, a position is not in the box, or nobody knows where a boid is heading.
        """
        places, ways = np.array(positions, np.float64), np.array(velocities, np.float64)
        if not places.shape == ways.shape == self.positions.shape:
            raise ValueError(
                f"positions and velocities are of shape {self.positions.shape}, not {places.shape} and {ways.shape}"
            )
        if not ((places >= 0) & (places <= self.box.sides)).all():
            raise ValueError(f"each position is in the box, from 0 to {self.box.sides}")
        lengths = np.sqrt((ways * ways).sum(axis=1, keepdims=True))
        if not ((lengths > 0) & np.isfinite(lengths)).all():
            raise ValueError("each velocity is finite and not 0, because it says where a boid is heading")
        speed = self.rules.speed
        ways = np.where(np.abs(lengths - speed) <= _TOLERANCE * speed, ways, speed * ways / lengths)
        places, _ = moved(places, np.zeros_like(places), self.box)
        self._hold(places, ways)
        return self

    def _hold(self, positions: Floats, velocities: Floats) -> None:
        self.positions, self.velocities = positions, velocities
        positions.flags.writeable = velocities.flags.writeable = False

    def __len__(self) -> int:
        return len(self.positions)

    def step(self, k: int = 1) -> Flock:
        """Let ``k`` ticks pass; returns the flock itself."""
        for _ in range(k):
            self._step()
        return self

    def _step(self) -> None:
        rules = self.rules
        headings = self.velocities / rules.speed
        sums = self._sums(self.positions, headings, rules, self.box)
        new = turned(self.positions, headings, sums, rules, self.box)
        self.tick += 1
        if rules.noise:
            new = drawn(new, rules.noise, np.random.default_rng((self.seed, self.tick)))
        velocities = rules.speed * new
        if not rules.moves_first:
            self._hold(*moved(self.positions, velocities, self.box))
            return
        positions, thrown = moved(self.positions, self.velocities, self.box)
        # whom the wall has thrown back has turned, whatever it saw before
        self._hold(positions, velocities if thrown is self.velocities else velocities * _same(thrown, self.velocities))

    def order(self) -> float:
        """The polar order |Σ v| / Σ |v|: 1 when all fly in one direction, about 1/√n when each flies in its own."""
        return polar_order(self.velocities)

    def clusters(self) -> NDArray[np.int64]:
        """To which cluster each boid belongs, (n,): those who see each other, at once or through others.

        Clusters are numbered from 0 by size, the largest first.
        """
        n = len(self)
        first, second, _, _ = pairs(self.positions, self.rules.r, self.box)
        _, labels = connected_components(
            coo_array((np.ones(len(first)), (first, second)), shape=(n, n)), directed=False
        )
        by_size = np.argsort(-np.bincount(labels), kind="stable")
        numbers = np.empty_like(by_size)
        numbers[by_size] = np.arange(len(by_size))
        found: NDArray[np.int64] = numbers[labels].astype(np.int64)
        return found

    def state(self) -> FlockState:
        """The flock as a value, from which `restore` makes the same flock."""
        positions, velocities = (array.astype("<f8").tobytes() for array in (self.positions, self.velocities))
        return FlockState(self.rules, self.box, self.seed, self.tick, positions, velocities)


def polar_order(velocities: Floats | Sequence[Sequence[float]]) -> float:
    """The polar order of velocities (n, dim), n above 0: between 0 and 1."""
    v = np.asarray(velocities, np.float64)
    return min(1.0, float(np.linalg.norm(v.sum(axis=0)) / np.linalg.norm(v, axis=1).sum()))


def _same(thrown: Floats, before: Floats) -> Floats:
    signs: Floats = np.where(thrown == before, 1.0, -1.0)
    return signs


def _chosen(engine: EngineName, n: int) -> Literal["numba", "kdtree", "numpy"]:
    if engine not in get_args(EngineName):
        raise ValueError(f"engine is one of {', '.join(get_args(EngineName))}, not {engine!r}")
    if engine == "auto":
        return "numba" if n >= _WORTH_LOADING and importlib.util.find_spec("numba") is not None else "kdtree"
    return engine


_ENGINES: dict[str, Engine] = {"numba": cell_list.by_cells, "kdtree": by_tree, "numpy": by_definition}
