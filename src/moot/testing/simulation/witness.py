"""Witness: tells of each event in a simulation, to those that listen for it.

An event that nobody listens for costs nothing: its list is empty. The witness knows no world and no law. So what
makes the events (the world, the network, the faults in turns) lies below the laws that judge them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moot.agent.ask import Ask
    from moot.agent.effects import Effects
    from moot.messaging.dead_letters import DeadLetter
    from moot.messaging.message import AgentMessage
    from moot.runtime.cell import Cell
    from moot.telemetry.observer import TurnOutcome

__all__ = ["Listener", "Witness"]


class Listener:
    """What can be seen of a simulation, an event a method. Override those that are wanted."""

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
    """Tells the listeners what happens; each event only to those that override its method."""

    def __init__(self, all_listeners: Sequence[Listener]) -> None:
        def listeners(event: str) -> list[Callable[..., None]]:
            return [
                getattr(each, event)
                for each in all_listeners
                if getattr(type(each), event) is not getattr(Listener, event)
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
