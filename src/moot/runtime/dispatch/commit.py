"""The commit: how the effects of a turn come true, together.

Nothing here waits, and nothing fails once it has begun: what does not fit into a
mailbox waits in the sender's outbox, and a message that cannot be delivered becomes
a dead letter.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from moot.agent.effects import Effects
from moot.agent.records import NOTHING
from moot.runtime.cell import Cell
from moot.runtime.dispatch.timers import Timers
from moot.runtime.routing.death_watch import DeathWatch
from moot.runtime.routing.delivery import Delivery

if TYPE_CHECKING:
    from moot.agent.context import AgentContext
    from moot.messaging.flow_control import FlowControl
    from moot.runtime.routing.directory import Directory

__all__ = ["Commit", "end_asks"]


class Commit:
    """Makes effects come true.

    ``stop_requested(cell)`` is called for an agent whose turn said that it stops.
    """

    def __init__(
        self,
        directory: Directory,
        delivery: Delivery,
        flow: FlowControl,
        watches: DeathWatch,
        timers: Timers,
    ) -> None:
        self._directory = directory
        self.delivery = delivery
        self._flow = flow
        self._death_watch = watches
        self._timers = timers
        self.stop_requested: Callable[[Cell], None] = lambda cell: None

    def close(self) -> None:
        """Send nothing later any more."""
        self._timers.close()

    def run(self, cell: Cell, ctx: AgentContext[Any], effects: Effects) -> None:
        """Make the effects of a turn come true."""
        ctx.closed = True
        if effects.state is not NOTHING:
            cell.state = effects.state
        for topic, wanted in () if cell.stopping else effects.topics:
            (self._directory.subscribe if wanted else self._directory.unsubscribe)(cell, topic)
        for timer in effects.timers:
            self._timers.put(cell, timer)
        if effects.outputs:
            for message in effects.outputs:
                self.delivery.send(cell, message)
            if cell.lanes is not None:
                self._flow.settle_cycles(cell)
        for reply_to, answer in effects.answers:
            self.delivery.asks.resolve(reply_to, answer)
        for agent_id, wanted in () if cell.stopping else effects.watches:
            (self._death_watch.add if wanted else self._death_watch.discard)(cell, agent_id)
        if effects.stops and not cell.stopping:
            self.stop_requested(cell)


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
