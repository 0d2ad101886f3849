"""Crew: the workers of one task, how busy each is, and which of them gets which part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from moot import AgentContext, CoordinationError, Factual
from moot.patterns.hierarchy.routing import Routing

__all__ = ["Crew", "Load", "NoWorkers", "Plan"]


class NoWorkers(Factual, CoordinationError):
    """There is nobody to do it."""

    wanted: str
    template = "no worker is there for {wanted}; register one, then ask again"


class Load:
    """How many parts each worker has under way, and how many were given out in all. Tasks may share one."""

    def __init__(self) -> None:
        self.under_way: dict[str, int] = {}
        self.given = 0

    def add(self, worker: str) -> None:
        """A worker has been given a part."""
        self.under_way[worker] = self.under_way.get(worker, 0) + 1

    def remove(self, worker: str) -> None:
        """A worker has a part no more."""
        left = self.under_way.pop(worker, 0) - 1
        if left > 0:
            self.under_way[worker] = left


class Plan(msgspec.Struct, frozen=True):
    """What was decided: an id of this delegation and no other, when, and who gets which part."""

    id: str
    at: float
    workers: list[str]


class Crew:
    """The workers of one task."""

    def __init__(self, ctx: AgentContext[Any], workers: str | Sequence[str], routing: Routing, load: Load) -> None:
        self.ctx = ctx
        self.workers = [workers] if isinstance(workers, str) else list(dict.fromkeys(workers))
        self.routing = routing
        self.load = load

    def plan(self, parts: Sequence[Any], key: str) -> Plan:
        """Assign all parts."""
        return Plan(key, self.ctx.now(), self.assign(parts))

    def assign(self, parts: Sequence[Any], tried: Sequence[str] = ()) -> list[str]:
        """A worker for each part: one that has not been tried, if there is one."""
        able = self.ctx.find(self.workers)
        if not able:
            raise NoWorkers(", ".join(self.workers) or "no name")
        fresh = [worker for worker in able if worker not in tried] if tried else able
        load = self.load
        load.given += len(parts)
        return self.routing.assign(parts, fresh or able, load.under_way, load.given - len(parts))
