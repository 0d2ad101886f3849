"""The system: the parts of the runtime, wired, and what a turn may ask of them.

It is made when a manager starts, and its keeper closes it. The parts are made from the bottom
up, and each is given the parts that it needs. Where two parts need each other, the upper one
sets itself in the lower. The lower has no default for it, so a forgotten wire is an error at
its first use. The system implements the `Runtime` through which contexts reach up.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar, cast

from moot.agent.ask import AskTable
from moot.errors import AgentStopped, MootError
from moot.messaging.flow_control import FlowControl
from moot.messaging.message import Numbering, ReplyTo
from moot.policies import ParkedMail, Supervision
from moot.resilience.deadlines import DeadlineWheel
from moot.runtime.cell import Cell
from moot.runtime.dispatch.at_once import at_once_for
from moot.runtime.dispatch.commit import Commit
from moot.runtime.dispatch.departure import Departure
from moot.runtime.dispatch.dispatcher import Dispatcher
from moot.runtime.dispatch.interrupts import Interrupts
from moot.runtime.dispatch.lifecycle import Lifecycle
from moot.runtime.dispatch.opening import Opening
from moot.runtime.dispatch.pool import RunnerPool
from moot.runtime.dispatch.rollback import Rollback
from moot.runtime.dispatch.throttle import Throttle
from moot.runtime.dispatch.timers import Timers
from moot.runtime.liveness.deadlock import Deadlocks
from moot.runtime.liveness.progress import Liveness
from moot.runtime.options import PATIENCE, Options
from moot.runtime.phase import CLOSING, STOPPING, SystemPhase
from moot.runtime.registrar import Registrar
from moot.runtime.routing.absent import AbsentAgents
from moot.runtime.routing.breakers import Breakers
from moot.runtime.routing.death_watch import DeathWatch
from moot.runtime.routing.delivery import Delivery
from moot.runtime.routing.requests import Requests
from moot.runtime.routing.router import MessageRouter
from moot.runtime.supervision import Supervisor
from moot.state import Transaction

if TYPE_CHECKING:
    from moot.agent.port import Turn
    from moot.backends.base import Stores
    from moot.clock import Clock
    from moot.engine.base import Engine
    from moot.ids import Ids
    from moot.runtime.durability.asks import DurableAskTable
    from moot.runtime.durability.turn_journal import TurnJournal
    from moot.runtime.durability.unclaimed import UnclaimedMail
    from moot.runtime.routing.directory import Directory
    from moot.runtime.threads import SyncThreads
    from moot.storable.values import Form

__all__ = ["System"]

T = TypeVar("T")

_log = logging.getLogger("moot.runtime.system")


class System:
    """All parts at work. ``given_up(error)`` is called when a failure has reached the top."""

    def __init__(  # noqa: PLR0913 - what a manager was given
        self,
        clock: Clock,
        ids: Ids,
        directory: Directory,
        stores: Stores,
        options: Options,
        *,
        engine: Engine | None,
        given_up: Callable[[MootError], None],
    ) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._engine = engine
        self.threads: SyncThreads | None = None
        self._shared_state = stores.shared_state
        self.directory = directory
        self.clock = clock
        self.now = clock.now
        self.random_for = ids.random_for
        self.find = directory.find
        self.phase = phase = SystemPhase()
        self.numbering = Numbering(ids.incarnation, ids.next_sequence)
        self.wheel = DeadlineWheel(loop, clock)
        self.pool = RunnerPool(loop, options["ready"] if "ready" in options else deque(), phase)
        self.durable_asks: DurableAskTable | None = None
        self.journal: TurnJournal | None = None
        if stores.durable is None:
            self.asks = AskTable(ids.incarnation, count(1).__next__, self.wheel)
        else:
            self.durable_asks, self.journal = _durable(
                stores, ids.incarnation, self.wheel, clock, phase, options.get("parked")
            )
            self.asks = self.durable_asks
        self.deadlocks = Deadlocks(self.asks, self.pool, clock.now, options.get("deadlocks", "break"))
        patience = options.get("patience", PATIENCE)
        self._absent = AbsentAgents(clock, ids.incarnation, patience) if stores.durable is not None else None
        self._make_routing(stores, options)
        self._make_dispatch(options)
        self.registrar = Registrar(directory, self.router, self.dispatcher, self.delivery, self.opening, phase)
        self.unclaimed: UnclaimedMail | None = _unclaimed(self) if self.journal is not None else None
        # So late because it begins a thread: what was stored may be unreadable.
        self.liveness = Liveness(loop, clock, directory.cells, self.pool, self.deadlocks, options.get("watchdog", 1.0))
        self.supervisor = Supervisor(
            options.get("supervision", Supervision()),
            clock,
            self,
            directory,
            self.dispatcher,
            registrar=self.registrar,
            liveness=self.liveness,
            phase=phase,
            given_up=given_up,
        )

    def _make_routing(self, stores: Stores, options: Options) -> None:
        """Make the parts that take a message to its mailbox."""
        clock, wake = self.clock, self.pool.wake
        self.flow = FlowControl(
            self.wheel, clock, stores.dead_letters, self.asks, wake=wake, blocked=self.deadlocks.blocked
        )
        self._interrupts = Interrupts(self.wheel, clock, self.pool)
        self.router = MessageRouter(self.directory, options.get("selector"))
        at_once = at_once_for(self._loop, self.pool) if options.get("at_once", True) else None
        self.delivery = Delivery(
            clock,
            self.router,
            self.flow,
            self.asks,
            stores.dead_letters,
            phase=self.phase,
            journal=self.journal,
            connect=options.get("transport"),
            wake=wake,
            asker_gone=self._interrupts.asker_gone,
            handle_at_once=at_once.handle if at_once is not None else None,
        )
        self.breakers = Breakers(clock)
        self.requests = Requests(
            clock,
            self.numbering,
            self.router,
            self.delivery,
            self.breakers,
            phase=self.phase,
            durable_asks=self.durable_asks,
            absent=self._absent,
            wake=wake,
            suspending=self.pool.suspending,
        )
        self.post, self.withdraw = self.requests.post_from, self.delivery.withdraw
        self.death_watch = DeathWatch(self.directory, self.numbering, self.delivery.control)

    def _make_dispatch(self, options: Options) -> None:
        """Make the parts that run turns."""
        loop, clock, phase, delivery = self._loop, self.clock, self.phase, self.delivery
        self.timers = Timers(loop, clock, delivery, self.numbering, options.get("mail_observer"))
        commit = Commit(self.directory, delivery, self.death_watch, self.timers)
        lifecycle = Lifecycle(self, self.pool, self._interrupts, commit, phase)
        patience = options.get("patience", PATIENCE)
        self.opening = Opening(self.pool, lifecycle, self.timers, phase, self._absent, patience)
        throttle = Throttle(loop, clock, delivery, self.pool)
        self.dispatcher = Dispatcher(
            self,
            self.directory,
            delivery,
            self.pool,
            interrupts=self._interrupts,
            lifecycle=lifecycle,
            commit=commit,
            rollback=Rollback(self, clock, delivery, phase, lifecycle.hold),
            throttle=throttle,
            departure=Departure(throttle, delivery, self.death_watch, self.opening, self.breakers, phase),
            phase=phase,
            interceptor=options.get("interceptor"),
        )

    @property
    def is_open(self) -> bool:
        """Whether agents are made and messages handled. Callers from outside may be refused already."""
        return self.phase.now < CLOSING

    def progress(self, turn: Turn, to: str | ReplyTo, content: Any, message_type: str) -> None:
        if isinstance(to, ReplyTo):
            self.delivery.progress(turn, to, content)
            return
        message = self.numbering.following(turn.message, turn.cell.id, to, content, message_type, turn.trace)
        self.delivery.send_now(_cell_of(turn), message)

    def answer_form(self, turn: Turn, to: ReplyTo) -> Form:
        return self.delivery.answer_form(_cell_of(turn), turn.message, to)

    def is_heard(self, reply_to: ReplyTo) -> bool:
        ask = self.asks.get(reply_to)
        return ask is not None and ask.on_progress is not None

    async def spawn(self, turn: Turn, child: Any) -> str:
        parent = _cell_of(turn)
        if parent.phase is STOPPING:
            raise AgentStopped(parent.id)
        cell = Cell(child)
        cell.parent = parent
        await self.registrar.add(cell)
        return cell.id

    async def stop_child(self, child_id: str) -> None:
        cell = self.directory.cells.get(child_id)
        if cell is not None:
            await self.registrar.remove_quietly(cell, None)

    async def run_sync(self, fn: Callable[[], T], name: str) -> T:
        from moot.runtime.threads import Named, SyncThreads  # most systems run no function in a thread

        if self.threads is None:
            self.threads = SyncThreads()
        return await self._loop.run_in_executor(self.threads, Named(fn, name))

    def engine_for(self, turn: Turn) -> Engine:
        if self._engine is None:
            raise RuntimeError("this manager has no engine; give it one: AgentManager(engine='local')")
        from moot.agent.turn_engine import TurnEngine  # most systems start without an engine

        return TurnEngine(self._engine, turn)

    def open_state(self) -> Transaction:
        return Transaction(self._shared_state)

    async def settle(self) -> None:
        """Return when no message waits for a turn and no turn is under way. Timers do not count."""
        self.opening.open()
        while True:
            await self.pool.wait_idle()
            if not self.supervisor.tasks:
                break
            await self.supervisor.wait_idle()
        if self.journal is not None:
            await self.journal.store.synced()


def _durable(
    stores: Stores,
    incarnation: str,
    wheel: DeadlineWheel,
    clock: Clock,
    phase: SystemPhase,
    parking: ParkedMail | None,
) -> tuple[DurableAskTable, TurnJournal]:
    """The parts that tell a durable backend what happens. They go on from what it has stored."""
    from moot.runtime.durability.asks import DurableAskTable  # these load much that a system in memory does not need
    from moot.runtime.durability.replies import ReplyCache
    from moot.runtime.durability.turn_journal import TurnJournal

    assert stores.durable is not None
    store, stored = stores.durable
    replies = ReplyCache(store, stored, clock, phase)
    asks = DurableAskTable(incarnation, count(1).__next__, wheel, replies)
    return asks, TurnJournal(store, stored, replies, stores.dead_letters, parking or ParkedMail())


def _unclaimed(system: System) -> UnclaimedMail:
    """The part that looks after mail of a durable system that nobody claims."""
    from moot.runtime.durability.unclaimed import UnclaimedMail  # as above

    assert system.journal is not None
    journal, delivery = system.journal, system.delivery
    unclaimed = UnclaimedMail(
        journal.store,
        journal.parking,
        system.clock,
        system.phase,
        is_there=system.directory.cells.__contains__,
        bury=delivery.unclaimed,
    )
    delivery.was_parked = unclaimed.watch
    return unclaimed


def _cell_of(turn: Turn) -> Cell:
    """The cell of a turn of this system. The directory may not have it any more."""
    return cast(Cell, turn.cell)
