"""The manager: splits a task, delegates its parts, combines their results.

A subclass says how: `split`, `combine`, and `failed` if it knows what to do without a result. Since a manager answers
a `Task` as it answers a `TaskRequest`, managers can be workers of managers, to any depth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from moot import Agent, AgentContext, AgentMessage, InvalidPayload, MootError, ReplyTo, handles
from moot.patterns.hierarchy.crew import Load, NoWorkers
from moot.patterns.hierarchy.delegate import Delegation, PartFailed, Work, delegate
from moot.patterns.hierarchy.messages import Task, TaskRequest, TaskResult
from moot.patterns.hierarchy.reports import Report, Reports, result_in

__all__ = ["ManagerAgent"]


class ManagerAgent(Agent):
    """Has its workers do what it is asked to, many tasks at once.

    ``workers`` are ids, or ``capability:NAME`` for all who can. Who tells a ``task_request`` instead of asking is sent
    a ``task_result``. Plain content works, too: ``{"task": …}``, or the task itself.
    """

    concurrency = 10_000
    """Turns, most of which wait: for their workers, or to begin. What workers report must not wait behind them."""
    at_once: ClassVar[int] = 64
    """How many tasks it has done at once."""
    cancel_with_asker = True
    delegation: ClassVar[Delegation] = Delegation()
    """How it shares out; the constructor's takes its place."""

    def __init__(self, agent_id: str, workers: str | Sequence[str], delegation: Delegation | None = None) -> None:
        super().__init__(agent_id)
        if agent_id in ([workers] if isinstance(workers, str) else workers):
            raise ValueError(f"{agent_id!r} cannot be a worker of its own; leave it out")
        self.workers = workers if isinstance(workers, str) else tuple(workers)
        self.how = delegation if delegation is not None else self.delegation
        self.load = Load()
        self.slots = asyncio.Semaphore(self.at_once)

    def split(self, task: Any, ctx: AgentContext) -> Any:
        """The parts of ``task``, a sequence; may be async. A list is its items, and anything else is one part."""
        return task if isinstance(task, (list, tuple)) else [task]

    def combine(self, task: Any, results: list[Any], ctx: AgentContext) -> Any:
        """What ``results``, in the order of their parts, come to; may be async. By default a list for a list."""
        return results if isinstance(task, (list, tuple)) or len(results) != 1 else results[0]

    def failed(self, task: Any, failure: PartFailed | NoWorkers, ctx: AgentContext) -> Any:
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
        task, work = _read(message, ctx.idempotency_key, self.reports, message.reply_to if ctx.is_streamed else None)
        if message.reply_to is not None:
            result = await self.do(task, work, ctx)
            return result if result is not None else msgspec.to_builtins(TaskResult(work.id))  # (None: it will be sent)
        try:
            told = TaskResult(work.id, await self.do(task, work, ctx))
        except (MootError, TypeError, ValueError) as failure:
            told = TaskResult(work.id, error=f"{type(failure).__name__}: {failure}")
        ctx.reply(told)
        return None

    @handles("task_result")
    async def on_result(self, message: AgentMessage, ctx: AgentContext) -> None:
        ctx.send(self.reports, Report(message.sender, result_in(message.content), ctx.now()))

    async def do(self, task: Any, work: Work, ctx: AgentContext) -> Any:
        """Split, delegate, combine."""
        async with self.slots:
            parts = await _made(self.split(task, ctx))
            if isinstance(parts, (str, bytes, Mapping)):
                raise TypeError(f"split() returns a list of parts, not a {type(parts).__name__}; put it in a list")
            try:
                results = await delegate(ctx, list(parts), self.workers, self.how, work=work, load=self.load)
            except (PartFailed, NoWorkers) as failure:
                return await _made(self.failed(task, failure, ctx))
            return await _made(self.combine(task, list(results.values()), ctx))


def _read(message: AgentMessage, key: str, reports: str, progress: ReplyTo | None) -> tuple[Any, Work]:
    """The task in a message, typed or plain, and what came with it."""
    content = message.content
    kind, field = (Task, "content") if message.message_type == "task" else (TaskRequest, "task")
    if isinstance(content, Mapping) and field in content:  # else it is a task of the sender's own shape
        try:
            content = msgspec.convert(content, kind)
        except msgspec.ValidationError as error:
            raise InvalidPayload(message.message_type, str(error)) from error
    if isinstance(content, TaskRequest):
        return content.task, Work(key, content.budget, progress, reports)
    if isinstance(content, Task):
        return content.content, Work(content.id, content.budget, content.progress, reports)
    return content, Work(key, None, progress, reports)


async def _made(value: Any) -> Any:
    return await value if hasattr(value, "__await__") else value
