"""Reports: results that workers send as messages of their own, and who waits for them.

A worker need not answer the ask that brings it a task: it may return nothing and send a ``task_result`` later, to
whoever sent the task. A manager gives such messages to an agent of its own, which keeps them until they are asked for,
and keeps who asks until they come; so both outlive the process on a durable backend.
"""

from __future__ import annotations

from typing import Any

import msgspec

from moot import Agent, AgentContext, Payload, ReplyTo, handles
from moot.patterns.hierarchy.messages import AwaitResult, Forget, TaskResult

__all__ = ["Report", "Reports"]

MOST = 1000


class Report(Payload):
    """``worker`` has sent this ``at`` that time."""

    worker: str
    result: TaskResult
    at: float


class Waiting(msgspec.Struct, frozen=True):
    """Who waits for which worker's result of which task."""

    wanted: AwaitResult
    reply_to: ReplyTo


class Desk(msgspec.Struct, frozen=True):
    """Results that nobody has asked for yet, and those who wait for one."""

    heard: tuple[Report, ...] = ()
    waiting: tuple[Waiting, ...] = ()


class Reports(Agent[Desk]):
    """Brings results and those who wait for them together.

    A result that names no task is that of the task which its worker was given first, if it was given one before; so a
    worker that has several tasks at once should name them. Of results that nobody asks for the last 1,000 are kept.
    """

    @handles
    async def on_report(self, report: Report, ctx: AgentContext[Desk]) -> None:
        desk, now = ctx.state, ctx.now()
        waiting = tuple(one for one in desk.waiting if one.reply_to.deadline is None or one.reply_to.deadline > now)
        for one in waiting:
            if _fits(report, one.wanted):
                ctx.send(one.reply_to, report.result)
                ctx.state = Desk(desk.heard, tuple(other for other in waiting if other is not one))
                return
        ctx.state = Desk((*desk.heard, report)[-MOST:], waiting)

    @handles
    async def on_await(self, wanted: AwaitResult, ctx: AgentContext[Desk]) -> TaskResult | None:
        desk = ctx.state
        for report in desk.heard:
            if _fits(report, wanted):
                ctx.state = Desk(tuple(other for other in desk.heard if other is not report), desk.waiting)
                return report.result
        ctx.state = Desk(desk.heard, (*_without(desk, wanted.worker, wanted.task_id), Waiting(wanted, ctx.defer())))
        return None

    @handles
    async def on_forget(self, forget: Forget, ctx: AgentContext[Desk]) -> None:
        ctx.state = Desk(ctx.state.heard, _without(ctx.state, forget.worker, forget.task_id))


def _without(desk: Desk, worker: str, task_id: str) -> tuple[Waiting, ...]:
    named = (worker, task_id)
    return tuple(one for one in desk.waiting if (one.wanted.worker, one.wanted.task_id) != named)


def _fits(report: Report, wanted: AwaitResult) -> bool:
    if report.worker != wanted.worker:
        return False
    task_id = report.result.task_id
    return report.at >= wanted.since if task_id is None else task_id == wanted.task_id


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
