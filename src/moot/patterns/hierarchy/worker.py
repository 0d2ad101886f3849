"""Workers: one that is asked, and lets itself be cancelled; and one that pulls from a pool."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from moot import Agent, AgentContext, Payload, RetryPolicy, handles
from moot.patterns.hierarchy.messages import Ready, Task, TaskResult

__all__ = ["PullingWorker", "WorkerAgent"]


class WorkerAgent(Agent):
    """Override `work`. Any agent that answers a `Task` is a worker; this one also lets itself be cancelled."""

    cancel_with_asker = True

    def work(self, content: Any, ctx: AgentContext) -> Any:
        """Do a part of a task; may be async. The message is in ``ctx.message``, a `Task`."""
        raise NotImplementedError(f"{type(self).__name__} has no work(); override it")

    @handles
    async def on_task(self, task: Task, ctx: AgentContext) -> Any:
        result = self.work(task.content, ctx)
        if hasattr(result, "__await__"):
            result = await result
        return result if result is not None else msgspec.to_builtins(TaskResult(task.id))  # (None: it will be sent)


class Announce(Payload):
    """Time to tell the pool again."""


class PullingWorker(Agent):
    """A worker that takes up to ``credit`` tasks of a pool ahead of what it does; override `work`.

    It tells the pool what it will take when it starts, after each task, and every ``announce_every`` seconds. A task
    that fails is the pool's to give to another, and not tried again here.
    """

    retry = RetryPolicy(max_attempts=1)

    def __init__(self, agent_id: str, pool: str, *, credit: int = 1, announce_every: float = 5.0) -> None:
        super().__init__(agent_id)
        if credit < 1 or not 0 < announce_every < math.inf:
            raise ValueError("a worker's credit is 1 or more, and announce_every is above 0 s and has an end")
        self.pool = pool
        self.credit = credit
        self.announce_every = announce_every
        self.run = ""
        self.taken = 0

    def work(self, content: Any, ctx: AgentContext) -> Any:
        """Do a task; may be async. What it raises is told to the pool, which gives the task to another."""
        raise NotImplementedError(f"{type(self).__name__} has no work(); override it")

    async def on_start(self, ctx: AgentContext) -> None:
        self.run = f"{ctx.now():.6f}-{ctx.random.getrandbits(32):08x}"
        ctx.send(self.pool, self._ready())
        ctx.schedule(self.announce_every, Announce(), every=self.announce_every, name="announce")

    @handles
    async def on_announce(self, message: Announce, ctx: AgentContext) -> None:
        ctx.send(self.pool, self._ready())

    @handles
    async def on_task(self, task: Task, ctx: AgentContext) -> None:
        if ctx.attempt == 1:
            self.taken += 1
        try:
            result = self.work(task.content, ctx)
            result = await result if hasattr(result, "__await__") else result
        except Exception as error:  # the turn fails, and the pool need not wait for its lease to know
            ctx.progress(ctx.sender, TaskResult(task.id, error=f"{type(error).__name__}: {error}"))
            ctx.progress(self.pool, self._ready())
            raise
        ctx.send(ctx.sender, TaskResult(task.id, result))
        ctx.send(self.pool, self._ready())

    def _ready(self) -> Ready:
        return Ready(self.run, self.taken + self.credit, self.taken)
