"""The running system: the parts of the runtime, wired, and what a turn may ask of them.

Made when a manager starts and closed when it stops. It implements the `Runtime`
that contexts reach up through.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar, cast

from moot.agent.agent import Agent
from moot.agent.ask import Ask, AskTable
from moot.agent.context import AgentContext
from moot.agent.turn_engine import TurnEngine
from moot.errors import AgentNotMade, AgentStopped, ManagerStopped, UnknownAgent
from moot.messaging.flow_control import FlowControl
from moot.messaging.message import Numbering, ReplyTo
from moot.policies import Supervision
from moot.resilience.deadlines import DeadlineWheel
from moot.runtime.cell import Cell
from moot.runtime.dispatch.commit import Commit
from moot.runtime.dispatch.dispatcher import Dispatcher
from moot.runtime.dispatch.interrupts import Interrupts
from moot.runtime.dispatch.timers import Timers
from moot.runtime.liveness.deadlock import Deadlocks
from moot.runtime.liveness.progress import Liveness
from moot.runtime.options import Options, Stores
from moot.runtime.registrar import Registrar
from moot.runtime.routing.breakers import Breakers
from moot.runtime.routing.death_watch import DeathWatch
from moot.runtime.routing.delivery import Delivery
from moot.runtime.routing.router import MessageRouter
from moot.runtime.supervision import Supervisor
from moot.state import Transaction

if TYPE_CHECKING:
    from moot.agent.records import Records
    from moot.backends import Journal, Stored
    from moot.clock import Clock
    from moot.engine.base import Engine
    from moot.ids import Ids
    from moot.runtime.durability.asks import DurableAskTable
    from moot.runtime.durability.turn_journal import TurnJournal
    from moot.runtime.routing.directory import Directory
    from moot.runtime.routing.transport import Link

__all__ = ["System"]

T = TypeVar("T")

_log = logging.getLogger("moot.runtime.system")


class System:
    """All parts at work."""

    def __init__(
        self, clock: Clock, ids: Ids, directory: Directory, stores: Stores, options: Options | None = None
    ) -> None:
        options = options or {}
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._ids = ids
        self._link: Link | None = None
        self.directory = directory
        self._shared_state = stores.shared_state
        self.clock = clock
        self.numbering = numbering = Numbering(ids.incarnation, ids.next_sequence)
        self.now = clock.now
        self.engine: Engine | None = None
        self.is_open = True
        self.wheel = DeadlineWheel(loop, clock)
        table = AskTable if stores.durable is None else _durable_asks()
        self.asks = table(ids.incarnation, count(1).__next__, self.wheel)
        self.breakers = Breakers(clock)
        self.flow = FlowControl(self.wheel, clock, stores.dead_letters)
        self.router = MessageRouter(directory)
        self.delivery = Delivery(clock, self.router, self.flow, self.asks, stores.dead_letters)
        self.death_watch = DeathWatch(directory, numbering, self.delivery.control)
        self.timers = Timers(loop, clock, self.delivery, numbering)
        self.commit = Commit(directory, self.delivery, self.flow, self.death_watch, self.timers)
        interrupts = Interrupts(self.wheel, clock)
        self.dispatcher = Dispatcher(self, clock, directory, self.flow, self.commit, interrupts)
        self.registrar = Registrar(directory, self.dispatcher)
        policy = options.get("supervision", Supervision())
        self.supervisor = Supervisor(policy, clock, self, directory, self.dispatcher, self.registrar.remove_quietly)
        runners = self.dispatcher.open(loop, options["ready"] if "ready" in options else deque())
        self._turn_waits = runners.suspending
        self.deadlocks = Deadlocks(self.asks, runners, self.flow, self.now, options.get("deadlocks", "break"))
        self.turn_journal: TurnJournal | None = self._keep(*stores.durable) if stores.durable is not None else None
        # The last, because it begins a thread: what was kept may be unreadable.
        self.liveness = Liveness(loop, clock, directory.cells, runners, options.get("watchdog", 1.0))
        self._wire()

    def _keep(self, journal: Journal, kept: Stored) -> TurnJournal:
        """Tell the journal of a durable backend what happens, and go on from what it has kept."""
        from moot.runtime.durability.turn_journal import TurnJournal  # loads much that a system in memory does not need

        turn_journal = TurnJournal(journal, kept, self.clock, cast("DurableAskTable", self.asks))
        turn_journal.open_letters(self.delivery.dead_letters)
        turn_journal.set_timer = self.timers.restore
        turn_journal.bury = self.delivery.bury_stored
        self.delivery.is_direct = False
        self.delivery.turn_journal = self.dispatcher.turn_journal = turn_journal
        self.registrar.turn_journal = self.timers.turn_journal = turn_journal
        if self.dispatcher.lifecycle.hooks is not None:
            self.dispatcher.lifecycle.hooks.turn_journal = turn_journal
        return turn_journal

    def _wire(self) -> None:
        """Tell the parts of each other where one below is to call one above."""
        self.registrar.ended = self.dispatcher.ended = self._ended
        self.router.activate = self.registrar.activate
        self.registrar.resolve = self.router.resolve
        self.registrar.await_release = self.supervisor.await_release
        self.commit.stop_requested = self.supervisor.stopped_itself
        self.liveness.is_restarting = lambda: self.supervisor.is_busy
        self.supervisor.began = self.liveness.wake

    def install_transport(self, link: Link) -> None:
        """Let ``link`` carry from now on what agents send each other, and run their handlers. For a simulator."""
        self._link = self.delivery.link = self.dispatcher.link = self.asks.link = link
        self.delivery.is_direct = False
        self.dispatcher.expect_repeats()

    # the Runtime that contexts see
    def random_for(self, name: str) -> random.Random:
        return self._ids.random_for(name)

    def find(self, capability: str) -> list[str]:
        return self.directory.find(capability)

    def post(self, ctx: AgentContext[Any], ask: Ask[Any]) -> None:
        cell: Any = ctx.cell  # a cell; said so, because a cast is a call
        if cell.breaker is not None:
            ask.guard = self.breakers
            if self.breakers.alert:
                self.breakers.guard(cell.id, ask)
        self._turn_waits()
        target = self.directory.cells.get(ask.to)
        if target is None or target.stopping:
            target = self.target(ask.to, ctx.records)
        incoming = ctx.message
        deadline = self.now() + ask.timeout
        if incoming.deadline is not None and incoming.deadline < deadline:
            deadline = incoming.deadline
        sender = ctx.cell.id
        if target.running >= target.concurrency:
            self.deadlocks.check_chain(ctx, target)
        if self.turn_journal is not None:
            self.turn_journal.name(ask)
        reply_to = self.asks.open(ask, deadline)
        if ask.name is not None and self.turn_journal is not None and self.turn_journal.is_known(ask):
            return
        message = self.numbering.envelope(
            sender,
            target.id,
            ask.content,
            ask.message_type,
            incoming,
            reply_to=reply_to,
            deadline=deadline,
            chain=(*incoming.chain, sender),
            trace=ctx.trace,
            idempotency_key=ask.idempotency_key,
        )
        if self._link is None and target.mailbox.offer(message):
            ask.target, ask.message = target, message
            if not target.queued:
                self.dispatcher.wake(target)
        else:
            self.delivery.request(ask, target, message)

    def withdraw(self, ask: Ask[Any], *, expired: bool) -> None:
        self.delivery.withdraw(ask, expired=expired)

    def progress(self, ctx: AgentContext[Any], to: str | ReplyTo, content: Any, message_type: str) -> None:
        if isinstance(to, ReplyTo):
            self.delivery.progress(ctx, to, content)
            return
        message = self.numbering.envelope(ctx.cell.id, to, content, message_type, ctx.message, trace=ctx.trace)
        self.delivery.send_now(_cell_of(ctx), message)

    def is_heard(self, reply_to: ReplyTo) -> bool:
        ask = self.asks.get(reply_to)
        return ask is not None and ask.on_progress is not None

    async def spawn(self, ctx: AgentContext[Any], child: Agent[Any]) -> str:
        parent = _cell_of(ctx)
        if parent.stopping:
            raise AgentStopped(parent.id)
        cell = Cell(child)
        cell.parent = parent
        await self.registrar.add(cell)
        return cell.id

    async def stop_child(self, child_id: str) -> None:
        cell = self.directory.cells.get(child_id)
        if cell is not None:
            await self.registrar.remove_quietly(cell, None)

    async def run_sync(self, fn: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(None, fn)

    def engine_for(self, ctx: AgentContext[Any]) -> Engine:
        if self.engine is None:
            raise RuntimeError("this manager has no engine; give it one: AgentManager(engine='local')")
        return TurnEngine(self.engine, ctx)

    def open_state(self) -> Transaction:
        return Transaction(self._shared_state)

    # addresses
    def target(self, address: str, records: Records | None = None) -> Cell:
        """The cell at an address. Raises `UnknownAgent`, `AgentStopped`."""
        target = self.directory.cells.get(address)
        if target is not None and not target.stopping:
            return target
        try:
            target = self.router.resolve(address, records)
        except AgentNotMade:
            raise
        except UnknownAgent:
            raise self.registrar.unknown(address) from None
        if target.stopping:
            raise AgentStopped(target.id)
        return target

    def _ended(self, cell: Cell, error: BaseException | None) -> None:
        """An agent is out for good."""
        self.supervisor.forget(cell)
        self.death_watch.ended(cell, error)
        if self.is_open:  # else all timers end, or are kept for the next run
            self.timers.ended(cell)
        if cell.breaker is not None:
            self.breakers.forget(cell.id)

    # the end
    async def settle(self) -> None:
        """Return when no message waits for a turn and no turn is under way. Timers do not count."""
        while self.dispatcher.pool is not None:
            await self.dispatcher.pool.wait_idle()
            if not self.supervisor.is_busy:
                break
            await self.supervisor.wait_idle()
        if self.turn_journal is not None:
            await self.turn_journal.journal.synced()

    async def close(self, *, drain: bool, timeout: float) -> None:
        """Stop all agents and end every ask; see `AgentManager.stop`."""
        grace = min(timeout, 5.0)
        drained = drain and await self._drained(timeout)
        self.is_open = self.registrar.is_open = False
        if self.turn_journal is not None:
            self.turn_journal.is_closing = True
        await self.supervisor.close(grace)
        if not drained:
            await self.dispatcher.close(grace)
        for cell in reversed(tuple(self.directory.cells.values())):
            if not await self._removed(cell, grace):
                _log.error("agent %s did not stop within %g s", cell.id, grace)
                await self.dispatcher.close(grace)
        await self.dispatcher.close(grace)
        self.asks.fail_all(lambda: ManagerStopped("finish an ask"))
        self.wheel.close()
        self.liveness.close()

    async def _removed(self, cell: Cell, grace: float) -> bool:
        """Take an agent out; False if that takes too long. A hook that swallows its cancellation is left behind."""
        removing = self._loop.create_task(self.registrar.remove_quietly(cell, None))
        done, _ = await asyncio.wait({removing}, timeout=grace)
        if not done:
            removing.cancel()
            await asyncio.wait({removing}, timeout=grace)
        return bool(done)

    async def stop_draining(self) -> None:
        """A stop is under way, and shall wait for no turn and no restart any more."""
        self.supervisor.cancel()
        if self.turn_journal is not None:
            self.turn_journal.is_closing = True
        await self.dispatcher.close(0.0)

    async def _drained(self, timeout: float) -> bool:
        try:
            await asyncio.wait_for(self.settle(), timeout)
        except TimeoutError:
            return False
        return True


def _durable_asks() -> type[DurableAskTable]:
    from moot.runtime.durability.asks import DurableAskTable

    return DurableAskTable


def _cell_of(ctx: AgentContext[Any]) -> Cell:
    """The cell that a context of this system sits on; it need not be in the directory any more."""
    return cast(Cell, ctx.cell)
