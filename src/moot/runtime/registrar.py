"""The registrar: brings agents into a running system, and takes them out.

Registering starts an agent and waits for its ``on_start``. Taking an agent out stops its
children first, lets its present turn end, and makes dead letters of its mail. If a durable
backend has stored anything of an agent, it comes back when the agent is registered.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from moot.agent.agent import Agent
from moot.errors import ManagerStopped, UnknownAgent
from moot.messaging.dead_letters import Reason
from moot.messaging.mailbox import StoredMailbox
from moot.messaging.message import AgentMessage
from moot.runtime.cell import Cell
from moot.runtime.dispatch.dispatcher import Dispatcher
from moot.runtime.dispatch.opening import Opening
from moot.runtime.phase import CLOSING, STOPPING, SystemPhase
from moot.runtime.routing.delivery import Delivery
from moot.runtime.routing.directory import Directory
from moot.runtime.routing.router import MessageRouter

if TYPE_CHECKING:
    from moot.backends.base import StoredMail
    from moot.runtime.durability.turn_journal import TurnJournal

__all__ = ["Registrar"]

_log = logging.getLogger("moot.runtime.registrar")


class Registrar:
    """Brings agents in and takes them out.

    The supervisor sets ``await_release(cell)``: it waits until nothing holds a cell that is taken out. The gateway sets
    ``readmit(message)``: it opens the ask of a stored request from outside, and returns the request.
    """

    await_release: Callable[[Cell], Awaitable[None]]
    readmit: Callable[[AgentMessage], AgentMessage]

    def __init__(
        self,
        directory: Directory,
        router: MessageRouter,
        dispatcher: Dispatcher,
        delivery: Delivery,
        opening: Opening,
        phase: SystemPhase,
    ) -> None:
        self._directory = directory
        self._router = router
        self._dispatcher = dispatcher
        self._lifecycle = dispatcher.lifecycle
        self._delivery = delivery
        self._journal = delivery.journal
        self._opening = opening
        opening.opened = self._opened
        self._phase = phase
        router.activate = self._activate

    async def start(self) -> None:
        """Start the agents registered so far, in order. Raises the error of an ``on_start``."""
        cells = tuple(self._directory.cells.values())
        if self._journal is not None:
            for cell in cells:
                self._restore(cell, self._journal)
        for cell in cells:
            await self._lifecycle.start(cell)
        if cells or self._journal is None or not self._journal.waiting():
            self._opening.open()
        else:
            self._opening.registered()

    def _opened(self) -> None:
        """All agents are there that the program registers: those that are made when they are needed come now."""
        for agent_id in self._journal.waiting() if self._journal is not None else ():
            with contextlib.suppress(UnknownAgent):  # an unknown agent may be registered later
                self._router.resolve(agent_id, None)

    async def add(self, cell: Cell) -> None:
        """Register and start an agent. Raises `DuplicateAgent`, and the error of its ``on_start``."""
        self._enter(cell)
        if cell.parent is not None:
            if cell.parent.children is None:
                cell.parent.children = {}
            cell.parent.children[cell] = None
        try:
            await self._lifecycle.start(cell)
        except BaseException:
            if self._phase.is_over():
                raise
            await self._lifecycle.give_up_start(cell)
            if self._directory.cells.get(cell.id) is cell:
                await self.remove_quietly(cell, None, has_come=False)
            elif cell.parent is not None and cell.parent.children is not None:
                cell.parent.children.pop(cell, None)
            raise
        self._opening.registered()

    def registered(self, agent_id: str) -> Cell:
        """The cell of a registered agent. Raises `UnknownAgent`."""
        cell = self._directory.cells.get(agent_id)
        if cell is None:
            raise self._directory.unknown(agent_id)
        return cell

    def _activate(self, agent: Agent[Any]) -> Cell:
        """Register a hosted agent that was just addressed. It starts with its first turn."""
        if self._phase.now >= CLOSING:
            raise ManagerStopped("make an agent")
        cell = Cell(agent)
        self._enter(cell)
        self._dispatcher.pool.wake(cell)
        return cell

    def _enter(self, cell: Cell) -> None:
        """Put an agent into the directory, with what a durable backend has stored of it."""
        self._directory.add(cell)
        if self._journal is not None:
            try:
                self._restore(cell, self._journal)
            except BaseException:
                self._directory.remove(cell)
                raise

    def _restore(self, cell: Cell, journal: TurnJournal) -> None:
        restored = journal.restore(cell)
        for message in self._taken_up(cell, restored.mail):
            cell.mailbox.force(message)
        if journal.unread(cell.id):
            cell.mailbox = StoredMailbox.after(
                cell.mailbox,
                lambda: self._taken_up(cell, journal.read_mail(cell.id)),
                lambda: journal.unread(cell.id),
            )
        self._opening.restored(cell, restored.timers)

    def _taken_up(self, cell: Cell, mail: Iterable[tuple[AgentMessage, StoredMail]]) -> list[AgentMessage]:
        """The stored messages that wait again."""
        taken = (self._take_up(cell, message, stored) for message, stored in mail)
        return [message for message in taken if message is not None]

    def _take_up(self, cell: Cell, message: AgentMessage, mail: StoredMail) -> AgentMessage | None:
        """A message of an earlier life as it waits again; None if it has killed the process too often."""
        if mail.attempts >= cell.policies.retry.max_deaths:
            text = f"the process died {mail.attempts} times while it was handled"
            self._delivery.bury(message, Reason.FAILED, text, attempts=mail.attempts, receiver=cell)
            return None
        if message.reply_to is not None:
            message = msgspec.structs.replace(message, deadline=None)  # the ask ended with its process
            message = self.readmit(message)
        if mail.attempts > 1 and cell.limits is not None:
            cell.limits.keep_alone(message)  # another message of its batch may have killed the process twice
        return message

    async def remove(self, cell: Cell, error: BaseException | None = None, *, has_come: bool = True) -> None:
        """Stop an agent for good, its children first. ``error`` is why it failed; None if it did not.

        It has not ``has_come`` if its registration was given up: then what is stored for it stays.

        Raises:
            RuntimeError: the call comes from a turn of this agent or of a child, and would wait for itself.
        """
        above = self._dispatcher.pool.running(asyncio.current_task())
        while above is not None:
            if above is cell:
                raise RuntimeError(f"agent {cell.id!r} cannot unregister itself inside its own turn; let another do it")
            above = above.parent
        if self._directory.cells.get(cell.id) is not cell:
            return  # another call is taking the agent out
        cell.phase = STOPPING
        self._opening.release(cell)
        children, cell.children = cell.children, None
        if cell.parent is not None and cell.parent.children is not None:
            cell.parent.children.pop(cell, None)
        self._directory.remove(cell)
        try:
            for child in reversed(children or {}):
                await self.remove_quietly(child, None)
            await self.await_release(cell)
            await self._lifecycle.stop(cell)
        finally:
            if not has_come:
                self._dispatcher.departure.unstarted(cell, error)
            else:
                if self._journal is not None and not self._phase.is_over() and self._phase.now < CLOSING:
                    self._journal.departed(cell)
                self._dispatcher.departure.run(cell, error)

    async def remove_quietly(self, cell: Cell, error: BaseException | None, *, has_come: bool = True) -> None:
        """Stop an agent for good. An error of its ``on_stop`` is logged."""
        try:
            await self.remove(cell, error, has_come=has_come)
        except Exception:
            _log.exception("agent %s failed in on_stop", cell.id)
