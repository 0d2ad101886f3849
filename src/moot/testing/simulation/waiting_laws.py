"""Laws of waiting: what waits in a mailbox or for an answer has bounds, comes to an end, and is gone after a stop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from moot.testing.simulation.deadlocks import stuck
from moot.testing.simulation.invariants import Invariant

if TYPE_CHECKING:
    from moot.agent.ask import Ask
    from moot.messaging.message import AgentMessage
    from moot.runtime.cell import Cell
    from moot.testing.simulation.world import World

__all__ = ["BoundedMailboxes", "DeadlocksFound", "EveryAskEnds", "NothingStranded"]

_LOOK_AFTER = 0.25
_SLACK = 1 / 16  # deadlines fire at the end of their slot on the wheel


class BoundedMailboxes(Invariant):
    """No mailbox holds more than twice its capacity."""

    name = "bounded"

    def taken(self, cell: Cell, message: AgentMessage, attempt: int) -> None:
        mailbox = cell.mailbox
        if len(mailbox) > 2 * mailbox.capacity:
            self.violated(
                f"the mailbox of {cell.id!r} holds {len(mailbox)} messages; it has room for {mailbox.capacity}"
            )


class EveryAskEnds(Invariant):
    """Every ask ends, with an answer, an error or its deadline."""

    name = "asks end"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._asks: list[Ask[Any]] = []
        self._enough = 1024

    def requested(self, ask: Ask[Any], target: Cell, message: AgentMessage) -> None:
        asks = self._asks
        asks.append(ask)
        if len(asks) > self._enough:
            self._asks = [ask for ask in asks if not ask.done]
            self._enough = 1024 + 2 * len(self._asks)

    def stopping(self) -> None:
        now = self.world.clock.now()
        for ask in self._asks:
            if not ask.done and ask.deadline + _SLACK < now:
                self.violated(f"{_asking(ask)} is open {now - ask.deadline:g} s after its deadline")

    def stopped(self) -> None:
        for ask in self._asks:
            if not ask.done:
                self.violated(f"{_asking(ask)} is open after the stop")


class DeadlocksFound(Invariant):
    """The runtime's detector finds whoever the oracle says waits in a circle; see `moot.testing.stuck`.

    The oracle is asked at quiet moments, a few times a virtual second, for a circle stays until a deadline opens it.
    """

    name = "deadlocks found"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._asks: list[Ask[Any]] = []
        self._looked_at = -1.0

    def requested(self, ask: Ask[Any], target: Cell, message: AgentMessage) -> None:
        self._asks.append(ask)

    def quiet(self) -> None:
        loop = self.world.loop
        now = loop.time()
        if now - self._looked_at < _LOOK_AFTER and loop.next_timer - now < _LOOK_AFTER:
            return
        self._looked_at = now
        self._asks = [ask for ask in self._asks if not ask.done]
        if self._asks and self.world.system.deadlocks.breaks and (ids := stuck(self.world.manager)):
            self.violated(f"{', '.join(ids)} wait in a circle that the detector has not found")
            self._looked_at = math.inf  # once is enough


class NothingStranded(Invariant):
    """A stop leaves nothing: no ask, no deadline, no mail, no agent."""

    name = "nothing stranded"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._cells: dict[Cell, None] = {}

    def taken(self, cell: Cell, message: AgentMessage, attempt: int) -> None:
        self._cells[cell] = None

    def entered(self, target: Cell, message: AgentMessage) -> None:
        self._cells[target] = None

    def stopped(self) -> None:
        system = self.world.system
        for what, left in (("ask", system.asks), ("deadline", system.wheel), ("agent", system.directory)):
            if len(left):
                self.violated(f"{len(left)} {what}(s) are left after the stop")
        for cell in self._cells:
            if len(cell.mailbox) or cell.queue:
                self.violated(f"{len(cell.mailbox)} message(s) are left in the mailbox of {cell.id!r} after the stop")


def _asking(ask: Ask[Any]) -> str:
    asker = ask.message.sender if ask.message is not None else "?"
    return f"the ask {ask.message_type!r} of {asker!r} to {ask.to!r}"
