"""The phase of a system: how far its stop has come.

The system moves the phase on, and the parts read it. So no part keeps a flag of its own.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Phase", "SystemPhase"]


class Phase(IntEnum):
    """Each phase allows less than the one before."""

    RUNNING = 0
    DRAINING = 1
    """Callers from outside are refused. Messages that were accepted before are handled."""
    CLOSING = 2
    """No agent is made or restarted any more. A durable backend keeps the rest of the mail for the next run."""
    CLOSED = 3
    """No turn runs any more."""


class SystemPhase:
    """The phase of one system. It only moves on."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = Phase.RUNNING

    def move_on(self, to: Phase) -> None:
        """Move to the phase ``to``, unless the system is in a later one."""
        self.now = max(self.now, to)
