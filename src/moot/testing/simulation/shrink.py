"""Shrinking: from a failing seed to the few faults that it takes to fail.

First whole kinds of faults are left out, then single ones, by halves: a run with a
subset of its faults is a run of its own, and it counts if the same law is broken.

Source: A. Zeller, R. Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002 (ddmin).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from moot.testing.simulation.faults import Fault
from moot.testing.simulation.outcome import Simulation

__all__ = ["shrink"]

_MOST_RUNS = 400


def shrink(
    failed: Simulation, again: Callable[[Sequence[Fault]], Simulation], most_runs: int = _MOST_RUNS
) -> Simulation:
    """The failing run with the fewest faults that was found; ``again(faults)`` runs the seed with just those.

    A failure that takes no fault at all comes back with none. What cannot be shrunk comes back as it is.
    """
    return _Shrinking(failed, again, most_runs).run()


class _Shrinking:
    def __init__(self, failed: Simulation, again: Callable[[Sequence[Fault]], Simulation], most_runs: int) -> None:
        self._failure = failed.failure
        self._again = again
        self._left = most_runs
        self._best = failed

    def run(self) -> Simulation:
        if not self._fails(()):
            self._without_kinds()
            self._by_halves()
        return self._best

    def _fails(self, faults: Sequence[Fault]) -> bool:
        """Whether the run with just these faults fails the same way; the best run so far is kept."""
        if self._left <= 0:
            return False
        self._left -= 1
        result = self._again(faults)
        if result.failure != self._failure:
            return False
        self._best = result
        return True

    def _without_kinds(self) -> None:
        for kind in sorted({fault.kind for fault in self._best.struck}):
            rest = [fault for fault in self._best.struck if fault.kind != kind]
            if len(rest) < len(self._best.struck):
                self._fails(rest)

    def _by_halves(self) -> None:
        """Delta debugging: try to do without one part of many; if no part can go, cut finer."""
        parts = 2
        while (faults := self._best.struck) and self._left > 0:
            size = -(-len(faults) // parts)
            for begin in range(0, len(faults), size):
                if self._fails((*faults[:begin], *faults[begin + size :])):
                    parts = max(parts - 1, 2)
                    break
            else:
                if size == 1:
                    return
                parts = min(2 * parts, len(faults))
