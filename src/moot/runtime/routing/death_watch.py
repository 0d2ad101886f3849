"""Death-watch: an agent learns that another has stopped for good.

A restart is no end, so a watch is on an agent and not on its instance. The news is a message
like any other, except that no full mailbox keeps it out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from moot.messaging.message import NEWS, AgentMessage, Numbering, Payload
from moot.runtime.cell import Cell
from moot.runtime.phase import STOPPING
from moot.runtime.routing.directory import Directory

__all__ = ["Terminated", "DeathWatch"]


class Terminated(Payload):
    """The watched agent ``agent_id`` has stopped for good: it was ``stopped``, has ``failed``, or is ``unknown``.

    ``error`` is the class and text of the error that it failed with.
    """

    agent_id: str
    reason: Literal["stopped", "failed", "unknown"]
    error: str = ""


class DeathWatch:
    """Who watches whom. ``deliver(watcher, message)`` is called for each watcher that is to be told."""

    def __init__(
        self, directory: Directory, numbering: Numbering, deliver: Callable[[Cell, AgentMessage], None]
    ) -> None:
        self._directory = directory
        self._numbering = numbering
        self._deliver = deliver
        self._watchers: dict[str, dict[Cell, None]] = {}
        self._watched: dict[Cell, dict[str, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._watched.values()))

    def add(self, watcher: Cell, agent_id: str) -> None:
        """Let ``watcher`` be told when ``agent_id`` stops, or at once if there is no agent of that id."""
        cell = self._directory.cells.get(agent_id)
        if cell is None or cell.phase is STOPPING:
            self._tell(watcher, Terminated(agent_id=agent_id, reason="unknown"))
            return
        self._watchers.setdefault(agent_id, {})[watcher] = None
        self._watched.setdefault(watcher, {})[agent_id] = None

    def discard(self, watcher: Cell, agent_id: str) -> None:
        """Let ``watcher`` no longer be told when ``agent_id`` stops."""
        watchers = self._watchers.get(agent_id, {})
        watchers.pop(watcher, None)
        if not watchers:
            self._watchers.pop(agent_id, None)
        watched = self._watched.get(watcher, {})
        watched.pop(agent_id, None)
        if not watched:
            self._watched.pop(watcher, None)

    def ended(self, cell: Cell, error: BaseException | None) -> None:
        """The agent of ``cell`` has stopped for good. Tell its watchers, and forget what it watched."""
        for agent_id in tuple(self._watched.get(cell, ())):
            self.discard(cell, agent_id)
        news = Terminated(
            agent_id=cell.id,
            reason="stopped" if error is None else "failed",
            error="" if error is None else f"{type(error).__name__}: {error}",
        )
        for watcher in tuple(self._watchers.get(cell.id, ())):
            self.discard(watcher, cell.id)
            self._tell(watcher, news)

    def _tell(self, watcher: Cell, news: Terminated) -> None:
        message = self._numbering.envelope(news.agent_id, watcher.id, news, Terminated.message_type, priority=NEWS)
        self._deliver(watcher, message)
