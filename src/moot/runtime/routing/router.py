"""The router: who receives a message.

An address is an agent's id, or ``capability:NAME``, or ``topic:NAME``. A capability
goes to one of those who have it, the one with the shortest mailbox; among equals
they take turns. Each choice of a turn is pinned, so that a turn that is run again
talks to the same agents. A hosted agent is made when it is first addressed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from moot.agent.agent import Agent
from moot.errors import AgentNotMade, UnknownAgent
from moot.ids import CAPABILITY
from moot.runtime.cell import Cell
from moot.runtime.routing.directory import Directory

if TYPE_CHECKING:
    from moot.agent.records import Records

__all__ = ["MessageRouter"]


class MessageRouter:
    """Resolves addresses to cells. ``activate`` starts a hosted agent and returns its cell."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self.cells = directory.cells
        self._turns: Counter[str] = Counter()
        self.activate: Callable[[Agent[Any]], Cell] | None = None

    def resolve(self, address: str, records: Records | None = None) -> Cell:
        """The one agent at ``address``.

        Raises:
            UnknownAgent: nobody is there. AgentNotMade, which is one: it is in a hosted domain, and making it failed.
        """
        cell = self.cells.get(address)
        if cell is not None:
            return cell
        if address.startswith(CAPABILITY):
            return self._capable(address, records)
        return self._hosted(address)

    def subscribers(self, topic: str) -> tuple[Cell, ...]:
        """All who listen to ``topic``."""
        return self._directory.subscribers(topic)

    def _capable(self, address: str, records: Records | None) -> Cell:
        pinned = records.pinned(address) if records is not None else None
        if pinned is not None and pinned in self.cells:
            return self.cells[pinned]
        able = self._directory.able(address.removeprefix(CAPABILITY))
        if not able:
            raise UnknownAgent(address)
        self._turns[address] += 1
        first = self._turns[address] % len(able)
        rotated = able[first:] + able[:first]
        cell = min(rotated, key=lambda cell: len(cell.mailbox) + cell.running)
        if records is not None:
            records.pin(address, cell.id)
        return cell

    def _hosted(self, address: str) -> Cell:
        try:
            agent = self._directory.hosted(address)
            cell = self.activate(agent) if agent is not None and self.activate is not None else None
        except Exception as error:  # the maker of a domain is user code, and a commit must not fail for it
            raise AgentNotMade(address, error) from error
        if cell is None:
            raise UnknownAgent(address)
        return cell
