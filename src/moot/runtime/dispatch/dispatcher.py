"""The dispatcher: runs turns.

Take a message, run its handler, and make what it did come true, or nothing of it.
That is the whole of a turn; what follows a failure is in `moot.runtime.dispatch.rollback`, how its
effects come true in `moot.runtime.dispatch.commit`. Committing never waits for anyone: what does not
fit into a mailbox waits in the sender's outbox, and an agent whose outbox is not
empty starts no new turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from moot.agent.context import AgentContext
from moot.agent.records import NOTHING
from moot.errors import AgentStopped, UnknownMessageType
from moot.messaging.dead_letters import Reason
from moot.messaging.message import AgentMessage
from moot.runtime.cell import Cell
from moot.runtime.dispatch.commit import Commit, end_asks
from moot.runtime.dispatch.hooks import Hooks
from moot.runtime.dispatch.interrupts import Interrupts
from moot.runtime.dispatch.lifecycle import Lifecycle
from moot.runtime.dispatch.pool import ReadyQueue, Runner, RunnerPool
from moot.runtime.dispatch.rollback import Rollback
from moot.runtime.dispatch.throttle import Throttle

if TYPE_CHECKING:
    from moot.agent.port import Runtime
    from moot.clock import Clock
    from moot.messaging.flow_control import FlowControl
    from moot.runtime.durability.turn_journal import TurnJournal
    from moot.runtime.routing.directory import Directory
    from moot.runtime.routing.transport import Link
    from moot.telemetry.observer import Observer

__all__ = ["Dispatcher"]

_log = logging.getLogger("moot.runtime.dispatch.dispatcher")

_TURNS_PER_VISIT = 64


class Dispatcher:
    """Runs the turns of all agents of one manager."""

    def __init__(
        self,
        runtime: Runtime,
        clock: Clock,
        directory: Directory,
        flow: FlowControl,
        commit: Commit,
        interrupts: Interrupts,
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._directory = directory
        self._delivery = delivery = commit.delivery
        self._asks = delivery.asks
        self._flow = flow
        self._commit = commit
        self._interrupts = interrupts
        self.lifecycle = Lifecycle(asyncio.get_running_loop(), interrupts, self.wake)
        self.rollback = Rollback(runtime, clock, delivery, self.lifecycle.hold)
        self._throttle = Throttle(clock, delivery, flow, is_unwanted=self._is_unwanted, wake=self.wake)
        self._hooks = self.lifecycle.hooks = Hooks(runtime, self.rollback, commit)
        self._changes = self.lifecycle.changes
        self.observer: Observer | None = None
        self.link: Link | None = None
        self.turn_journal: TurnJournal | None = None
        self.turns = 0
        self.may_repeat = False  # inside one process nothing delivers a message twice; a link between may
        self.pool: RunnerPool | None = None
        self.ended: Callable[[Cell, BaseException | None], None] = lambda cell, error: None
        delivery.arrived = flow.arrived = flow.unblocked = self.wake
        interrupts.abandon = self._abandon
        delivery.asker_gone = interrupts.asker_gone

    def expect_repeats(self) -> None:
        """From now on a message may be delivered twice; the second is not handled."""
        self.may_repeat = self._throttle.may_repeat = True

    # starting and stopping
    def open(self, loop: asyncio.AbstractEventLoop, ready: ReadyQueue) -> RunnerPool:
        """Begin to run turns."""
        self._loop = loop
        self._turns_per_visit = getattr(ready, "turns_per_visit", _TURNS_PER_VISIT)
        self.pool = RunnerPool(loop, self._run_turns, ready)
        self.lifecycle.pool = self.pool
        self._interrupts.runners = self.pool.busy
        self._throttle.open(loop, self.pool)
        return self.pool

    def wake(self, cell: Cell) -> None:
        """Something changed for ``cell``: put it into the ready queue if it can run."""
        if (
            not cell.queued
            and cell.running < cell.concurrency
            and (cell.mailbox.items or cell.starting)
            and cell.lanes is None
            and not cell.stopping
            and self.pool is not None
        ):
            cell.queued = True
            self.pool.push(cell)

    def bury_mail(self, cell: Cell) -> None:
        """Make dead letters of what a stopped agent will not handle; their askers are told."""
        self._throttle.release(cell)
        for message in self._flow.close(cell):
            if self.may_repeat and cell.is_repeat(message):
                continue  # it has ended before
            self._delivery.refuse(message, Reason.STOPPED, AgentStopped(cell.id), receiver=cell)

    async def close(self, grace: float) -> None:
        """Cancel running turns and timers. Handlers that would not end are abandoned."""
        self.lifecycle.is_closed = True
        for cell in self._directory.cells.values():
            cell.stopping = True  # so that a handler that swallows its cancellation is not given another message
        self._commit.close()
        for runner in await self.pool.close(grace) if self.pool is not None else ():
            self._abandon(runner, AgentStopped(runner.cell.id if runner.cell is not None else "?"))

    # turns
    async def _run_turns(self, cell: Cell, runner: Runner) -> int:  # noqa: C901, PLR0912, PLR0915 - see below
        """Run some turns of one cell; how many.

        The whole of a turn stands here, unlike the rest of this code: each turn would pay for calls, and two that
        read better (take a message, run a turn) made a tell 8 % slower and an ask 3 %.
        """
        cell.queued = False
        cell.running += 1
        mailbox = cell.mailbox
        turn_journal, observer = self.turn_journal, self.observer
        turns = 0
        try:
            if cell.starting and cell.renewed is None:
                await self._start_hook(cell)
            if cell.is_timed and not self._interrupts.is_looking:
                self._interrupts.look()
            if turn_journal is not None and turn_journal.journal.is_behind:
                await turn_journal.journal.caught_up()
            while (
                mailbox.items
                and turns < self._turns_per_visit
                and cell.lanes is None
                and not cell.stopping
                and cell.renewed is None  # it is to be restarted before the next
                and not runner.abandoned  # another runner has gone on with it
            ):
                if cell.limits is None:  # as `Mailbox.take`
                    message = mailbox.items.popleft()
                    if mailbox.grown and not mailbox.items:
                        mailbox.grown = 0
                else:
                    taken = self._throttle.take(cell, cell.limits)
                    if taken is None:
                        break
                    message = taken
                turns += 1
                if cell.queue or cell.concurrency > 1:
                    self._flow.admit(cell)
                    self.wake(cell)
                if (
                    (self.may_repeat or (message.deadline is not None and message.reply_to is None))
                    and cell.limits is None  # (what takes it has looked already)
                    and self._is_unwanted(cell, message)
                ):
                    continue
                ctx: AgentContext[Any] = AgentContext(self._runtime, cell, message, message.attempt, message.trace)
                if turn_journal is not None:
                    turn_journal.begun(cell, ctx)
                while True:  # until a run has been committed, or rollback gives the turn up
                    runner.ctx = ctx
                    try:
                        if observer is not None:
                            ctx.trace = observer.turn_started(cell.id, message, ctx.attempt) or message.trace
                        table = cell.table
                        handler = table.by_type.get(message.message_type, table.rest)
                        if handler is None:
                            raise UnknownMessageType(cell.id, message.message_type, table.message_types)
                        content = message.content
                        if content.__class__ is not handler.content_type:
                            content = handler.argument(message)
                        if self.link is not None:
                            answer = await self.link.run(cell, ctx, handler, content)
                        else:
                            call, agent = handler.call, cell.agent
                            answer = call(agent, content, ctx) if handler.wants_context else call(agent, content)
                            if handler.is_async or answer.__class__ is CoroutineType:
                                answer = await answer
                                if ctx.closed:
                                    raise AgentStopped(cell.id)  # it was abandoned meanwhile
                        effects = ctx.effects
                        if effects is not None and effects.asks:
                            end_asks(ctx, effects)
                        if turn_journal is not None:
                            turn_journal.seal(effects, message, answer)
                        if effects is not None:
                            if effects.transaction is not None:
                                await effects.transaction.commit()
                            if turn_journal is not None:
                                turn_journal.committed(cell, ctx)  # before an answer that waits for it to be kept
                            self._commit.run(cell, ctx, effects)
                        elif turn_journal is not None:
                            turn_journal.committed(cell, ctx)
                        ctx.closed = True
                        if message.reply_to is not None:
                            if effects is not None:
                                answer = effects.answer_or(answer)
                            if answer is not NOTHING:
                                self._asks.resolve(message.reply_to, answer)
                        if observer is not None:
                            observer.turn_ended(cell.id, message, ctx.attempt, "committed")
                        break
                    except BaseException as error:
                        again = await self._again(cell, ctx, error, runner)
                    if again is None:
                        break
                    ctx = again
                if turn_journal is not None:
                    turn_journal.over(ctx)
                if runner.interruption is not None:
                    runner.settle()  # the handler has finished in spite of it
        finally:
            self.turns += turns
            if not runner.abandoned:
                cell.running -= 1
                if mailbox.items or self._changes:
                    self._left(cell)
        return turns

    def _is_unwanted(self, cell: Cell, message: AgentMessage) -> bool:
        """Whether a message is not to be handled: it came before, or nobody wants it any more."""
        if self.may_repeat and (cell.is_repeat(message) or self._asks.is_withdrawn(message)):
            return True
        return self._delivery.is_late(cell, message)

    def _left(self, cell: Cell) -> None:
        """A visit has ended: somebody may wait for that, or there is more to do."""
        self.lifecycle.note_change(cell)
        if cell.mailbox.items:
            self.wake(cell)

    async def _again(
        self, cell: Cell, ctx: AgentContext[Any], error: BaseException, runner: Runner
    ) -> AgentContext[Any] | None:
        """A run has failed: the context of the next one, if rollback says that there is one."""
        if runner.abandoned:
            return None
        verdict, again = await self.rollback.failed(cell, ctx, error, runner)
        if self.observer is not None:
            self.observer.turn_ended(cell.id, ctx.message, ctx.attempt, verdict)
        if again is None:
            if self.turn_journal is not None:
                self.turn_journal.over(ctx)  # (the runner may have to end here)
            self.rollback.check_runner(error)
        return again

    def _abandon(self, runner: Runner, reason: BaseException) -> None:
        """Go on without a handler that does not end."""
        cell, ctx = runner.cell, runner.ctx
        if cell is None or runner.abandoned or self.pool is None:
            return
        self.pool.abandon(runner)
        if ctx is not None:
            self.rollback.abandoned(cell, ctx, reason)
        if self.observer is not None and ctx is not None:
            self.observer.turn_ended(cell.id, ctx.message, ctx.attempt, "failed")
        cell.running -= 1
        self._left(cell)

    async def _start_hook(self, cell: Cell) -> None:
        """Run ``on_start``; an agent that cannot start is taken out again, and whoever waits is told why."""
        cell.starting = False
        started = cell.started if cell.started is not None else self._loop.create_future()
        try:
            await self._hooks.on_start(cell)
        except BaseException as error:
            cell.stopping = True
            self._directory.remove(cell)
            self.bury_mail(cell)
            self.ended(cell, error)
            if cell.started is None or started.done():
                _log.error("agent %s could not start and was taken out", cell.id, exc_info=error)
            else:
                started.set_exception(error if isinstance(error, Exception) else AgentStopped(cell.id))
            if not isinstance(error, Exception):
                raise
        else:
            if not started.done():
                started.set_result(None)
