"""Reports: results that workers send as messages of their own, and who waits for them.

A worker need not answer the ask that brings it a task: it may return nothing and send a ``task_result`` later, to
whoever sent the task. A manager gives such messages to an agent of its own, which keeps them until they are asked for,
and keeps who asks until they come; so both outlive the process on a durable backend.
"""

from __future__ import annotations

from typing import Any

import msgspec

from moot import Agent, AgentContext, Payload, ReplyTo, handles
from moot.patterns.hierarchy.messages import AwaitResult, TaskResult

__all__ = ["Report", "Reports"]

MOST = 10_000


class Report(Payload):
    """``worker`` has sent this."""

    worker: str
    result: TaskResult


class Waiting(msgspec.Struct, frozen=True):
    """Who waits for which worker's result of which task."""

    worker: str
    task_id: str
    reply_to: ReplyTo


class Desk(msgspec.Struct, frozen=True):
    """Results that nobody has asked for yet, and those who wait for one."""

    heard: tuple[Report, ...] = ()
    waiting: tuple[Waiting, ...] = ()


class Reports(Agent[Desk]):
    """Brings results and those who wait for them together.

    A result that names no task is that of the task which its worker was given first. Of results that nobody asks for
    the last 10,000 are kept.
    """

    @handles
    async def on_report(self, report: Report, ctx: AgentContext[Desk]) -> None:
        desk = ctx.state
        for one in desk.waiting:
            if _fits(report, one.worker, one.task_id):
                ctx.send(one.reply_to, report.result)
                ctx.state = Desk(desk.heard, tuple(other for other in desk.waiting if other is not one))
                return
        ctx.state = Desk((*desk.heard, report)[-MOST:], desk.waiting)

    @handles
    async def on_await(self, message: AwaitResult, ctx: AgentContext[Desk]) -> TaskResult | None:
        desk, now = ctx.state, ctx.now()
        for report in desk.heard:
            if _fits(report, message.worker, message.task_id):
                ctx.state = Desk(tuple(other for other in desk.heard if other is not report), desk.waiting)
                return report.result
        still = tuple(one for one in desk.waiting if one.reply_to.deadline is None or one.reply_to.deadline > now)
        ctx.state = Desk(desk.heard, (*still, Waiting(message.worker, message.task_id, ctx.defer())))
        return None


def _fits(report: Report, worker: str, task_id: str) -> bool:
    return report.worker == worker and report.result.task_id in (None, task_id)


def result_in(content: Any) -> TaskResult:
    """The result in what a worker has sent: a `TaskResult`, a map with a ``result`` or ``error``, or the result."""
    if isinstance(content, TaskResult):
        return content
    if isinstance(content, dict) and content.keys() & {"result", "error"}:
        try:
            return msgspec.convert(content, TaskResult)
        except msgspec.ValidationError:
            return TaskResult(result=content)
    return TaskResult(result=content)
