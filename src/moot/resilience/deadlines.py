"""Deadlines: one wheel for all of them.

A timer handle per ask costs a third of the ask. Nearly every deadline is
withdrawn before it is due, so entries go into coarse slots that are cheap to join
and to leave, and the event loop holds a single timer, for the earliest slot.
Entries fire at the end of their slot: up to ``resolution`` seconds late, never early.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from typing import Protocol

from moot.clock import Clock

__all__ = ["DeadlineWheel", "Expiring"]

_log = logging.getLogger("moot.resilience.deadlines")


class Expiring(Protocol):
    """What can be put on the wheel."""

    def expire(self) -> None:
        """Called once when the deadline has passed; it must not raise."""
        ...


class DeadlineWheel:
    """Deadlines by slots of ``resolution`` seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, *, resolution: float = 1 / 64) -> None:
        self._loop = loop
        self._clock = clock
        self._rate = 1 / resolution
        self._slots: dict[int, dict[Expiring, None]] = {}
        self._order: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def entries(self, when: float) -> dict[Expiring, None]:
        """The entries that expire at ``when`` (seconds of the clock).

        Put one in to add it, take it out to withdraw it; do not keep the map for another time.
        """
        slot = int(when * self._rate) + 1
        entries = self._slots.get(slot)
        if entries is None:
            entries = self._slots[slot] = {}
            heapq.heappush(self._order, slot)
            self._arm()
        return entries

    def close(self) -> None:
        """Forget everything; nothing fires any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._slots.clear()
        self._order.clear()

    def _arm(self) -> None:
        slot = self._order[0]
        if self._timer is not None:
            if self._armed_for <= slot:
                return
            self._timer.cancel()
        delay = max(0.0, slot / self._rate - self._clock.now())
        self._armed_for = slot
        self._timer = self._loop.call_later(delay, self._fire)

    def _fire(self) -> None:
        self._timer = None
        reached = self._clock.now() * self._rate + 1e-6
        while self._order and self._order[0] <= reached:
            entries = self._slots.pop(heapq.heappop(self._order))
            for entry in tuple(entries):
                if entry in entries:  # one that expired before it may have withdrawn it
                    _expire(entry)
        while self._order and not self._slots[self._order[0]]:
            del self._slots[heapq.heappop(self._order)]
        if self._order and self._timer is None:
            self._arm()


def _expire(entry: Expiring) -> None:
    """Let an entry expire. If it fails, the others expire all the same."""
    try:
        entry.expire()
    except Exception:  # noqa: BLE001 - a mistake of one must not hold up all deadlines
        _log.exception("a deadline passed, and what follows from that failed: %r", entry)
