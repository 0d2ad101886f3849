"""The law that no agents wait for each other in a circle that nobody has found.

The oracle needs no books of its own: when nothing in the loop can go on, a turn whose
task waits for the answer to an ask cannot go on before that ask's target does. It looks
only at agents that handle one message at a time and await one ask in the turn's own
task, because about these it is certain; a circle of them ends with a deadline, unless
it is found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from moot.testing.invariants import Invariant

if TYPE_CHECKING:
    from moot.asks import Ask
    from moot.cell import Cell
    from moot.message import AgentMessage
    from moot.runners import Runner
    from moot.system import System
    from moot.testing.world import World

__all__ = ["DeadlocksFound", "circle"]

_LOOKS_PER_SECOND = 4


class DeadlocksFound(Invariant):
    """Agents that wait for each other in a circle are found at once, and not by a deadline.

    It looks at quiet moments, a few times a virtual second, for a circle stays until a deadline opens it.
    """

    name = "deadlocks found"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._asks: list[Ask[Any]] = []
        self._looked_at = -1.0

    def requested(self, ask: Ask[Any], target: Cell, message: AgentMessage) -> None:
        self._asks.append(ask)

    def quiet(self) -> None:
        now = self.world.loop.time()
        if now - self._looked_at < 1 / _LOOKS_PER_SECOND and self.world.loop.next_timer - now < 1 / _LOOKS_PER_SECOND:
            return
        self._looked_at = now
        self._asks = [ask for ask in self._asks if not ask.done]
        if self._asks and (ids := circle(self.world.system, self._asks)):
            self.violated(f"{' -> '.join([*ids, ids[0]])} wait for each other's answers, and nobody has found it")
            self._asks.clear()  # once is enough


def circle(system: System, asks: Sequence[Ask[Any]]) -> list[str]:
    """The ids of agents that wait for each other by ``asks``, in order from the least; empty if none do.

    To be asked when nothing in the event loop can go on before time passes.
    """
    at_work: dict[Cell, list[Runner]] = {}
    for runner in system.worker.runners.busy() if system.worker.runners is not None else ():
        if runner.cell is not None:
            at_work.setdefault(runner.cell, []).append(runner)
    waits_for: dict[Cell, Cell] = {}
    for ask in asks:
        asker = getattr(ask.asker, "seat", None)
        if asker is not None and _is_all_it_waits_for(ask, asker, at_work) and _is_at_its_target(ask, at_work):
            waits_for[asker] = cast("Cell", ask.target)
    for start in waits_for:
        path = [start]
        while (following := waits_for.get(path[-1])) is not None and following not in path:
            path.append(following)
        if following is not None:
            ids = [cell.id for cell in path[path.index(following) :]]
            least = ids.index(min(ids))
            return ids[least:] + ids[:least]
    return []


def _is_all_it_waits_for(ask: Ask[Any], asker: Cell, at_work: Mapping[Cell, Sequence[Runner]]) -> bool:
    """Whether the only turn of ``asker`` waits for ``ask`` in its own task."""
    turns = at_work.get(asker, ())
    if asker.concurrency != 1 or len(turns) != 1 or turns[0].task is None:
        return False
    waits_on: Any = getattr(turns[0].task, "_fut_waiter", None)
    return waits_on is not None and waits_on is getattr(ask, "_waiter", None)


def _is_at_its_target(ask: Ask[Any], at_work: Mapping[Cell, Sequence[Runner]]) -> bool:
    """Whether the request of ``ask`` waits or is handled where it was sent to; not on its way, and not lost."""
    target: Any = ask.target
    if ask.done or target is None or target.stopping:
        return False
    turns = [runner.ctx for runner in at_work.get(target, ()) if runner.ctx is not None]
    if any(message is ask.message for ctx in turns for message in ctx.messages):
        return all(ctx.effects is None or not ctx.effects.is_deferred for ctx in turns)
    if ask.lane is not None and ask.lane.messages:
        return True
    return any(message is ask.message for message in target.mailbox.items or ())
