"""Throttle: takes the mail of agents that have limits, and lets them wait when they may not take it yet.

A waiting agent needs no runner: it has one timer, and counts as queued meanwhile. So no message
that arrives has to ask whether the agent may run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from moot.errors import RateLimited
from moot.messaging.batch import batch_of
from moot.messaging.dead_letters import Reason
from moot.messaging.mailbox import WatchedMailbox
from moot.messaging.message import AgentMessage
from moot.resilience.token_bucket import TokenBucket
from moot.runtime.cell import Cell
from moot.runtime.limits import Limits
from moot.runtime.routing.death_watch import Terminated
from moot.runtime.routing.delivery import Delivery

if TYPE_CHECKING:
    from moot.clock import Clock
    from moot.runtime.dispatch.pool import RunnerPool

__all__ = ["Throttle"]

_TICK = 2e-6
"""Seconds by which a timer is set later than needed, so that no rounding of the clock lets it fire too early."""


class Throttle:
    """Takes messages for cells with limits."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, delivery: Delivery, pool: RunnerPool) -> None:
        self._loop = loop
        self._clock = clock
        self._delivery = delivery
        self._flow = delivery.flow
        self._pool = pool

    def take(self, cell: Cell, limits: Limits) -> AgentMessage | None:
        """The next message, or the next batch; None when there is none, or when it has to wait.

        A refused message is taken out. A batch has as many members as there are tokens for. A message that is too late
        takes no token.
        """
        mailbox = cell.mailbox
        now = self._clock.now()
        while mailbox.items:
            if limits.bucket is not None and (message := self._plain(cell, limits.bucket, now)) is not None:
                return message
            if isinstance(mailbox.items[0].content, Terminated):
                return mailbox.take()  # news of the runtime itself are under no limit
            if (message := limits.take_alone(mailbox)) is not None:
                if self._delivery.is_unwanted(cell, message):
                    continue
                return message
            if wait := limits.batch_wait(mailbox, now):
                self._hold(cell, limits, wait, self._watcher(cell, limits))
                return None
            wait, members = self._members(cell, limits, now)
            if members:
                limits.since = None
                return members[0] if len(members) == 1 else batch_of(members)
            if wait:
                self._hold(cell, limits, wait, None)
                return None
        limits.since = None
        return None

    def _plain(self, cell: Cell, bucket: TokenBucket, now: float) -> AgentMessage | None:
        """The next message of an agent with one rate limit and nothing else, if there is a token for it.

        None in all other cases, which `take` then decides: news of the runtime, a message that may be late or may be a
        repeat, and a wait.
        """
        first = cell.mailbox.waiting[0]
        is_plain = first.reply_to is not None or first.deadline is None
        if (
            not is_plain
            or self._delivery.may_repeat
            or isinstance(first.content, Terminated)
            or not bucket.try_take(now)
        ):
            return None
        return cell.mailbox.take()

    def release(self, cell: Cell) -> None:
        """Let ``cell`` no longer wait, because its time has come or it has stopped."""
        limits = cell.limits
        if limits is None or limits.timer is None:
            return
        limits.timer.cancel()
        limits.timer = None
        if isinstance(cell.mailbox, WatchedMailbox):
            cell.mailbox.watcher = None
        if not cell.mailbox.items:
            limits.since = None  # all that waited was withdrawn
        self._pool.release(cell)
        self._pool.wake(cell)

    def _members(self, cell: Cell, limits: Limits, now: float) -> tuple[float, list[AgentMessage]]:
        """How long the first message waits for a token; and, if that is 0, the members of the next batch, taken out."""
        mailbox = cell.mailbox
        kind = mailbox.waiting[0].message_type
        most = limits.batch_size(kind)
        members: list[AgentMessage] = []
        wait = 0.0
        while mailbox.items and len(members) < most and mailbox.items[0].message_type == kind:
            message = mailbox.items[0]
            if self._delivery.is_late(cell, message):
                mailbox.take()
                continue
            try:
                wait = limits.spend(kind, now)
            except RateLimited as error:
                if members:
                    break
                self._delivery.refuse(mailbox.take(), Reason.FORBIDDEN, error, receiver=cell)
                continue
            if wait:
                break
            mailbox.take()
            if not self._delivery.is_unwanted(cell, message):
                members.append(message)
        if not members:
            self._flow.admit(cell)  # removed messages have made room; if a turn follows, it admits others itself
        return wait, members

    def _hold(self, cell: Cell, limits: Limits, wait: float, watcher: Callable[[AgentMessage], None] | None) -> None:
        if limits.timer is not None:
            limits.timer.cancel()
        limits.timer = self._loop.call_later(wait + _TICK, self.release, cell)
        self._pool.hold(cell)
        if isinstance(cell.mailbox, WatchedMailbox):
            cell.mailbox.watcher = watcher

    def _watcher(self, cell: Cell, limits: Limits) -> Callable[[AgentMessage], None]:
        def arrived(message: AgentMessage) -> None:
            if limits.completes(cell.mailbox, message):
                self.release(cell)

        return arrived
