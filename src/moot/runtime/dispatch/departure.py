"""Departure: what follows when an agent has stopped for good.

Its mail becomes dead letters, and the agents that watch it are told. Its timers are not sent,
and its circuit breakers are forgotten.
"""

from __future__ import annotations

from moot.runtime.cell import Cell
from moot.runtime.dispatch.throttle import Throttle
from moot.runtime.dispatch.timers import Timers
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
        timers: Timers,
        breakers: Breakers,
        phase: SystemPhase,
    ) -> None:
        self._throttle = throttle
        self._delivery = delivery
        self._death_watch = death_watch
        self._timers = timers
        self._breakers = breakers
        self._phase = phase

    def run(self, cell: Cell, error: BaseException | None) -> None:
        """The agent of ``cell`` has stopped for good. ``error`` is why it failed; None if it was stopped."""
        self._throttle.release(cell)
        self._delivery.bury_mail(cell)
        self._death_watch.ended(cell, error)
        if self._phase.now < CLOSING:  # else all timers end, or are stored for the next run
            self._timers.ended(cell)
        if cell.policies.breaker is not None:
            self._breakers.forget(cell.id)
