"""Invariants: the laws that a simulation checks while it runs, and what they see of it.

Each law is a small class that keeps its own accounts, O(1) for each turn, and says
`violated` when they do not balance. An invariant of one's own overrides the same
methods; those it does not override cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

if TYPE_CHECKING:
    from moot.agent.ask import Ask
    from moot.agent.effects import Effects
    from moot.messaging.dead_letters import DeadLetter
    from moot.messaging.message import AgentMessage
    from moot.runtime.cell import Cell
    from moot.telemetry.observer import TurnOutcome
    from moot.testing.simulation.world import World

__all__ = ["Invariant", "Violation", "Witness"]


class Violation(msgspec.Struct, frozen=True):
    """A law that did not hold, at ``time`` virtual seconds after the start."""

    invariant: str
    text: str
    time: float

    def __str__(self) -> str:
        return f"{self.invariant}: {self.text} (at {self.time:g} s)"


class Invariant:
    """A law. Override what it has to see; call `violated` when it does not hold."""

    name: ClassVar[str] = "invariant"

    def __init__(self, world: World) -> None:
        self.world = world

    def violated(self, text: str) -> None:
        """Say that the law did not hold."""
        self.world.violated(self.name, text)

    def sending(self, message: AgentMessage) -> None:
        """A handler sends, publishes or schedules a message; it leaves when the turn commits."""

    def returned(self, cell: Cell, message: AgentMessage, effects: Effects) -> None:
        """A handler has returned, and its turn is about to commit ``effects``."""

    def entered(self, target: Cell, message: AgentMessage) -> None:
        """A message was accepted for one receiver: committed, published to it, or told from outside."""

    def withdrawn(self, message: AgentMessage) -> None:
        """What was accepted is not sent after all: a timer was cancelled, or there was no room for one from outside."""

    def requested(self, ask: Ask[Any], target: Cell, message: AgentMessage) -> None:
        """An ask has sent its request."""

    def dropped(self, target: Cell, message: AgentMessage) -> None:
        """The link lost a message, as it was told to."""

    def duplicated(self, target: Cell, message: AgentMessage) -> None:
        """The link will bring a message a second time."""

    def taken(self, cell: Cell, message: AgentMessage, attempt: int) -> None:
        """A run of a handler begins."""

    def ended(self, cell: Cell, message: AgentMessage, outcome: TurnOutcome) -> None:
        """The run has ended."""

    def buried(self, letter: DeadLetter) -> None:
        """There is a new dead letter."""

    def quiet(self) -> None:
        """Nothing can go on before time passes."""

    def stopping(self) -> None:
        """The manager is about to stop."""

    def stopped(self) -> None:
        """The manager has stopped."""


class Witness:
    """Tells the invariants what happens; each event only to those that want it."""

    def __init__(self, invariants: Sequence[Invariant]) -> None:
        def listeners(event: str) -> list[Callable[..., None]]:
            return [
                getattr(law, event) for law in invariants if getattr(type(law), event) is not getattr(Invariant, event)
            ]

        self.sending = listeners("sending")
        self.returned = listeners("returned")
        self.entered = listeners("entered")
        self.withdrawn = listeners("withdrawn")
        self.requested = listeners("requested")
        self.dropped = listeners("dropped")
        self.duplicated = listeners("duplicated")
        self.taken = listeners("taken")
        self.ended = listeners("ended")
        self.buried = listeners("buried")
        self.quiet = listeners("quiet")
        self.stopping = listeners("stopping")
        self.stopped = listeners("stopped")
