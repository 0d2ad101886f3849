"""The dispatcher: runs turns.

Take a message, run its handler, and make what it did come true, or nothing of it.
That is the whole of a turn; how its effects come true is in `moot.runtime.dispatch.commit`,
what follows a failure in `moot.runtime.dispatch.rollback`. Committing never waits for
anyone: what does not fit into a mailbox waits in the sender's outbox, and an agent whose
outbox is not empty starts no new turn.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

from moot.agent.context import AgentContext
from moot.errors import AgentStopped, UnknownMessageType
from moot.messaging.content import unfit_answer
from moot.runtime.cell import Cell
from moot.runtime.dispatch.commit import Commit, StopsItself
from moot.runtime.dispatch.departure import Departure
from moot.runtime.dispatch.interceptor import Interceptor, called
from moot.runtime.dispatch.interrupts import Interrupts, ends_program
from moot.runtime.dispatch.lifecycle import Lifecycle
from moot.runtime.dispatch.pool import RunnerPool
from moot.runtime.dispatch.rollback import Rollback, Supervises
from moot.runtime.dispatch.runner import Runner
from moot.runtime.dispatch.throttle import Throttle
from moot.runtime.phase import ACTIVE, STOPPING, SystemPhase
from moot.runtime.routing.delivery import Delivery
from moot.storable.values import Unstorable

if TYPE_CHECKING:
    from moot.agent.port import Runtime
    from moot.messaging.message import AgentMessage
    from moot.runtime.routing.directory import Directory
    from moot.telemetry.observer import Observer

__all__ = ["Dispatcher", "TurnSupervisor"]

_log = logging.getLogger("moot.runtime.dispatch.dispatcher")


class TurnSupervisor(Supervises, StopsItself, Protocol):
    """The supervisor, as the dispatcher sees it: told of failed turns, and of agents that stop themselves."""


class Dispatcher:
    """Runs the turns of all agents of one manager.

    ``halt()`` is called when the program ends in the middle of a turn or a hook. The keeper sets it. It says whether
    anybody can still be told.
    """

    halt: Callable[[], bool]

    def __init__(  # noqa: PLR0913 - the parts of a turn
        self,
        runtime: Runtime,
        directory: Directory,
        delivery: Delivery,
        pool: RunnerPool,
        *,
        interrupts: Interrupts,
        lifecycle: Lifecycle,
        commit: Commit,
        rollback: Rollback,
        throttle: Throttle,
        departure: Departure,
        phase: SystemPhase,
        interceptor: Interceptor | None = None,
    ) -> None:
        self._runtime = runtime
        self._directory = directory
        self._delivery = delivery
        self._asks = delivery.asks
        self._flow = delivery.flow
        self._journal = delivery.journal
        self._interrupts = interrupts
        self._commit = commit
        self._rollback = rollback
        self._throttle = throttle
        self._interceptor = interceptor
        self._changes = lifecycle.changes
        self._phase = phase
        self.pool = pool
        self.lifecycle = lifecycle
        self.departure = departure
        self.observer: Observer | None = None
        self.turns = 0
        interrupts.abandon = self._abandon
        pool.begin(self._run_turns, self._first_context)

    def supervised_by(self, supervisor: TurnSupervisor) -> None:
        """Let ``supervisor`` decide about agents whose turns fail, and about those that stop themselves."""
        self._rollback.supervisor = self._commit.supervisor = supervisor

    async def close(self, grace: float) -> None:
        """Cancel running turns. A handler that does not end within ``grace`` seconds is abandoned."""
        for cell in self._directory.cells.values():
            cell.phase = STOPPING  # so that a handler that swallows its cancellation is not given another message
        for runner in await self.pool.close(grace):
            self._abandon(runner, AgentStopped(runner.cell.id if runner.cell is not None else "?"))

    async def _run_turns(self, cell: Cell, runner: Runner, most: int) -> int:  # noqa: C901, PLR0912, PLR0915 - see below
        """Run up to ``most`` turns of ``cell``, and return how many.

        The whole of a turn stands in one function, unlike the rest of this code, because each turn would pay for the
        calls. Two functions that read better (take a message, run a turn) made a tell 8 % slower and an ask 3 %.
        `benchmarks/builds.py` measures a change here.
        """
        cell.queued = False
        cell.running += 1
        mailbox = cell.mailbox
        journal, observer, interceptor = self._journal, self.observer, self._interceptor
        may_repeat = self._delivery.may_repeat
        is_watched = journal is not None or observer is not None or interceptor is not None
        turns = 0
        try:
            if cell.starting and cell.phase is ACTIVE:
                await self._start_hook(cell)
            if cell.is_timed and not self._interrupts.is_looking:
                self._interrupts.look()
            if journal is not None and journal.store.is_behind:
                await journal.store.caught_up()
            while (
                mailbox.items
                and turns < most
                and cell.lanes is None
                and cell.phase is ACTIVE  # else the agent is to be restarted first, or takes no more messages
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
                runner.message = message
                if cell.queue or cell.concurrency > 1:
                    self._flow.admit(cell)
                    self.pool.wake(cell)
                if (
                    (may_repeat or (message.deadline is not None and message.reply_to is None))
                    and cell.limits is None  # (what takes with limits has looked already)
                    and self._delivery.is_unwanted(cell, message)
                ):
                    runner.message = None
                    continue
                handler = cell.table.by_type.get(message.message_type, cell.table.rest)
                ctx: AgentContext[Any] | None = None  # made where nobody may do without one
                if is_watched or handler is None or handler.wants_context:
                    ctx = AgentContext(self._runtime, cell, message, message.attempt, message.trace)
                    if journal is not None:
                        journal.begun(cell, ctx)
                while True:  # until a run has been committed, or its rollback gives the turn up
                    runner.made = ctx
                    try:
                        if observer is not None and ctx is not None:
                            ctx.trace = observer.turn_started(cell.id, message, ctx.attempt) or message.trace
                        if handler is None:
                            raise UnknownMessageType(cell.id, message.message_type, cell.table.message_types)
                        content = message.content
                        if content.__class__ is not handler.content_type:
                            content = handler.argument(message)
                        if interceptor is not None and ctx is not None:
                            answer = await interceptor.intercept(ctx, partial(called, handler, content, ctx))
                        else:
                            call, agent = handler.call, cell.agent
                            answer = call(agent, content, ctx) if handler.wants_context else call(agent, content)
                            if handler.is_async or answer.__class__ is CoroutineType:
                                answer = await answer
                        if ctx is None and (ctx := runner.made) is None:  # (somebody may have asked for it meanwhile)
                            if message.reply_to is not None:
                                admit = handler.admit_answer
                                answer = handler.answered(message, answer) if admit is None else admit(answer)
                                self._asks.resolve(message.reply_to, answer)
                        elif ctx.closed:
                            raise AgentStopped(cell.id)  # the turn was abandoned meanwhile
                        elif ctx.effects is None and journal is None:
                            if message.reply_to is not None:
                                answer = handler.answered(message, answer)
                            ctx.closed = True
                            if message.reply_to is not None:
                                self._asks.resolve(message.reply_to, answer)
                        elif (waiting := self._commit.run(cell, ctx, answer)) is not None:
                            await waiting
                        if observer is not None and ctx is not None:
                            observer.turn_ended(cell.id, message, ctx.attempt, "committed")
                        break
                    except BaseException as error:
                        again = await self._again(cell, runner, error)
                    if again is None:
                        break
                    ctx = again
                    handler = cell.table.by_type.get(message.message_type, cell.table.rest)  # it may be made anew
                runner.message = None  # its turn has ended
                if journal is not None and ctx is not None:
                    journal.over(ctx)
                if runner.interruption is not None:
                    runner.settle()  # the handler has finished in spite of its cancellation
        except Exception as error:
            self._broke_down(cell, runner, error)
        finally:
            self.turns += turns
            if not runner.abandoned:
                cell.running -= 1
                if mailbox.goes_on and not mailbox.items and cell.phase is ACTIVE:
                    mailbox.refill()
                if mailbox.items or self._changes:
                    self._left(cell)
        return turns

    def _left(self, cell: Cell) -> None:
        """A runner has ended its visit to ``cell``: tell whoever waits for that, and queue the cell if it has mail."""
        self.lifecycle.note_change(cell)
        if cell.mailbox.items:
            self.pool.wake(cell)

    def _first_context(self, cell: Cell, message: AgentMessage) -> AgentContext[Any]:
        return AgentContext(self._runtime, cell, message, message.attempt, message.trace)

    async def _again(self, cell: Cell, runner: Runner, error: BaseException) -> AgentContext[Any] | None:
        """The context of the next run after a run failed with ``error``; None if there is no next run."""
        ctx = runner.ctx
        if runner.abandoned or ctx is None:
            return None
        if ends_program(error):
            self._break_off(cell, ctx)
            raise error
        if isinstance(error, Unstorable):
            error = unfit_answer(error, ctx.message.message_type, cell.id)
        verdict, again = await self._rollback.failed(cell, ctx, error, runner)
        if self.observer is not None:
            self.observer.turn_ended(cell.id, ctx.message, ctx.attempt, verdict)
        if again is None:
            if self._journal is not None:
                self._journal.over(ctx)  # (the runner may have to end here)
            self._rollback.check_runner(error)
        return again

    def _broke_down(self, cell: Cell, runner: Runner, error: Exception) -> None:
        """The runtime itself has failed. The message in hand is given up, or the next: this must come to an end."""
        message = runner.message
        if message is None and cell.mailbox.items:
            message = cell.mailbox.take()
        _log.critical("the runtime failed at agent %s; please report it", cell.id, exc_info=error)
        if message is not None and not runner.abandoned:
            self._rollback.give_up(cell, message, error)
        try:
            self._flow.admit(cell)
        except Exception:
            _log.critical("what waits for room at agent %s may wait for ever", cell.id, exc_info=True)

    def _break_off(self, cell: Cell, ctx: AgentContext[Any]) -> None:
        """The program ends in the middle of a turn, which cannot wait for anything any more."""
        if self.halt():
            self._rollback.broken_off(cell, ctx)
        if self.observer is not None:
            self.observer.turn_ended(cell.id, ctx.message, ctx.attempt, "cancelled")

    def _abandon(self, runner: Runner, reason: BaseException) -> None:
        """Go on without the handler that ``runner`` runs, because it does not end."""
        cell, ctx = runner.cell, runner.ctx
        if cell is None or runner.abandoned:
            return
        self.pool.abandon(runner)
        if ctx is not None:
            self._rollback.abandoned(cell, ctx, reason)
        if self.observer is not None and ctx is not None:
            self.observer.turn_ended(cell.id, ctx.message, ctx.attempt, "failed")
        cell.running -= 1
        self._left(cell)

    async def _start_hook(self, cell: Cell) -> None:
        """Run ``on_start``. If it fails, the agent is taken out, and the caller that registered it gets the error."""
        cell.starting = False
        try:
            await self.lifecycle.on_start(cell)
        except BaseException as error:
            if ends_program(error) or self._phase.is_cut_off():
                self.halt()
            cell.phase = STOPPING
            if cell.started is None or cell.started.done():
                _log.error("agent %s could not start and was taken out", cell.id, exc_info=error)
            else:
                cell.started.set_exception(error if isinstance(error, Exception) else AgentStopped(cell.id))
            self._directory.remove(cell)
            self.departure.unstarted(cell, error)
            if not isinstance(error, Exception):
                raise
        else:
            if cell.started is not None and not cell.started.done():
                cell.started.set_result(None)
