"""Invariants: the laws that a simulation checks while it runs.

Each law is a small class that keeps its own accounts, O(1) for each turn, and says
`violated` when they do not balance. An invariant of one's own overrides the same
methods of `Listener`; those it does not override cost nothing.
"""

from __future__ import annotations

from typing import ClassVar

from moot.testing.simulation.witness import Listener
from moot.testing.simulation.world import World

__all__ = ["Invariant"]


class Invariant(Listener):
    """A law. Override what it has to see; call `violated` when it does not hold."""

    name: ClassVar[str] = "invariant"

    def __init__(self, world: World) -> None:
        self.world = world

    def violated(self, text: str) -> None:
        """Say that the law did not hold."""
        self.world.violated(self.name, text)
