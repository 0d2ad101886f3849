"""Absent agents: asks of kept turns that wait for an agent to be registered.

A turn that an earlier life has left may ask an agent that this life registers later, or makes
only when it is needed. That is no mistake of the turn, so the ask waits for a while. An ask of
any other turn fails at once, as ever.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from moot.errors import DeliveryError, InvalidPayload

if TYPE_CHECKING:
    from moot.agent.ask import Ask
    from moot.agent.port import Turn
    from moot.clock import Clock

__all__ = ["AbsentAgents"]

_log = logging.getLogger("moot.runtime.routing.absent")


class AbsentAgents:
    """Keeps such asks for ``patience`` seconds after the opening of the system; ``incarnation`` is that of this run."""

    post: Callable[[Turn, Ask[Any]], None]
    """Sends the request of an ask; `Requests.post_from`."""

    def __init__(self, clock: Clock, incarnation: str, patience: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._incarnation = incarnation
        self._patience = patience
        self._until = math.inf
        self._alarm: asyncio.TimerHandle | None = None
        self._asks: dict[Ask[Any], tuple[Turn, DeliveryError]] = {}

    def opened(self) -> None:
        """The program says that all agents are there: the patience begins."""
        self._until = self._clock.now() + self._patience
        self._alarm = self._loop.call_later(self._patience, self._give_up)

    def waits(self, turn: Turn, ask: Ask[Any], error: DeliveryError) -> bool:
        """Whether ``ask`` waits for its agent, of which ``error`` says that it is not there."""
        if turn.message.incarnation == self._incarnation or self._clock.now() >= self._until:
            return False
        _log.warning("agent %s asks %r, which is not registered; the ask waits for it", turn.message.to, ask.to)
        self._asks[ask] = turn, error
        ask.when_done(self._forget)
        return True

    def arrived(self) -> None:
        """An agent was registered: try all asks again."""
        for ask, (turn, _) in tuple(self._asks.items()):
            del self._asks[ask]
            try:
                self.post(turn, ask)
            except (DeliveryError, InvalidPayload) as error:
                ask.fail(error)

    def close(self) -> None:
        """The system stops, and each turn withdraws its own asks."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _forget(self, ask: Ask[Any]) -> None:
        self._asks.pop(ask, None)

    def _give_up(self) -> None:
        for ask, (_, error) in tuple(self._asks.items()):
            ask.fail(error)
