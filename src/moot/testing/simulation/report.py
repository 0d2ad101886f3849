"""Reports: what a person needs to see of a failing seed, and searching for one.

The first failing seed, its shrunk faults, what happened at last, and one line that
runs it again.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from moot.testing.simulation.faults import STRUCK, Fault, Faults
from moot.testing.simulation.invariants import Invariant
from moot.testing.simulation.laws import LAWS
from moot.testing.simulation.shrink import shrink
from moot.testing.simulation.simulate import Build, Simulation, simulate
from moot.testing.simulation.trace import Event
from moot.testing.simulation.world import SimulatedManager

__all__ = ["Search", "SimulationFailed", "as_json", "report", "search"]

_SHOWN = 30


class SimulationFailed(AssertionError):
    """A simulation broke a law, or what it ran raised; the text is the report."""

    def __init__(self, simulation: Simulation, replay: str = "") -> None:
        self.simulation = simulation
        super().__init__(report(simulation, replay))


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


def report(simulation: Simulation, replay: str = "") -> str:
    """The report of one run, in lines."""
    failed = simulation.failure is not None
    lines = [f"seed {simulation.seed} {f'fails: {simulation.failure}' if failed else 'holds'}"]
    lines += [f"  {violation}" for violation in simulation.violations]
    if simulation.error is not None:
        lines += ["".join(traceback.format_exception(simulation.error)).rstrip()]
    lines += ["", f"faults that struck: {_listed(simulation.struck)}"]
    events = _told(simulation.events)
    lines += ["", "what happened (virtual seconds, sender -> receiver, message, outcome; … for what went well before):"]
    lines += [f"  {event}" for event in events]
    lines += [
        "",
        f"{simulation.turns} turns in {simulation.seconds:g} virtual seconds, digest {simulation.digest}",
    ]
    if replay:
        lines += ["", f"replay: {replay}"]
    return "\n".join(lines)


def as_json(simulation: Simulation) -> dict[str, Any]:
    """The same as plain values."""
    return {
        "seed": simulation.seed,
        "failure": simulation.failure,
        "violations": [str(violation) for violation in simulation.violations],
        "error": None if simulation.error is None else repr(simulation.error),
        "faults": [str(fault) for fault in simulation.struck],
        "turns": simulation.turns,
        "virtual_seconds": simulation.seconds,
        "dead_letters": simulation.dead_letters,
        "digest": simulation.digest,
        "events": _told(simulation.events),
    }


def _told(events: Sequence[Event]) -> list[str]:
    """The last events, and of those before them what was struck."""
    told: list[str] = []
    last = -1
    first = max(len(events) - _SHOWN, 0)
    struck = [i for i in range(first) if events[i].what.removeprefix("answer ") in STRUCK.values()]
    for index in (*struck[-_SHOWN:], *range(first, len(events))):
        told += ["…"] if index != last + 1 else []
        told.append(str(events[index]))
        last = index
    return told


def _listed(faults: Sequence[Fault]) -> str:
    if not faults:
        return "none"
    shown = " ".join(str(fault) for fault in faults[:20])
    return f"{len(faults)}: {shown}{' …' if len(faults) > 20 else ''}"
