"""The observer: the port through which a running system can be watched.

The delivery code knows only whether there is an observer; off costs one attribute
test. What an observer does with what it sees (spans, metrics, log lines) is its own
business, and no error of it reaches an agent.
"""

from __future__ import annotations

import logging
from typing import Literal, Protocol

from moot.messaging.message import AgentMessage

__all__ = ["GuardedObserver", "Observer", "TurnOutcome"]

_log = logging.getLogger("moot.telemetry.observer")

TurnOutcome = Literal["committed", "retried", "failed", "cancelled"]


class Observer(Protocol):
    """Sees turns begin and end. The calls are made in the event loop and must be quick."""

    def turn_started(self, agent_id: str, message: AgentMessage, attempt: int) -> str | None:
        """A run of a handler begins; a returned trace context is carried by what the turn sends."""
        ...

    def turn_ended(self, agent_id: str, message: AgentMessage, attempt: int, outcome: TurnOutcome) -> None:
        """The run has ended."""
        ...


class GuardedObserver:
    """Calls another observer; an error in it is logged and goes no further."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def turn_started(self, agent_id: str, message: AgentMessage, attempt: int) -> str | None:
        try:
            return self._observer.turn_started(agent_id, message, attempt)
        except Exception:
            _log.exception("an observer failed when a turn of %s began", agent_id)
            return None

    def turn_ended(self, agent_id: str, message: AgentMessage, attempt: int, outcome: TurnOutcome) -> None:
        try:
            self._observer.turn_ended(agent_id, message, attempt, outcome)
        except Exception:
            _log.exception("an observer failed when a turn of %s ended", agent_id)
