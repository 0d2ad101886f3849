"""The opening: when the agents of a new life begin with what the life before has left.

Agents are registered one after the other, and only the program knows which is the last. If the
first began its kept mail at once, it could ask one that is still to come. So kept mail and kept
timers wait, and what else comes for such an agent waits behind them, until the program says that
all are there, or does something that it would do only then. An agent's ``on_start`` waits for
nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from moot.runtime.phase import CLOSING, STOPPING

if TYPE_CHECKING:
    from moot.agent.effects import Timer
    from moot.runtime.cell import Cell
    from moot.runtime.dispatch.lifecycle import Lifecycle
    from moot.runtime.dispatch.pool import RunnerPool
    from moot.runtime.dispatch.timers import Timers
    from moot.runtime.phase import SystemPhase
    from moot.runtime.routing.absent import AbsentAgents

__all__ = ["Opening"]

_log = logging.getLogger("moot.runtime.dispatch.opening")


class Opening:
    """Holds back what an earlier life has left, until `open`.

    ``opened()`` is called then. If nothing of the kind happens for ``patience`` seconds after the last registration,
    the system opens by itself and says so.
    """

    opened: Callable[[], None]

    def __init__(
        self,
        pool: RunnerPool,
        lifecycle: Lifecycle,
        timers: Timers,
        phase: SystemPhase,
        absent: AbsentAgents | None,
        patience: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._pool = pool
        self._waiting = lifecycle.waiting
        self.timers = timers
        self._phase = phase
        self._absent = absent
        self._patience = patience
        self._alarm: asyncio.TimerHandle | None = None
        self.is_open = False

    def registered(self) -> None:
        """One more agent is there. In a system that has not opened, the patience begins anew."""
        if self._absent is not None:
            self._absent.arrived()
        if not self.is_open:
            self._calm()
            self._alarm = self._loop.call_later(self._patience, self._give_up)

    def restored(self, cell: Cell, timers: Iterable[tuple[Timer, float]]) -> None:
        """``cell`` has got its mail of an earlier life, and has these timers, each with its time."""
        has_timers = False
        for timer, due in timers:
            self.timers.restore(cell, timer, due)
            has_timers = True
        if self.is_open:
            self.timers.arm(cell)
        elif has_timers or cell.mailbox.items:
            self._waiting[cell] = None
            if not cell.starting:  # else when ``on_start`` has run
                cell.pause()

    def release(self, cell: Cell) -> None:
        """Let ``cell`` begin, or end, with what was kept for it."""
        if cell in self._waiting:
            del self._waiting[cell]
            self.timers.arm(cell)
            if cell.phase is not STOPPING:
                cell.release()
                self._pool.wake(cell)

    def open(self) -> None:
        """All agents are there: what was kept begins. A second call does nothing."""
        if self.is_open or self._phase.now >= CLOSING:
            return
        self.is_open = True
        self._calm()
        if self._absent is not None:
            self._absent.opened()
        self.opened()
        for cell in tuple(self._waiting):
            self.release(cell)

    def close(self) -> None:
        """The system has drained, or is not going to: wait for nobody any more."""
        self._calm()
        if self._absent is not None:
            self._absent.close()

    def _calm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _give_up(self) -> None:
        _log.warning(
            "nothing was registered or sent for %g s, so kept mail is handled now; "
            "call 'await manager.ready()' when all agents are registered",
            self._patience,
        )
        self.open()
