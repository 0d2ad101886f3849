"""Registrar: who lives in a running system, from the first hook to the last dead letter.

Registering starts an agent and waits for its ``on_start``; taking one out stops its
children first, lets its present turn end, and makes dead letters of its mail.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from moot.agent.agent import Agent
from moot.errors import ManagerStopped, UnknownAgent
from moot.runtime.cell import Cell
from moot.runtime.dispatch.dispatcher import Dispatcher
from moot.runtime.routing.directory import Directory

if TYPE_CHECKING:
    from moot.runtime.durability.turn_journal import TurnJournal

__all__ = ["Registrar"]

_MOST_SUGGESTED = 1000

_log = logging.getLogger("moot.runtime.registrar")


class Registrar:
    """Brings agents in and takes them out. ``await_release(cell)`` waits for what holds one that is taken out;
    ``ended(cell, error)`` is called for each that is out for good.
    """

    def __init__(self, directory: Directory, dispatcher: Dispatcher) -> None:
        self.directory = directory
        self.dispatcher = dispatcher
        self.turn_journal: TurnJournal | None = None
        self.is_open = True
        """Whether new ones are made."""
        self.await_release: Callable[[Cell], Awaitable[None]] = _at_once
        self.resolve: Callable[[str], Cell] = self.resident
        """Finds an agent by its id, or makes it if it is hosted."""
        self.ended: Callable[[Cell, BaseException | None], None] = lambda cell, error: None

    async def start(self) -> None:
        """Start the agents registered so far, in order. Raises what an ``on_start`` raises."""
        cells = tuple(self.directory.cells.values())
        if self.turn_journal is not None:
            for cell in cells:
                self.turn_journal.restore(cell)
        for cell in cells:
            await self.dispatcher.lifecycle.start(cell)
        for agent_id in self.turn_journal.waiting() if self.turn_journal is not None else ():
            with contextlib.suppress(UnknownAgent):  # whoever is neither registered nor hosted may be later
                self.resolve(agent_id)

    async def add(self, cell: Cell) -> None:
        """Register and start an agent. Raises `DuplicateAgent`, and what its ``on_start`` raises."""
        self._enter(cell)
        if cell.parent is not None:
            if cell.parent.children is None:
                cell.parent.children = {}
            cell.parent.children[cell] = None
        try:
            await self.dispatcher.lifecycle.start(cell)
        except BaseException:
            if self.directory.cells.get(cell.id) is cell:
                await self.remove_quietly(cell, None)
            elif cell.parent is not None and cell.parent.children is not None:
                cell.parent.children.pop(cell, None)
            raise

    def resident(self, agent_id: str) -> Cell:
        """The cell of a registered agent. Raises `UnknownAgent`."""
        cell = self.directory.cells.get(agent_id)
        if cell is None:
            raise self.unknown(agent_id)
        return cell

    def activate(self, agent: Agent[Any]) -> Cell:
        """Register a hosted agent that was just addressed; it starts with its first turn."""
        if not self.is_open:
            raise ManagerStopped("make an agent")
        cell = Cell(agent)
        self._enter(cell)
        self.dispatcher.wake(cell)
        return cell

    def _enter(self, cell: Cell) -> None:
        """Put an agent into the directory, with what a durable backend has kept of it."""
        self.directory.add(cell)
        if self.turn_journal is not None:
            try:
                self.turn_journal.restore(cell)
            except BaseException:
                self.directory.remove(cell)
                raise

    async def remove(self, cell: Cell, error: BaseException | None = None) -> None:
        """Stop an agent for good, its children first; ``error`` is what it failed of, if it did.

        Raises:
            RuntimeError: called from a turn of this very agent or of a child, which would wait for itself.
        """
        above = self.running_here()
        while above is not None:
            if above is cell:
                raise RuntimeError(f"agent {cell.id!r} cannot unregister itself inside its own turn; let another do it")
            above = above.parent
        if self.directory.cells.get(cell.id) is not cell:
            return  # somebody else is taking it out
        cell.stopping = True
        children, cell.children = cell.children, None
        if cell.parent is not None and cell.parent.children is not None:
            cell.parent.children.pop(cell, None)
        self.directory.remove(cell)
        try:
            for child in reversed(children or {}):
                await self.remove_quietly(child, None)
            await self.await_release(cell)
            await self.dispatcher.lifecycle.stop(cell)
        finally:
            self.dispatcher.bury_mail(cell)
            if self.turn_journal is not None:
                self.turn_journal.departed(cell)
            self.ended(cell, error)

    def running_here(self) -> Cell | None:
        """The cell in whose turn this is called, if it is called in one."""
        return self.dispatcher.pool.running(asyncio.current_task()) if self.dispatcher.pool is not None else None

    async def remove_quietly(self, cell: Cell, error: BaseException | None) -> None:
        """Stop an agent for good; what its ``on_stop`` raises is logged."""
        try:
            await self.remove(cell, error)
        except Exception:
            _log.exception("agent %s failed in on_stop", cell.id)

    def unknown(self, address: str) -> UnknownAgent:
        """The error for an address where nobody is, with those that it may have meant."""
        known = self.directory.cells
        return UnknownAgent(address, tuple(known) if len(known) <= _MOST_SUGGESTED else ())


async def _at_once(cell: Cell) -> None:
    """Nothing holds it."""
