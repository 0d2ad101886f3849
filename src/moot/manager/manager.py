"""The manager: the one object that a program holds to have agents.

It registers agents, carries messages to them from outside, and starts and stops the
system. Its URL chooses the backend; nothing else in a user's code changes with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

import msgspec

from moot.agent.agent import Agent, agents_of
from moot.backends import Backend, open_backend
from moot.backends.base import Stores
from moot.backends.errors import BackendFailed
from moot.clock import Clock, LoopClock
from moot.errors import DeliveryError, ManagerStopped, MootError
from moot.ids import Ids
from moot.manager.client import Client
from moot.manager.gateway import Gateway
from moot.manager.parts import check_parts, check_timeout
from moot.manager.signals import StopSignals, stop_signal
from moot.policies import Policies, check_names
from moot.resilience.breaker import BreakerStatus
from moot.runtime.cell import Cell
from moot.runtime.keeper import Keeper
from moot.runtime.liveness.progress import Health
from moot.runtime.options import Options, check_seams
from moot.runtime.routing.directory import AgentCard, Directory
from moot.runtime.system import System
from moot.runtime.tasks import next_pass
from moot.telemetry.observer import GuardedObserver, Observer

if TYPE_CHECKING:
    from moot.engine.base import Engine
    from moot.engine.queue import AdmissionQueue
    from moot.state import SharedState

__all__ = ["AgentManager", "ManagerStats"]

A = TypeVar("A", bound=Agent[Any])
R = TypeVar("R")


class ManagerStats(msgspec.Struct, frozen=True):
    """Counts since the start: ``messages`` numbered, ``turns`` run, ``dead_letters`` made, ``deadlocks`` found.

    ``agents`` and ``open_asks`` count what is there now.
    """

    agents: int
    messages: int
    turns: int
    dead_letters: int
    open_asks: int
    deadlocks: int = 0


class AgentManager(Client):
    """Registers agents, starts and stops them, and speaks to them from outside.

    Args:
        url: chooses the backend: ``"memory://"``, or ``"sqlite:///FILE"`` for a system that outlives its process; or a
            `Backend`.
        engine: that of ``ctx.engine``: an `Engine`, or a string such as ``"local"``; one opened so is closed with it.
        shared_state: the store of ``ctx.shared_state``; the backend's own by default.
        clock: where the time comes from; the event loop's by default. ``seed`` makes ids and random numbers the same
            in every run.
        options: see `moot.runtime.options.Options`; ``supervision=`` is the one that programs use. When more is
            escalated than it allows, the manager stops, and `SupervisionFailed` is raised at the end of ``async with``
            or of `run_until_stopped`.
    """

    def __init__(
        self,
        url: str | Backend = "memory://",
        *,
        engine: Engine | str | None = None,
        shared_state: SharedState | None = None,
        clock: Clock | None = None,
        seed: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        check_parts(url, engine, shared_state, clock, seed)
        self._backend = open_backend(url) if isinstance(url, str) else url
        self._owns_engine = isinstance(engine, str)
        self._clock = clock
        self._engine = _queued(engine, clock) if engine is not None else None
        self._ids = Ids(seed)
        self._looked = 0
        self._observer: Observer | None = None
        check_names(options, Options, "option")
        check_seams(options)
        self._options = options
        self._failure: MootError | None = None
        self._system: System | None = None
        self._keeper: Keeper | None = None
        self._signals: StopSignals | None = None
        self.shared_state = shared_state if shared_state is not None else self._backend.shared_state
        self.dead_letters = self._backend.dead_letters
        self.directory = Directory()

    async def start(self) -> None:
        """Start the system and the agents registered so far, in order.

        Raises:
            RuntimeError: the manager was started before; a manager runs once. An error of an ``on_start``, after a
            stop.
        """
        if self._system is not None:
            raise RuntimeError("this manager was started before, and a manager runs once; make a new one")
        clock = self._clock if self._clock is not None else LoopClock(asyncio.get_running_loop())
        opened = await self._backend.open(self._give_up)
        try:
            if opened is not None:
                self._ids.begin_run(opened[1].run)
            stores = Stores(self.dead_letters, self.shared_state, opened)
            system = System(
                clock, self._ids, self.directory, stores, self._options, engine=self._engine, given_up=self._give_up
            )
        except BaseException:
            await self._backend.close()
            raise
        system.dispatcher.observer = self._observer
        self._system = system
        self._keeper = Keeper(system, self._let_go)
        self._gateway = Gateway(system, self._options.get("mail_observer"))
        try:
            await next_pass()  # the keeper has begun, so it clears up whatever happens
            await system.registrar.start()
        except BaseException:
            await self.stop(drain=False)
            raise

    async def stop(self, *, drain: bool = True, timeout: float = 10.0) -> None:
        """Stop: no future is stranded, and no message is lost without a dead letter.

        Nothing more is accepted from outside. With ``drain`` what was accepted is handled first, for up to
        ``timeout`` seconds. Then turns still under way are cancelled and rolled back, ``on_stop`` runs (5 seconds an
        agent at most), last registered first, and open asks fail with `ManagerStopped`. A second call waits for the
        first; cancelling a call cancels no stop.

        Raises:
            RuntimeError: called from an agent's turn, which the stop would wait for.
        """
        system, keeper = self._system, self._keeper
        if system is None or keeper is None:
            return
        check_timeout(timeout)
        if (cell := system.pool.running(asyncio.current_task())) is not None:
            raise RuntimeError(f"agent {cell.id!r} cannot stop its manager inside its own turn; start a task for it")
        await asyncio.shield(self._begin_to_stop(keeper, drain=drain, timeout=timeout))

    async def run_until_stopped(self) -> None:
        """Run until Ctrl-C, SIGTERM or a `stop` from elsewhere. A second signal ends the draining."""
        if self._system is None:
            await self.start()
        self._running("wait for a signal").opening.open()
        keeper = self._keeper
        assert keeper is not None  # it runs
        with stop_signal() as signals:
            self._signals = signals
            if not keeper.is_asked:
                await signals.wait()
            await signals.unless_repeated(self.stop(), lambda: keeper.hurry(grace=0.0))
        if self._failure is not None:
            raise self._failure

    async def __aenter__(self) -> Self:
        if self._system is None:
            await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            await self.stop(drain=kind is None)
        except asyncio.CancelledError:
            if self._keeper is not None:  # the program wants to leave the block now
                await self._keeper.hurry()
            raise
        if self._failure is not None and (kind is None or issubclass(kind, DeliveryError)):
            raise self._failure

    def observe(self, observer: Observer) -> None:
        """Let ``observer`` see turns begin and end. Its own errors are logged and reach no agent."""
        self._observer = GuardedObserver(observer)
        if self._system is not None:
            self._system.dispatcher.observer = self._observer

    async def settle(self) -> None:
        """Return when no message waits for a turn and no turn is under way. Timers do not count. For tests."""
        await self._running("settle").settle()

    @overload
    async def register(self, agent: type[A], count: int = 1, **policies: Unpack[Policies]) -> list[str]: ...
    @overload
    async def register(self, agent: Agent[Any] | Callable[..., Any], **policies: Unpack[Policies]) -> str: ...
    async def register(self, agent: Any, count: int = 1, **policies: Unpack[Policies]) -> str | list[str]:
        """Register an agent, a function, or ``count`` agents of a class (``worker_1``, ``worker_2``, …).

        ``policies`` (``mailbox=``, ``retry=``, …) take the place of the class's own. Returns the id, or the ids for a
        class. On a running manager it returns after ``on_start``.

        Raises:
            DuplicateAgent: the id is taken. TypeError, ValueError: ``agent`` is no agent. What its ``on_start`` raises.
        """
        check_names(policies, Policies, "policy")
        ids = [await self._add(Cell(one, policies)) for one in agents_of(agent, count)]
        return ids if isinstance(agent, type) else ids[0]

    def host(self, agent: Callable[[str], Agent[Any]], *, domain: str) -> None:
        """Make the agents ``domain/key`` when they are first addressed, as ``agent("domain/key")``."""
        self.directory.host(domain, agent)

    async def unregister(self, agent_id: str) -> None:
        """Stop an agent after its present turn; its mail becomes dead letters. Raises `UnknownAgent`."""
        system = self._running("unregister an agent")
        await system.registrar.remove(system.registrar.registered(agent_id))

    def find(self, capability: str) -> list[str]:
        """The ids of the agents that can do ``capability``."""
        return self.directory.find(capability)

    def card(self, agent_id: str) -> AgentCard:
        """What an agent tells about itself, with JSON schemas of what it handles. Raises `UnknownAgent`."""
        return self.directory.card(agent_id)

    def health(self) -> Health:
        """How the agents and the event loop get on: the agents with mail, since when, and what they wait for.

        Raises:
            ManagerStopped: the manager does not run.
        """
        system = self._running("look at its health")
        return system.liveness.health(len(system.asks))

    def stats(self) -> ManagerStats:
        """Counts since the start."""
        system = self._system
        self._looked += 1
        return ManagerStats(
            agents=len(self.directory),
            messages=self._ids.next_sequence() - self._looked,
            turns=system.dispatcher.turns if system is not None else 0,
            dead_letters=sum(self.dead_letters.counts.values()),
            open_asks=len(system.asks) if system is not None else 0,
            deadlocks=system.deadlocks.found if system is not None else 0,
        )

    def breakers(self) -> list[BreakerStatus]:
        """The circuit breakers that know of a failure: caller, target, state, and when to try again."""
        return self._system.breakers.status() if self._system is not None else []

    def _begin_to_stop(self, keeper: Keeper, *, drain: bool, timeout: float) -> asyncio.Task[None]:
        self._gateway = None
        if self._signals is not None:
            self._signals.give_way()
        return keeper.stop(drain=drain, timeout=timeout)

    def _give_up(self, failure: MootError) -> None:
        """A failure has reached the top; the supervisor or the backend calls this."""
        if self._failure is None and self._keeper is not None:
            self._failure = failure
            self._begin_to_stop(self._keeper, drain=False, timeout=10.0)

    async def _let_go(self) -> None:
        """Close the engine that was named and the backend. The backend is closed even if the engine fails to."""
        try:
            if self._owns_engine and self._engine is not None:
                await self._engine.close()
        finally:
            try:
                await self._backend.close()
            except BackendFailed:
                if self._failure is None:
                    raise

    async def _add(self, cell: Cell) -> str:
        if self._system is None:
            self.directory.add(cell)
        else:
            await self._running("register an agent").registrar.add(cell)
        return cell.id

    def _running(self, what: str) -> System:
        system = self._system
        if system is None or not system.is_open:
            raise ManagerStopped(what)
        return system


def _queued(engine: Engine | str, clock: Clock | None) -> AdmissionQueue:
    """The queue before an engine, or before the one that a string names."""
    from moot.engine.choose import open_engine  # most systems start without an engine
    from moot.engine.queue import AdmissionQueue

    return AdmissionQueue(open_engine(engine, clock=clock) if isinstance(engine, str) else engine, clock=clock)
