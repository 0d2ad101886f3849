"""Pacing: takes the mail of agents that have an intake, and lets them wait when they must not take it yet.

An agent waits without a runner, by one timer of its own, and counts as queued meanwhile,
so that no message that arrives has to ask whether it may run.
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
from moot.runtime.limits import Intake
from moot.runtime.routing.death_watch import Terminated
from moot.runtime.routing.delivery import Delivery

if TYPE_CHECKING:
    from moot.clock import Clock
    from moot.messaging.flow_control import Flow
    from moot.runtime.dispatch.pool import Runners

__all__ = ["Pacing"]

_TICK = 2e-6
"""Seconds by which a timer is set later than it need be, so that no rounding of the clock lets it fire too early."""


class Pacing:
    """What cells with an intake take next. ``notice`` puts a cell into the ready queue if it can run."""

    def __init__(
        self,
        clock: Clock,
        delivery: Delivery,
        flow: Flow,
        *,
        is_unwanted: Callable[[Cell, AgentMessage], bool],
        notice: Callable[[Cell], None],
    ) -> None:
        self._clock = clock
        self._delivery = delivery
        self._flow = flow
        self._is_unwanted = is_unwanted
        self._notice = notice
        self.may_repeat = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runners: Runners | None = None

    def open(self, loop: asyncio.AbstractEventLoop, runners: Runners) -> None:
        """Begin; before this nothing is taken."""
        self._loop = loop
        self._runners = runners

    def take(self, cell: Cell, intake: Intake) -> AgentMessage | None:
        """The next message, or the next batch; None when there is none or it must wait. What is refused is taken out.

        A batch has as many members as there are tokens for. One that is too late takes none.
        """
        mailbox = cell.mailbox
        now = self._clock.now()
        while mailbox.items:
            if intake.bucket is not None and (message := self._plain(cell, intake.bucket, now)) is not None:
                return message
            if isinstance(mailbox.items[0].content, Terminated):
                return mailbox.take()  # news of the runtime itself are under no limit
            if (message := intake.take_alone(mailbox)) is not None:
                if self._is_unwanted(cell, message):
                    continue
                return message
            if wait := intake.batch_wait(mailbox, now):
                self._hold(cell, intake, wait, self._watcher(cell, intake))
                return None
            wait, members = self._members(cell, intake, now)
            if members:
                intake.since = None
                return members[0] if len(members) == 1 else batch_of(members)
            if wait:
                self._hold(cell, intake, wait, None)
                return None
        intake.since = None
        return None

    def _plain(self, cell: Cell, bucket: TokenBucket, now: float) -> AgentMessage | None:
        """The next message of an agent with nothing but one rate limit, in the ordinary case: there is a token for it.

        What is not ordinary is left to the rest: news of the runtime, a message that may be late or a repeat, a wait.
        """
        first = cell.mailbox.waiting[0]
        is_plain = first.reply_to is not None or first.deadline is None
        if not is_plain or self.may_repeat or isinstance(first.content, Terminated) or not bucket.try_take(now):
            return None
        return cell.mailbox.take()

    def release(self, cell: Cell) -> None:
        """Let a cell no longer wait: its time has come, or it has stopped."""
        intake = cell.intake
        if intake is None or intake.timer is None or self._runners is None:
            return
        intake.timer.cancel()
        intake.timer = None
        if isinstance(cell.mailbox, WatchedMailbox):
            cell.mailbox.watcher = None
        if not cell.mailbox.items:
            intake.since = None  # all that waited was withdrawn
        self._runners.release(cell)
        self._notice(cell)

    def _members(self, cell: Cell, intake: Intake, now: float) -> tuple[float, list[AgentMessage]]:
        """Take what makes the next batch; and, if that is nothing, how long the first has to wait for a token."""
        mailbox = cell.mailbox
        kind = mailbox.waiting[0].message_type
        most = intake.batch_size(kind)
        members: list[AgentMessage] = []
        wait = 0.0
        while mailbox.items and len(members) < most and mailbox.items[0].message_type == kind:
            message = mailbox.items[0]
            if self._delivery.is_late(cell, message):
                mailbox.take()
                continue
            try:
                wait = intake.spend(kind, now)
            except RateLimited as error:
                if members:
                    break
                self._delivery.refuse(mailbox.take(), Reason.FORBIDDEN, error, receiver=cell)
                continue
            if wait:
                break
            mailbox.take()
            if not self._is_unwanted(cell, message):
                members.append(message)
        if not members:
            self._flow.admit(cell)  # what was taken out has made room; where a turn follows, that sees to it
        return wait, members

    def _hold(self, cell: Cell, intake: Intake, wait: float, watcher: Callable[[AgentMessage], None] | None) -> None:
        if self._loop is None or self._runners is None:
            return
        if intake.timer is not None:
            intake.timer.cancel()
        intake.timer = self._loop.call_later(wait + _TICK, self.release, cell)
        self._runners.hold(cell)
        if isinstance(cell.mailbox, WatchedMailbox):
            cell.mailbox.watcher = watcher

    def _watcher(self, cell: Cell, intake: Intake) -> Callable[[AgentMessage], None]:
        def arrived(message: AgentMessage) -> None:
            if intake.completes(cell.mailbox, message):
                self.release(cell)

        return arrived
