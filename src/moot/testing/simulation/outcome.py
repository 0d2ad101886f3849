"""Outcomes: what one simulated run showed, and the report that a person needs to see of it.

The report has the seed, the faults that struck, what happened at last, and one line that runs the seed again.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any

import msgspec

from moot.testing.simulation.faults import STRUCK, Fault, Faults
from moot.testing.simulation.trace import Event

__all__ = ["Simulation", "SimulationFailed", "Violation", "as_json", "report"]

_SHOWN = 30


class Violation(msgspec.Struct, frozen=True):
    """A law that did not hold, at ``time`` virtual seconds after the start."""

    invariant: str
    text: str
    time: float

    def __str__(self) -> str:
        return f"{self.invariant}: {self.text} (at {self.time:g} s)"


class Simulation(msgspec.Struct, frozen=True):
    """What one simulated run showed.

    ``seconds`` are virtual. ``struck`` are the faults that did strike, ``events`` the last things that happened.
    ``error`` is what the simulated function raised.
    """

    seed: int
    faults: Faults
    digest: str
    turns: int
    seconds: float
    dead_letters: dict[str, int]
    struck: tuple[Fault, ...]
    violations: tuple[Violation, ...]
    error: Exception | None
    events: tuple[Event, ...]

    @property
    def failure(self) -> str | None:
        """In a word, what went wrong: the law that was broken first, or the class of the error; None for nothing."""
        if self.violations:
            return self.violations[0].invariant
        return type(self.error).__name__ if self.error is not None else None

    def check(self) -> Simulation:
        """Return itself if nothing went wrong.

        Raises:
            SimulationFailed: something did; its text is the report.
        """
        if self.failure is not None:
            raise SimulationFailed(self)
        return self


class SimulationFailed(AssertionError):
    """A simulation broke a law, or what it ran raised; the text is the report."""

    def __init__(self, simulation: Simulation, replay: str = "") -> None:
        self.simulation = simulation
        self._report = report(simulation, replay)  # now: a copy of an error has lost where it was raised
        super().__init__(simulation, replay)

    def __str__(self) -> str:
        return self._report


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
