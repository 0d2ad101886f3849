"""A worker whose running task is cancelled when nobody waits for it any more."""

from __future__ import annotations

from typing import Any

from moot import Agent, AgentContext, handles
from moot.patterns.hierarchy.messages import Task

__all__ = ["WorkerAgent"]


class WorkerAgent(Agent):
    """Override `work`. Any agent that answers a `Task` is a worker; this one also lets itself be cancelled."""

    cancel_with_asker = True

    def work(self, content: Any, ctx: AgentContext) -> Any:
        """Do a part of a task; may be async. The message is in ``ctx.message``, a `Task`."""
        raise NotImplementedError(f"{type(self).__name__} has no work(); override it")

    @handles
    async def on_task(self, task: Task, ctx: AgentContext) -> Any:
        result = self.work(task.content, ctx)
        return await result if hasattr(result, "__await__") else result
