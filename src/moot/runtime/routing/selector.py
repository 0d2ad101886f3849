"""Selectors: which of the agents that can do something gets a message for ``capability:NAME``.

By default it is the agent with the least to do, which needs no knowledge of the work
(join-the-shortest-queue; see W. Winston, "Optimality of the Shortest Line Discipline", 1977). A
user, a trust score or a cache of prompts may know better. A `Selector` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

__all__ = ["Candidate", "LeastBusy", "Selector"]


class Candidate(NamedTuple):
    """An agent that could get the message: its id, the messages in its mailbox, and its turns under way."""

    agent_id: str
    waiting: int
    running: int


class Selector(Protocol):
    """Chooses the agent that gets a message. It is called in the event loop at each send, and must be quick."""

    def select(self, capability: str, candidates: Sequence[Candidate], content: Any) -> Candidate:
        """One of ``candidates`` for a message with that ``content``. There is at least one candidate.

        The candidates take turns in being first, so a selector that takes the first of equals spreads the work.
        """
        ...


class LeastBusy:
    """The default `Selector`: the agent with the fewest waiting messages and running turns. Equals take turns."""

    def select(self, capability: str, candidates: Sequence[Candidate], content: Any) -> Candidate:
        """The candidate with the least to do."""
        return min(candidates, key=lambda candidate: candidate.waiting + candidate.running)
