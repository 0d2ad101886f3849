"""The worker: runs turns.

Take a message, run its handler, and make what it did come true, or nothing of it.
That is the whole of a turn; what follows a failure is in `moot.recovery`. Committing
never waits for anyone: what does not fit into a mailbox waits in the sender's
outbox, and an agent whose outbox is not empty starts no new turn.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from moot.agent import Agent
from moot.cell import Cell
from moot.context import AgentContext
from moot.deadletters import Reason
from moot.delivery import Delivery
from moot.errors import AgentStopped, UnknownMessageType
from moot.message import AgentMessage, Batch
from moot.pacing import Pacing
from moot.recovery import Recovery
from moot.runners import ReadyQueue, Runner, Runners
from moot.turn import NOTHING, Cancellation, Effects, Records

if TYPE_CHECKING:
    from moot.clock import Clock
    from moot.directory import Directory
    from moot.flow import Flow
    from moot.runtime import Runtime
    from moot.telemetry import Observer

__all__ = ["Worker"]

_log = logging.getLogger("moot.worker")

_TURNS_PER_VISIT = 64


class Worker:
    """Runs the turns of all agents of one manager."""

    def __init__(self, runtime: Runtime, clock: Clock, directory: Directory, delivery: Delivery, flow: Flow) -> None:
        self._runtime = runtime
        self._clock = clock
        self._directory = directory
        self._delivery = delivery
        self._asks = delivery.asks
        self._flow = flow
        self._recovery = Recovery(runtime, clock, delivery)
        self._pacing = Pacing(clock, delivery, flow, self._recovery, notice=self.notice)
        self._timers: dict[int, tuple[asyncio.TimerHandle, AgentMessage]] = {}
        self._leaving: dict[Cell, asyncio.Future[None]] = {}
        self.observer: Observer | None = None
        self.turns = 0
        self._closed = False
        self.runners: Runners | None = None
        delivery.arrived = flow.arrived = flow.unblocked = self.notice

    # starting and stopping
    def open(self, loop: asyncio.AbstractEventLoop, ready: ReadyQueue) -> Runners:
        """Begin to run turns."""
        self._loop = loop
        self.runners = Runners(loop, self._visit, ready)
        self._pacing.open(loop, self.runners)
        return self.runners

    def notice(self, cell: Cell) -> None:
        """Something changed for ``cell``: put it into the ready queue if it can run."""
        if (
            not cell.queued
            and cell.running < cell.concurrency
            and (cell.mailbox.items or cell.starting)
            and cell.lanes is None
            and not cell.stopping
            and self.runners is not None
        ):
            cell.queued = True
            self.runners.push(cell)

    async def start(self, cell: Cell) -> None:
        """Let a registered agent begin; returns when its ``on_start`` has run. Raises what that raises."""
        if cell.stopping:
            raise AgentStopped(cell.id)
        if cell.starting:
            cell.started = self._loop.create_future()
            self.notice(cell)
            await cell.started
        else:
            self.notice(cell)

    async def stop(self, cell: Cell) -> None:
        """Let an agent finish its turn, then run its ``on_stop``; one that has not begun to start never does."""
        cell.stopping = True
        if cell.starting:
            cell.starting = False
            if cell.started is not None and not cell.started.done():
                cell.started.set_exception(AgentStopped(cell.id))
            return
        if cell.running and not self._closed:
            vacated = self._leaving.setdefault(cell, self._loop.create_future())
            await vacated
        if type(cell.agent).on_stop is not Agent.on_stop and not cell.running:
            await self._hook(cell, "stop")

    def bury_mail(self, cell: Cell) -> None:
        """Make dead letters of what a stopped agent will not handle; their askers are told."""
        self._pacing.release(cell)
        for message in self._flow.close(cell):
            self._delivery.refuse(message, Reason.STOPPED, AgentStopped(cell.id), receiver=cell)

    async def close(self, grace: float) -> list[str]:
        """Cancel running turns and timers; the ids of agents whose handlers would not end and are abandoned."""
        self._closed = True
        for cell in self._directory.cells.values():
            cell.stopping = True  # so that a handler that swallows its cancellation is not given another message
        for timer, message in self._timers.values():
            timer.cancel()
            self._delivery.bury(message, Reason.STOPPED, "it was scheduled for after the stop")
        self._timers.clear()
        return await self.runners.close(grace) if self.runners is not None else []

    # turns
    async def _visit(self, cell: Cell, runner: Runner) -> int:
        """Run some turns of one cell; how many."""
        cell.queued = False
        cell.running += 1
        mailbox = cell.mailbox
        turns = 0
        try:
            if cell.starting:
                await self._start_hook(cell)
            while mailbox.items and turns < _TURNS_PER_VISIT and cell.lanes is None and not cell.stopping:
                message = mailbox.take() if cell.intake is None else self._pacing.take(cell, cell.intake)
                if message is None:
                    break
                turns += 1
                if cell.queue or cell.concurrency > 1:
                    self._flow.admit(cell)
                    self.notice(cell)
                if message.deadline is not None and message.reply_to is None and self._delivery.is_late(message):
                    continue  # (the deadline of an ask is its asker's business, who withdraws it)
                ctx: AgentContext[Any] = AgentContext(self._runtime, cell, message, message.attempt, message.trace)
                cancellation = self._let_asker_cancel(ctx, runner) if cell.cancels else None
                try:
                    await self._attempt(cell, ctx)
                except BaseException as error:
                    await self._run_again(cell, ctx, error)
                if cancellation is not None:
                    cancellation.close()
        finally:
            self.turns += turns
            cell.running -= 1
            if cell.stopping:
                self._vacate(cell)
            elif mailbox.items:
                self.notice(cell)
        return turns

    def _let_asker_cancel(self, ctx: AgentContext[Any], runner: Runner) -> Cancellation | None:
        """Tie a turn to its asker's patience."""
        reply_to = ctx.message.reply_to
        ask = self._asks.get(reply_to) if reply_to is not None else None
        if ask is None or runner.task is None:
            return None
        ctx.records = Records()
        ask.turn = ctx.records.cancellation = Cancellation(runner.task)
        return ctx.records.cancellation

    def _vacate(self, cell: Cell) -> None:
        """A visit to a cell that is stopping has ended."""
        if not cell.running and cell in self._leaving:
            vacated = self._leaving.pop(cell)
            if not vacated.done():
                vacated.set_result(None)

    async def _attempt(self, cell: Cell, ctx: AgentContext[Any]) -> None:
        """One run of the handler, and its commit."""
        message = ctx.message
        if self.observer is not None:
            ctx.trace = self.observer.turn_started(cell.id, message, ctx.attempt) or message.trace
        table = cell.table
        handler = table.by_type.get(message.message_type, table.rest)
        if handler is None:
            raise UnknownMessageType(cell.id, message.message_type, cell.table.message_types)
        content = message.content
        if content.__class__ is not handler.content_type:
            content = handler.argument(message)
        call, agent = handler.call, cell.agent
        answer = call(agent, content, ctx) if handler.wants_context else call(agent, content)
        if handler.is_async or answer.__class__ is CoroutineType:
            answer = await answer
        effects = ctx.effects
        if effects is not None:
            if effects.asks:
                _end_asks(ctx, effects)
            if effects.transaction is not None:
                await effects.transaction.commit()
            self._commit(cell, ctx, effects)
        ctx.closed = True
        if message.reply_to is not None:
            if effects is not None:
                answer = effects.answer_or(answer)
            if answer is not NOTHING:
                self._asks.resolve(message.reply_to, answer)
        if self.observer is not None:
            self.observer.turn_ended(cell.id, message, ctx.attempt, "committed")

    async def _run_again(self, cell: Cell, ctx: AgentContext[Any], error: BaseException) -> None:
        """A run has failed: run the turn again as long as recovery says so, or the messages of a batch alone."""
        if isinstance(ctx.message, Batch):
            if self.observer is not None:
                self.observer.turn_ended(cell.id, ctx.message, ctx.attempt, "retried")
            await self._pacing.take_apart(cell, ctx, error, self._run_alone)
            return
        failed: AgentContext[Any] | None = ctx
        while failed is not None:
            verdict, again = await self._recovery.failed(cell, failed, error)
            if self.observer is not None:
                self.observer.turn_ended(cell.id, failed.message, failed.attempt, verdict)
            failed = None
            if again is None:
                self._recovery.check_runner(ctx, error)
            else:
                try:
                    await self._attempt(cell, again)
                except BaseException as next_error:
                    failed, error = again, next_error

    async def _run_alone(self, cell: Cell, message: AgentMessage) -> None:
        """A turn for one message of a batch that failed."""
        ctx: AgentContext[Any] = AgentContext(self._runtime, cell, message, message.attempt, message.trace)
        try:
            await self._attempt(cell, ctx)
        except BaseException as error:
            await self._run_again(cell, ctx, error)

    def _commit(self, cell: Cell, ctx: AgentContext[Any], effects: Effects) -> None:
        """Make the effects of a turn come true. Nothing here waits, and nothing fails once it has begun."""
        ctx.closed = True
        if effects.state is not NOTHING:
            cell.state = effects.state
        for topic, wanted in () if cell.stopping else effects.topics:
            (self._directory.subscribe if wanted else self._directory.unsubscribe)(cell, topic)
        for delay, message in effects.timers:
            self._timers[message.sequence] = self._loop.call_later(delay, self._due, cell, message), message
        if effects.outputs:
            for message in effects.outputs:
                self._delivery.send(cell, message)
            if cell.lanes is not None:
                self._flow.settle_cycles(cell)
        for reply_to, answer in effects.answers:
            self._asks.resolve(reply_to, answer)

    async def _start_hook(self, cell: Cell) -> None:
        """Run ``on_start``; an agent that cannot start is taken out again, and whoever waits is told why."""
        cell.starting = False
        started = cell.started if cell.started is not None else self._loop.create_future()
        try:
            await self._hook(cell, "start")
        except BaseException as error:
            cell.stopping = True
            self._directory.remove(cell)
            self.bury_mail(cell)
            if cell.started is None or started.done():
                _log.error("agent %s could not start and was taken out", cell.id, exc_info=error)
            else:
                started.set_exception(error if isinstance(error, Exception) else AgentStopped(cell.id))
            if not isinstance(error, Exception):
                raise
        else:
            cell.concurrency = cell.agent.concurrency
            if not started.done():
                started.set_result(None)

    async def _hook(self, cell: Cell, name: str) -> None:
        """Run ``on_start`` or ``on_stop`` as a turn of its own."""
        message = AgentMessage(
            cell.id, cell.id, None, f"moot.{name}", self._runtime.next_sequence(), self._runtime.incarnation
        )
        ctx: AgentContext[Any] = AgentContext(self._runtime, cell, message)
        try:
            waiting = cell.agent.on_start(ctx) if name == "start" else cell.agent.on_stop(ctx)
            if waiting.__class__ is CoroutineType:  # a plain function has done it all
                await waiting
            if ctx.effects is not None:
                if ctx.effects.asks:
                    _end_asks(ctx, ctx.effects)
                if ctx.effects.transaction is not None:
                    await ctx.effects.transaction.commit()
                self._commit(cell, ctx, ctx.effects)
            ctx.closed = True
        except BaseException:
            await self._recovery.roll_back(ctx)
            raise

    def _due(self, cell: Cell, message: AgentMessage) -> None:
        del self._timers[message.sequence]
        self._delivery.send_now(cell, message)


def _end_asks(ctx: AgentContext[Any], effects: Effects) -> None:
    """Withdraw what the turn asked and did not wait for; an ask that was never awaited is most likely a mistake."""
    never_sent = [ask for ask in effects.asks if not ask.started]
    for ask in tuple(effects.asks):
        ask.cancel()
    if never_sent:
        asked = ", ".join(f"{ask.message_type!r} to {ask.to!r}" for ask in never_sent)
        warnings.warn(
            f"agent {ctx.agent_id!r} made asks that it never awaited, so they were not sent: {asked}; await them",
            RuntimeWarning,
            stacklevel=2,
        )
