"""The manager: splits a task, delegates its parts, combines their results.

A subclass says how: `split`, `combine`, and `failed` if it knows what to do without a result. Since a manager answers
a `Task` as it answers a `TaskRequest`, managers can be workers of managers, to any depth.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from moot import Agent, AgentContext, AgentMessage, ReplyTo, handles
from moot.patterns.hierarchy.delegate import Delegation, Load, PartFailed, Work, delegate
from moot.patterns.hierarchy.messages import Task, TaskRequest, TaskResult
from moot.patterns.hierarchy.reports import Report, Reports, result_in

__all__ = ["ManagerAgent"]


class ManagerAgent(Agent):
    """Has its workers do what it is asked to, many tasks at once.

    ``workers`` are ids, or ``capability:NAME`` for all who can. Who tells a ``task_request`` instead of asking is sent
    a ``task_result``. Plain content works, too: ``{"task": …}``, or the task itself.
    """

    concurrency = 64
    cancel_with_asker = True
    delegation: ClassVar[Delegation] = Delegation()
    """How it shares out; the constructor's takes its place."""

    def __init__(self, agent_id: str, workers: str | Sequence[str], delegation: Delegation | None = None) -> None:
        super().__init__(agent_id)
        self.workers = workers if isinstance(workers, str) else tuple(workers)
        self.how = delegation if delegation is not None else self.delegation
        self.load = Load()

    def split(self, task: Any, ctx: AgentContext) -> Any:
        """The parts of ``task``, a sequence; may be async. A list is its items, and anything else is one part."""
        return task if isinstance(task, (list, tuple)) else [task]

    def combine(self, task: Any, results: list[Any], ctx: AgentContext) -> Any:
        """What ``results``, in the order of their parts, come to; may be async. By default a list for a list."""
        return results if isinstance(task, (list, tuple)) else results[0]

    def failed(self, task: Any, failure: PartFailed, ctx: AgentContext) -> Any:
        """What the task comes to although a part of it failed; may be async. By default the failure goes up."""
        raise failure

    async def on_start(self, ctx: AgentContext) -> None:
        await ctx.spawn(Reports(self.reports))

    @property
    def reports(self) -> str:
        """The id of the agent that keeps results sent as messages."""
        return f"{self.id}.reports"

    @handles("task_request", "task")
    async def on_task(self, message: AgentMessage, ctx: AgentContext) -> Any:
        task, work = _read(message, self.reports, message.reply_to if ctx.is_streamed else None)
        if message.reply_to is not None:
            return await self.do(task, work, ctx)
        try:
            result = TaskResult(work.id, await self.do(task, work, ctx))
        except PartFailed as failure:
            result = TaskResult(work.id, error=str(failure))
        ctx.reply(result)
        return None

    @handles("task_result")
    async def on_result(self, message: AgentMessage, ctx: AgentContext) -> None:
        ctx.send(self.reports, Report(message.sender, result_in(message.content)))

    async def do(self, task: Any, work: Work, ctx: AgentContext) -> Any:
        """Split, delegate, combine."""
        parts = await _made(self.split(task, ctx))
        try:
            results = await delegate(ctx, parts, self.workers, self.how, work=work, load=self.load)
        except PartFailed as failure:
            return await _made(self.failed(task, failure, ctx))
        return await _made(self.combine(task, list(results.values()), ctx))


def _read(message: AgentMessage, reports: str, progress: ReplyTo | None) -> tuple[Any, Work]:
    """The task in a message, typed or plain, and what came with it."""
    content = message.content
    if isinstance(content, Mapping):
        with contextlib.suppress(msgspec.ValidationError):  # then it is a task of the sender's own shape
            content = msgspec.convert(content, Task if message.message_type == "task" else TaskRequest)
    if isinstance(content, TaskRequest):
        return content.task, Work(message.id, content.budget, progress, reports)
    if isinstance(content, Task):
        return content.content, Work(content.id, content.budget, content.progress, reports)
    return content, Work(message.id, None, progress, reports)


async def _made(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
