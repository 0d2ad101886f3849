"""Telemetry: the port through which the runtime can be watched, and the one counter that ships with it.

The delivery code knows only whether there is an observer; off costs one attribute
test. What an observer does with what it sees (spans, metrics, log lines) is its own
business, and no error of it reaches an agent.
"""

from __future__ import annotations

import logging
from typing import Literal, Protocol

import msgspec

from moot.clock import Clock
from moot.message import AgentMessage

__all__ = ["AgentTimes", "GuardedObserver", "ManagerStats", "Observer", "TurnOutcome", "TurnTimes"]

_log = logging.getLogger("moot.telemetry")

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


class AgentTimes(msgspec.Struct):
    """What one agent did: runs of its handlers, those that failed, and seconds from begin to end."""

    turns: int = 0
    failed: int = 0
    seconds: float = 0.0


class TurnTimes:
    """An observer that adds up turns and seconds by agent. Waiting inside a handler counts as its time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began: dict[tuple[str, str], float] = {}
        self.agents: dict[str, AgentTimes] = {}

    def turn_started(self, agent_id: str, message: AgentMessage, attempt: int) -> str | None:
        self._began[agent_id, message.id] = self._clock.now()
        return None

    def turn_ended(self, agent_id: str, message: AgentMessage, attempt: int, outcome: TurnOutcome) -> None:
        times = self.agents.setdefault(agent_id, AgentTimes())
        times.turns += 1
        times.failed += outcome != "committed"
        began = self._began.pop((agent_id, message.id), None)
        if began is not None:
            times.seconds += self._clock.now() - began


class ManagerStats(msgspec.Struct, frozen=True):
    """Counts since the start: ``messages`` numbered, ``turns`` run, ``dead_letters`` made, ``deadlocks`` found.

    And what is there now: ``agents``, ``open_asks``.
    """

    agents: int
    messages: int
    turns: int
    dead_letters: int
    open_asks: int
    deadlocks: int = 0
