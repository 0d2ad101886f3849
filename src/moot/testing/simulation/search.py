"""Search: run many seeds, up to the first that fails, and shrink what makes it fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from moot.testing.simulation.faults import Faults
from moot.testing.simulation.invariants import Invariant
from moot.testing.simulation.laws import LAWS
from moot.testing.simulation.outcome import Simulation, SimulationFailed
from moot.testing.simulation.shrink import shrink
from moot.testing.simulation.simulate import Build, simulate
from moot.testing.simulation.world import SimulatedManager

__all__ = ["Search", "search"]


class Search(msgspec.Struct, frozen=True):
    """What running many seeds showed: totals, and the first that failed, as found and shrunk."""

    seeds: int
    turns: int
    seconds: float
    dead_letters: dict[str, int]
    struck: dict[str, int]
    first: Simulation | None = None
    shrunk: Simulation | None = None

    def check(self, replay: Callable[[Simulation], str] = lambda simulation: "") -> Search:
        """Return itself if no seed failed.

        Raises:
            SimulationFailed: one did; ``replay`` writes the line that runs it again.
        """
        if self.shrunk is not None:
            raise SimulationFailed(self.shrunk, replay(self.shrunk)) from self.shrunk.error
        return self


def search(
    build: Build,
    *,
    seeds: Iterable[int],
    faults: Faults = Faults(),
    until: float | None = None,
    invariants: Sequence[type[Invariant]] = LAWS,
    make: Callable[..., SimulatedManager] = SimulatedManager,
) -> Search:
    """Simulate with one seed after the other, up to the first that fails, and shrink that one. See `simulate`."""

    def run(seed: int, faults: Faults) -> Simulation:
        return simulate(build, seed=seed, faults=faults, until=until, invariants=invariants, make=make)

    dead: Counter[str] = Counter()
    struck: Counter[str] = Counter()
    done = turns = 0
    seconds = 0.0
    first: Simulation | None = None
    for seed in seeds:
        result = run(seed, faults)
        done, turns, seconds = done + 1, turns + result.turns, seconds + result.seconds
        dead.update(result.dead_letters)
        struck.update(fault.kind for fault in result.struck)
        if result.failure is not None:
            first = result
            break
    shrunk = None
    if first is not None:
        shrunk = shrink(first, lambda just: run(first.seed, faults.just(just)))
    return Search(done, turns, seconds, dict(dead), dict(struck), first, shrunk)
