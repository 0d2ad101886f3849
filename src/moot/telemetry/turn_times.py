"""Turn times: an observer that ships with Moot, and adds up how long agents work."""

from __future__ import annotations

import msgspec

from moot.clock import Clock
from moot.messaging.message import AgentMessage
from moot.telemetry.observer import TurnOutcome

__all__ = ["AgentTimes", "TurnTimes"]


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
