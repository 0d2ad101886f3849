"""The router: which agent receives a message.

An address is an agent's id, or ``capability:NAME``, or ``topic:NAME``. For a capability a
selector chooses one of the agents that have it. Each choice of a turn is pinned, so a turn that
is run again talks to the same agents. A hosted agent is made when it is first addressed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from moot.agent.agent import Agent
from moot.errors import AgentNotMade, AgentStopped, UnknownAgent
from moot.ids import CAPABILITY
from moot.runtime.cell import Cell
from moot.runtime.phase import STOPPING
from moot.runtime.routing.directory import Directory
from moot.runtime.routing.selector import Candidate, LeastBusy, Selector

if TYPE_CHECKING:
    from moot.agent.records import Records

__all__ = ["MessageRouter"]

_log = logging.getLogger("moot.runtime.routing.router")


class MessageRouter:
    """Resolves addresses to cells. ``activate`` registers a hosted agent; the registrar sets it."""

    activate: Callable[[Agent[Any]], Cell]

    def __init__(self, directory: Directory, selector: Selector | None = None) -> None:
        self._directory = directory
        self._selector = selector or LeastBusy()
        self.cells = directory.cells
        self._turns: Counter[str] = Counter()

    def resolve(self, address: str, content: Any, records: Records | None = None) -> Cell:
        """The one agent at ``address`` that gets a message with that ``content``.

        Raises:
            UnknownAgent: there is no agent at that address. AgentNotMade, a kind of it: the address is in a hosted
            domain, and making the agent failed.
        """
        cell = self.cells.get(address)
        if cell is not None:
            return cell
        if address.startswith(CAPABILITY):
            return self._capable(address, content, records)
        return self._hosted(address)

    def reach(self, address: str, content: Any, records: Records | None = None) -> Cell:
        """As `resolve`, for a sender that waits. Also raises AgentStopped: the agent takes no more messages."""
        try:
            target = self.resolve(address, content, records)
        except AgentNotMade:
            raise
        except UnknownAgent:
            raise self._directory.unknown(address) from None
        if target.phase is STOPPING:
            raise AgentStopped(target.id)
        return target

    def subscribers(self, topic: str) -> tuple[Cell, ...]:
        """All agents that listen to ``topic``."""
        return self._directory.subscribers(topic)

    def _capable(self, address: str, content: Any, records: Records | None) -> Cell:
        pinned = records.pinned(address) if records is not None else None
        if pinned is not None and pinned in self.cells:
            return self.cells[pinned]
        capability = address.removeprefix(CAPABILITY)
        able = self._directory.able(capability)
        if not able:
            raise UnknownAgent(address)
        self._turns[address] += 1
        first = self._turns[address] % len(able)
        candidates = [Candidate(cell.id, len(cell.mailbox), cell.running) for cell in able[first:] + able[:first]]
        chosen = candidates[self._selected(capability, candidates, content)].agent_id
        if records is not None:
            records.pin(address, chosen)
        return self.cells[chosen]

    def _selected(self, capability: str, candidates: list[Candidate], content: Any) -> int:
        """The candidate that the selector chooses; the least busy if that fails, because a commit must not fail."""
        try:
            return candidates.index(self._selector.select(capability, candidates, content))
        except Exception:
            _log.exception("the selector failed for %r; the least busy agent gets the message", capability)
            return candidates.index(LeastBusy().select(capability, candidates, content))

    def _hosted(self, address: str) -> Cell:
        try:
            agent = self._directory.hosted(address)
            cell = self.activate(agent) if agent is not None else None
        except Exception as error:  # the maker of a domain is user code, and a commit must not fail for it
            raise AgentNotMade(address, error) from error
        if cell is None:
            raise UnknownAgent(address)
        return cell
