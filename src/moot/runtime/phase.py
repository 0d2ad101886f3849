"""Phases: how far the stop of a system has come, and whether an agent runs turns.

The system moves its phase on, and the parts read it: none of them keeps a flag of its own. The members are constants of
this module, too, because the runtime asks for them with each message, and Python 3.11 looks up a member by a call.
"""

from __future__ import annotations

import asyncio
from enum import IntEnum

__all__ = [
    "ACTIVE",
    "CLOSED",
    "CLOSING",
    "DRAINING",
    "RESTARTING",
    "RUNNING",
    "STOPPING",
    "CellPhase",
    "Phase",
    "SystemPhase",
]


class Phase(IntEnum):
    """The phase of a system; each allows less than the one before."""

    RUNNING = 0
    DRAINING = 1
    """Callers from outside are refused; what was accepted is handled."""
    CLOSING = 2
    """No agent is made or restarted any more; a durable backend keeps what is left for the next run."""
    CLOSED = 3
    """No turn runs any more."""


class CellPhase(IntEnum):
    """The phase of an agent; each allows less than the one before."""

    ACTIVE = 0
    """It takes messages and runs turns, beginning with its ``on_start``."""
    RESTARTING = 1
    """It takes messages, and runs no turn before it has been made anew."""
    STOPPING = 2
    """It takes no more messages."""


RUNNING, DRAINING, CLOSING, CLOSED = Phase
ACTIVE, RESTARTING, STOPPING = CellPhase


class SystemPhase:
    """The phase of one system; it only moves on.

    ``keeper`` is the task that holds the system (`moot.runtime.keeper`). If somebody cancels it, the program ends.
    """

    __slots__ = ("keeper", "now")

    def __init__(self) -> None:
        self.now = RUNNING
        self.keeper: asyncio.Task[None] | None = None

    def move_on(self, to: Phase) -> None:
        """Be in that phase, or in a later one."""
        self.now = max(self.now, to)

    def is_cut_off(self) -> bool:
        """Whether the program ends around the system, which nobody has stopped."""
        return self.keeper is not None and self.keeper.cancelling() > 0

    def is_over(self) -> bool:
        """Whether no turn may begin or fail any more. A system that `is_cut_off` is closed from this call on."""
        if self.now is not CLOSED and self.is_cut_off():
            self.now = CLOSED
        return self.now is CLOSED
