"""Departure: what follows when an agent has stopped for good, or could not start.

Its mail becomes dead letters, and the agents that watch it are told. Its timers are not sent,
and its circuit breakers are forgotten. An agent that could not start has never come: on a durable
backend its mail, its timers and its state wait for the next one of its id.
"""

from __future__ import annotations

from moot.errors import AgentStopped
from moot.messaging.reason import Reason
from moot.runtime.cell import Cell
from moot.runtime.dispatch.opening import Opening
from moot.runtime.dispatch.throttle import Throttle
from moot.runtime.phase import CLOSING, SystemPhase
from moot.runtime.routing.breakers import Breakers
from moot.runtime.routing.death_watch import DeathWatch
from moot.runtime.routing.delivery import Delivery

__all__ = ["Departure"]


class Departure:
    """Clears up after agents."""

    def __init__(
        self,
        throttle: Throttle,
        delivery: Delivery,
        death_watch: DeathWatch,
        opening: Opening,
        breakers: Breakers,
        phase: SystemPhase,
    ) -> None:
        self._throttle = throttle
        self._delivery = delivery
        self._death_watch = death_watch
        self._opening = opening
        self._timers = opening.timers
        self._breakers = breakers
        self._phase = phase

    def run(self, cell: Cell, error: BaseException | None) -> None:
        """The agent of ``cell`` has stopped for good. ``error`` is why it failed; None if it was stopped."""
        self._throttle.release(cell)
        self._delivery.bury_mail(cell)
        if self._phase.now < CLOSING:  # else all timers end, or are stored for the next run
            self._timers.ended(cell)
        self._forget(cell, error)

    def _forget(self, cell: Cell, error: BaseException | None) -> None:
        self._death_watch.ended(cell, error)
        if cell.policies.breaker is not None:
            self._breakers.forget(cell.id)

    def unstarted(self, cell: Cell, error: BaseException | None) -> None:
        """The agent of ``cell`` could not start, because of ``error``, or its registration was cancelled."""
        journal = self._delivery.journal
        if journal is None or self._phase.now >= CLOSING:
            self.run(cell, error)
            return
        self._throttle.release(cell)
        self._opening.release(cell)
        mail = self._delivery.flow.close(cell)
        kept = journal.give_back(cell, mail, self._timers.withdraw(cell))
        for message in mail:
            if message.name not in kept:
                self._delivery.refuse(message, Reason.STOPPED, AgentStopped(cell.id), receiver=cell)
        self._forget(cell, error)
