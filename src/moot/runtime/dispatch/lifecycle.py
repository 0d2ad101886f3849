"""The lifecycle of an agent as the dispatcher sees it: it starts, halts for a restart, begins again, and stops.

Each of these waits for the turns that are under way: a stop until they have ended, a
restart until they were rolled back and are held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from moot.errors import AgentStopped
from moot.runtime.cell import Cell
from moot.runtime.dispatch.hooks import Hooks
from moot.runtime.dispatch.interrupts import Interrupts, Restarting

if TYPE_CHECKING:
    from moot.runtime.dispatch.pool import RunnerPool

__all__ = ["Lifecycle"]


class Lifecycle:
    """Starts and stops agents. ``changes`` are those of whose turns somebody waits to hear; see `note_change`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, interrupts: Interrupts, wake: Callable[[Cell], None]) -> None:
        self._loop = loop
        self._interrupts = interrupts
        self._wake = wake
        self.changes: dict[Cell, asyncio.Future[None]] = {}
        self.hooks: Hooks | None = None
        self.pool: RunnerPool | None = None
        self.is_closed = False

    async def start(self, cell: Cell) -> None:
        """Let a registered agent begin; returns when its ``on_start`` has run. Raises what that raises."""
        if cell.stopping:
            raise AgentStopped(cell.id)
        started = cell.started = self._loop.create_future() if cell.starting else None
        self._wake(cell)
        if started is not None:
            await started

    async def stop(self, cell: Cell) -> None:
        """Let an agent finish its turn, then run its ``on_stop``; one that has not begun to start never does."""
        cell.stopping = True
        cell.release()
        if cell.starting and cell.started is not None and not cell.started.done():
            cell.started.set_exception(AgentStopped(cell.id))
        await self._until(cell, lambda: cell.running == 0)
        if not cell.starting and not cell.running and self.hooks is not None:
            await self.hooks.on_stop(cell)
        cell.starting = False

    async def halt(self, cell: Cell) -> None:
        """Let no turn of a paused agent run on: what is under way is rolled back, to be run again after the restart."""
        for runner in self.pool.busy() if self.pool is not None else ():
            if runner.cell is cell:
                self._interrupts.interrupt(runner, Restarting(cell.id))
        await self._until(cell, lambda: cell.running == cell.held)
        if not cell.starting and not cell.stopping and self.hooks is not None:
            cell.starting = True  # from here on it is not the one that has started
            await self.hooks.on_stop(cell)

    async def hold(self, cell: Cell) -> None:
        """Wait, with a turn that was rolled back, until a restart is over."""
        cell.held += 1
        self.note_change(cell)
        try:
            if cell.renewed is not None:
                await asyncio.shield(cell.renewed)
        finally:
            cell.held -= 1

    async def begin_again(self, cell: Cell) -> None:
        """Run the ``on_start`` of an agent that was made anew. Raises what that raises."""
        if cell.starting and self.hooks is not None:
            await self.hooks.on_start(cell)
            cell.starting = False

    def note_change(self, cell: Cell) -> None:
        """A turn of ``cell`` has ended or is held."""
        if cell in self.changes:
            self.changes.pop(cell).set_result(None)

    async def _until(self, cell: Cell, is_met: Callable[[], bool]) -> None:
        """Return when a condition on the turns of ``cell`` is met, or everything is closed."""
        while not is_met() and not self.is_closed:
            change = self.changes.setdefault(cell, self._loop.create_future())
            await asyncio.shield(change)
