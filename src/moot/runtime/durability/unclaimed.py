"""Unclaimed mail: what waits in the store for agents that are not there, and how that ends.

An agent may be registered later, or in the next life, so a message for it is kept. Nothing says
that the agent ever comes. So there is a bound on what may wait for one agent, and mail is marked
with the time at which nobody was there. What was marked long ago becomes a dead letter. A mark is
stored, so time counts on over many short lives; an agent that is registered takes its marks away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from moot.messaging.message import AgentMessage
from moot.policies import ParkedMail
from moot.runtime.durability.encoding import decode
from moot.runtime.phase import CLOSING, SystemPhase

if TYPE_CHECKING:
    from moot.backends.base import Journal, StoredMail, Unread
    from moot.clock import Clock

__all__ = ["UnclaimedMail", "decoded"]

_FIRST_LOOK = 60.0
"""Seconds after the start: by then a program has registered its agents."""
_MARKS = 8
"""So often mail is marked before it is old enough."""
_PAGES = 8
_PAUSE = 0.05

_log = logging.getLogger("moot.runtime.durability.unclaimed")


class UnclaimedMail:
    """Looks after the unread mail of ``store``.

    ``is_there(agent_id)``: whether an agent is registered. ``bury(agent_id, message, text)`` makes a dead letter of a
    message of an agent that is not.
    """

    def __init__(
        self,
        store: Journal,
        policy: ParkedMail,
        clock: Clock,
        phase: SystemPhase,
        *,
        is_there: Callable[[str], bool],
        bury: Callable[[str, AgentMessage, str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._store = store
        self._policy = policy
        self._clock = clock
        self._phase = phase
        self._is_there = is_there
        self._bury = bury
        self._timer: asyncio.TimerHandle | None = None
        self.watch()

    def watch(self) -> None:
        """Look in a while, if anything waits."""
        if self._timer is None and self._store.unread and self._policy.keep_for is not None:
            self._timer = self._loop.call_later(_FIRST_LOOK, self._look)

    def close(self) -> None:
        """The system stops, and its agents are still there: mark what nobody has claimed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._policy.keep_for is not None:
            self._mark(self._policy.keep_for)

    def _look(self) -> None:
        """End what is old, a few pages at a time, and mark the rest."""
        self._timer = None
        keep_for = self._policy.keep_for
        if self._phase.is_over() or self._phase.now >= CLOSING or keep_for is None:
            return
        if self._store.is_behind or not self._end_old(keep_for):
            self._timer = self._loop.call_later(_PAUSE, self._look)
            return
        if self._mark(keep_for):
            self._timer = self._loop.call_later(max(keep_for / _MARKS, 1.0), self._look)

    def _end_old(self, keep_for: float) -> bool:
        """Make dead letters of what has waited too long; whether that was all of it."""
        before = self._clock.now() - keep_for
        pages = 0
        for agent_id, unread in self._unclaimed():
            if unread.since is None or unread.since > before:
                continue
            while page := self._store.read_mail(agent_id, before):
                for _, message in decoded(agent_id, page):
                    self._bury(agent_id, message, f"no agent {agent_id!r} was there for {keep_for / 86400:.3g} days")
                pages += 1
                if pages >= _PAGES:
                    return False
        return True

    def _mark(self, keep_for: float) -> bool:
        """Mark what nobody has claimed, unless it was marked a short while ago. Whether anything is unclaimed."""
        now = self._clock.now()
        unclaimed = self._unclaimed()
        for agent_id, unread in unclaimed:
            if unread.marked is None or now - unread.marked >= keep_for / _MARKS:
                self._store.mark_unclaimed(agent_id, now)
        return bool(unclaimed)

    def _unclaimed(self) -> list[tuple[str, Unread]]:
        return [(agent_id, unread) for agent_id, unread in self._store.unread.items() if not self._is_there(agent_id)]


def decoded(agent_id: str, mail: list[StoredMail]) -> list[tuple[StoredMail, AgentMessage]]:
    """Stored messages. One that cannot be decoded stays in the store, and the log says so."""
    found = []
    for one in mail:
        try:
            found.append((one, decode(one.body)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            _log.error(
                "a message for %r cannot be decoded (%s) and stays where it is: 'moot doctor FILE' says which",
                *(agent_id, error),
            )
    return found
