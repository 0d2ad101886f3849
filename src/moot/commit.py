"""The commit: how the effects of a turn come true, together.

Nothing here waits, and nothing fails once it has begun: what does not fit into a
mailbox waits in the sender's outbox, and a message that cannot be delivered becomes
a dead letter.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from moot.cell import Cell
from moot.deadletters import Reason
from moot.delivery import Delivery
from moot.message import AgentMessage
from moot.turn import NOTHING, Effects
from moot.watches import Watches

if TYPE_CHECKING:
    from moot.context import AgentContext
    from moot.directory import Directory
    from moot.flow import Flow

__all__ = ["Committer", "end_asks"]


class Committer:
    """Makes effects come true, and keeps the messages that are scheduled for later.

    ``stop_requested(cell)`` is called for an agent whose turn said that it stops.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        directory: Directory,
        delivery: Delivery,
        flow: Flow,
        watches: Watches,
    ) -> None:
        self._loop = loop
        self._directory = directory
        self.delivery = delivery
        self._flow = flow
        self._watches = watches
        self._timers: dict[int, tuple[asyncio.TimerHandle, AgentMessage]] = {}
        self.stop_requested: Callable[[Cell], None] = lambda cell: None

    def __len__(self) -> int:
        """How many messages are scheduled."""
        return len(self._timers)

    def commit(self, cell: Cell, ctx: AgentContext[Any], effects: Effects) -> None:
        """Make the effects of a turn come true."""
        ctx.closed = True
        if effects.state is not NOTHING:
            cell.state = effects.state
        for topic, wanted in () if cell.stopping else effects.topics:
            (self._directory.subscribe if wanted else self._directory.unsubscribe)(cell, topic)
        for delay, message in effects.timers:
            self._timers[message.sequence] = self._loop.call_later(delay, self._due, cell, message), message
        if effects.outputs:
            for message in effects.outputs:
                self.delivery.send(cell, message)
            if cell.lanes is not None:
                self._flow.settle_cycles(cell)
        for reply_to, answer in effects.answers:
            self.delivery.asks.resolve(reply_to, answer)
        for agent_id, wanted in () if cell.stopping else effects.watches:
            (self._watches.add if wanted else self._watches.discard)(cell, agent_id)
        if effects.stops and not cell.stopping:
            self.stop_requested(cell)

    def close(self) -> None:
        """Make dead letters of what was scheduled for after the stop."""
        for timer, message in self._timers.values():
            timer.cancel()
            self.delivery.bury(message, Reason.STOPPED, "it was scheduled for after the stop")
        self._timers.clear()

    def _due(self, cell: Cell, message: AgentMessage) -> None:
        del self._timers[message.sequence]
        self.delivery.send_now(cell, message)


def end_asks(ctx: AgentContext[Any], effects: Effects) -> None:
    """Withdraw what the turn asked and did not wait for; an ask that was never awaited is most likely a mistake."""
    never_sent = [ask for ask in effects.asks if not ask.started]
    for ask in tuple(effects.asks):
        ask.cancel()
    if never_sent:
        asked = ", ".join(f"{ask.message_type!r} to {ask.to!r}" for ask in never_sent)
        warnings.warn(
            f"agent {ctx.agent_id!r} made asks that it never awaited, so they were not sent: {asked}; await them",
            RuntimeWarning,
            stacklevel=2,
        )
