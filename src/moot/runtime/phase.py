"""The phase of a system: how far its stop has come.

The system moves it on, and the parts read it: none of them keeps a flag of its own.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Phase", "SystemPhase"]


class Phase(IntEnum):
    """Each phase allows less than the one before."""

    RUNNING = 0
    DRAINING = 1
    """Callers from outside are refused; what was accepted is handled."""
    CLOSING = 2
    """No agent is made or restarted any more; a durable backend keeps what is left for the next run."""
    CLOSED = 3
    """No turn runs any more."""


class SystemPhase:
    """The phase of one system; it only moves on."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = Phase.RUNNING

    def move_on(self, to: Phase) -> None:
        """Be in that phase, or in a later one."""
        self.now = max(self.now, to)
