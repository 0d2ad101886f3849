"""A pool of workers: who is given the next task, when there are more tasks than workers and some workers are no good.

A worker has a few tasks at a time, so one that hangs holds up those few only. A task that failed goes to whoever has
not tried it yet, and who fails again and again is passed over while there are others: a worker that fails at once is
always free, and would otherwise get everything.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from moot import AgentContext

__all__ = ["NobodyAble", "Pool"]


class NobodyAble(LookupError):
    """There is no worker at all."""


class Pool:
    """The workers at ``address``: one agent, or all who have ``capability:NAME`` when a task is given out."""

    def __init__(self, ctx: AgentContext[Any], address: str, per_worker: int, retire_after: int) -> None:
        self._ctx = ctx
        self._address = address
        self._per_worker = per_worker
        self._retire_after = retire_after
        self._busy: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._freed = asyncio.Event()

    def choose(self, tried: Counter[str]) -> str | None:
        """The free worker that a task which was ``tried`` so goes to; None if it has to wait for one.

        Raises:
            NobodyAble: there is no worker at all.
        """
        found = self._workers()
        able = [worker for worker in found if self._failures[worker] < self._retire_after] or found
        least = min(tried[worker] for worker in able)
        free = [worker for worker in able if tried[worker] == least and self._busy[worker] < self._per_worker]
        return min(free, key=lambda worker: (self._failures[worker], self._busy[worker]), default=None)

    async def take(self, tried: Counter[str]) -> str:
        """Wait until a worker is free for a task, and give it that; `release` takes it back.

        Raises:
            NobodyAble: there is no worker at all.
        """
        while (worker := self.choose(tried)) is None:
            self._freed.clear()
            await self._freed.wait()
        self._busy[worker] += 1
        return worker

    def release(self, worker: str, *, failed: bool) -> None:
        """The worker is through with a task."""
        self._busy[worker] -= 1
        self._failures[worker] = self._failures[worker] + 1 if failed else 0
        self._freed.set()

    def _workers(self) -> list[str]:
        found = self._ctx.find(self._address)
        if not found:
            raise NobodyAble(f"nobody has {self._address!r}; register a worker")
        return found
