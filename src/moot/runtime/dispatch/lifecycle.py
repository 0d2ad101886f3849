"""The lifecycle of an agent as the dispatcher sees it: start, halt for a restart, start again, stop.

Each of these waits for the turns that are under way. A stop waits until they have ended; a
restart waits until they were rolled back and are held. The hooks ``on_start`` and ``on_stop``
are turns of their own. The effects of a hook take effect when the hook returns; if it raises,
none of them does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Literal

from moot.agent.agent import Agent
from moot.agent.context import AgentContext
from moot.errors import AgentStopped
from moot.runtime.cell import Cell
from moot.runtime.dispatch.commit import Commit
from moot.runtime.dispatch.interrupts import Interrupts, Restarting
from moot.runtime.dispatch.pool import RunnerPool
from moot.runtime.dispatch.rollback import roll_back
from moot.runtime.phase import CLOSED, STOPPING, SystemPhase

if TYPE_CHECKING:
    from moot.agent.port import Runtime
    from moot.runtime.durability.turn_journal import TurnJournal

__all__ = ["Lifecycle"]

_PATIENCE = 5.0
"""Seconds that a hook may take to end when it is cancelled."""


class Lifecycle:
    """Starts and stops agents. ``changes`` has a future for each cell whose turns are waited for; see `note_change`.

    ``waiting``: the cells that begin with the mail of an earlier life only when all agents are there.
    """

    def __init__(
        self, runtime: Runtime, pool: RunnerPool, interrupts: Interrupts, commit: Commit, phase: SystemPhase
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._runtime = runtime
        self._pool = pool
        self._interrupts = interrupts
        self._commit = commit
        self._journal: TurnJournal | None = commit.journal
        self._phase = phase
        self.changes: dict[Cell, asyncio.Future[None]] = {}
        self.waiting: dict[Cell, None] = {}

    async def start(self, cell: Cell) -> None:
        """Let a registered agent begin, and return when its ``on_start`` has run. Raises the error of ``on_start``."""
        if cell.phase is STOPPING:
            raise AgentStopped(cell.id)
        started = cell.started = self._loop.create_future() if cell.starting else None
        self._pool.wake(cell)
        if started is not None:
            await started

    async def give_up_start(self, cell: Cell) -> None:
        """Nobody waits for the start of an agent any more: cancel its ``on_start``, and give that a while to end."""
        hooks = {one.task for one in self._pool.of(cell) if one.task is not None and one.message is None}
        for task in hooks:
            task.cancel()
        if hooks:
            await asyncio.wait(hooks, timeout=_PATIENCE)

    async def stop(self, cell: Cell) -> None:
        """Let an agent finish its turn, then run its ``on_stop``. An agent that has not begun to start never starts."""
        cell.phase = STOPPING
        cell.release()
        if cell.starting and cell.started is not None and not cell.started.done():
            cell.started.set_exception(AgentStopped(cell.id))
        await self._until(cell, lambda: cell.running == 0)
        if not cell.starting and not cell.running:
            await self._on_stop(cell)
        cell.starting = False

    async def halt(self, cell: Cell) -> None:
        """Let no turn of a paused agent go on. Turns under way are rolled back, and run again after the restart."""
        for runner in self._pool.of(cell):
            self._interrupts.interrupt(runner, Restarting(cell.id))
        await self._until(cell, lambda: cell.running == cell.held)
        if not cell.starting and cell.phase is not STOPPING:
            cell.starting = True  # the agent that has started is replaced from here on
            await self._on_stop(cell)

    async def hold(self, cell: Cell) -> None:
        """Wait until the restart of the agent is over. The caller is a turn that was rolled back."""
        cell.held += 1
        self.note_change(cell)
        try:
            if cell.renewed is not None:
                await asyncio.shield(cell.renewed)
        finally:
            cell.held -= 1

    async def begin_again(self, cell: Cell) -> None:
        """Run the ``on_start`` of an agent that was made anew. Raises the error of ``on_start``."""
        if cell.starting:
            await self.on_start(cell)
            cell.starting = False

    def note_change(self, cell: Cell) -> None:
        """A turn of ``cell`` has ended or is held."""
        if cell in self.changes:
            self.changes.pop(cell).set_result(None)

    async def _until(self, cell: Cell, is_met: Callable[[], bool]) -> None:
        """Return when ``is_met()``, which asks about the turns of ``cell``, is true, or when no turn runs any more."""
        while not is_met() and self._phase.now < CLOSED:
            change = self.changes.setdefault(cell, self._loop.create_future())
            await asyncio.shield(change)

    async def on_start(self, cell: Cell) -> None:
        """Run ``on_start``. After it the agent handles as many messages at once as its class says."""
        await self._run_hook(cell, "start")
        cell.concurrency = cell.agent.concurrency
        if cell in self.waiting:
            cell.pause()

    async def _on_stop(self, cell: Cell) -> None:
        if type(cell.agent).on_stop is not Agent.on_stop:
            await self._run_hook(cell, "stop")

    async def _run_hook(self, cell: Cell, name: Literal["start", "stop"]) -> None:
        message = self._runtime.numbering.envelope(cell.id, cell.id, None, f"moot.{name}")
        ctx: AgentContext[Any] = AgentContext(self._runtime, cell, message)
        if self._journal is not None:
            self._journal.begun(cell, ctx)
        try:
            waiting = cell.agent.on_start(ctx) if name == "start" else cell.agent.on_stop(ctx)
            if waiting.__class__ is CoroutineType:  # a plain function has done it all
                await waiting
            if ctx.effects is not None and (committing := self._commit.run(cell, ctx)) is not None:
                await committing
            ctx.closed = True
        except BaseException:
            await roll_back(ctx)
            raise
