"""Faults in turns: handlers that crash, are slow, or begin after a pause.

The runtime calls `FaultyTurns.intercept` in the place of a handler. Without any fault it
calls the handler, tells the witness, and now and then lets other tasks come first.
"""

from __future__ import annotations

import asyncio
import random
import types
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, cast

from moot.agent.effects import Effects
from moot.errors import AgentStopped
from moot.messaging.message import AgentMessage
from moot.runtime.cell import Cell
from moot.testing.simulation.faults import STRUCK, Crashed, FaultKind, Place

if TYPE_CHECKING:
    from moot.agent.context import AgentContext
    from moot.testing.simulation.world import World

__all__ = ["FaultyTurns"]

_PASSES = 1 / 8
"""How often the tasks of others come first when a turn begins; a runner of its own accord lets them every 256 turns."""
_SUSPENSIONS = 4
"""A crash comes at one of the first so many suspensions of a handler, or at its end."""


class FaultyTurns:
    """Runs handlers."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._witness = world.witness
        self._kinds = world.plan.faults.in_turns
        self._places: dict[str, Place] = {}
        self._paused: dict[Cell, float] = {}
        self._draw = random.Random(f"{world.seed}:passes").random

    async def intercept(self, ctx: AgentContext[Any], proceed: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Run a handler and return its answer; see `moot.runtime.dispatch.interceptor.Interceptor`."""
        cell = cast(Cell, ctx.cell)
        witness = self._witness
        message = ctx.message
        effects = ctx.effects = Effects(outputs=_Outputs(witness.sending) if witness.sending else [])
        self._world.taken(cell, ctx)
        if self._draw() < _PASSES:
            await asyncio.sleep(0)
        struck = self._place_of(cell).next() if self._kinds else None
        if struck is not None or cell in self._paused:
            await self._pause(cell, ctx, struck or {})
        crash = struck.get("crash") if struck is not None else None
        turn = proceed()
        answer = await (_crashing(turn, cell.id, int(crash * (_SUSPENSIONS + 1))) if crash is not None else turn)
        if struck is not None:
            if "slow" in struck:
                await asyncio.sleep(struck["slow"])
            if crash is not None:
                raise Crashed(cell.id)
        if ctx.closed:
            raise AgentStopped(cell.id)  # it was abandoned meanwhile
        for listener in witness.returned:
            listener(cell, message, effects)
        return answer

    def _place_of(self, cell: Cell) -> Place:
        place = self._places.get(cell.id)
        if place is None:
            place = self._places[cell.id] = self._world.plan.place(cell.id, self._kinds)
        return place

    async def _pause(self, cell: Cell, ctx: AgentContext[Any], struck: dict[FaultKind, float]) -> None:
        """Note what strikes a turn, and let a paused agent stand still: it begins none before its pause is over."""
        for kind in struck:
            self._world.note(STRUCK[kind], ctx.message, cell.id, ctx.attempt)
        now = self._world.loop.time()
        until = max(self._paused.get(cell, 0.0), now + struck.get("pause", 0.0))
        if until > now:
            self._paused[cell] = until
            await asyncio.sleep(until - now)
        if self._world.loop.time() >= self._paused.get(cell, 0.0):
            self._paused.pop(cell, None)


@types.coroutine
def _crashing(handler: Coroutine[Any, Any, Any], agent_id: str, suspension: int) -> Generator[Any, Any, Any]:
    """Run a handler, and crash it when it goes on after its n-th suspension.

    Not while its task is being cancelled: a `TaskGroup` whose child has failed cancels its parent, and takes that back
    when it ends. What is thrown into it before leaves the task cancelled for good, which no crash does; from Python
    3.13 on, the next group in that task takes it for a cancellation from outside.
    """
    given: Any = None
    task = asyncio.current_task()
    is_crashed = False
    failure: BaseException | None = None
    while True:
        try:
            waits_for = handler.send(given) if failure is None else handler.throw(failure)
        except StopIteration as end:
            return end.value
        given = failure = None
        try:
            given = yield waits_for
        except BaseException as error:
            failure = error
        if failure is None and suspension <= 0 and not is_crashed and not (task is not None and task.cancelling()):
            failure, is_crashed = Crashed(agent_id), True
        suspension -= 1


class _Outputs(list[AgentMessage]):
    """The outputs of a turn; says when one is added, which is when its content must be what it will be."""

    def __init__(self, listeners: list[Callable[..., None]]) -> None:
        super().__init__()
        self._listeners = listeners

    def append(self, message: AgentMessage) -> None:
        for listener in self._listeners:
            listener(message)
        super().append(message)
