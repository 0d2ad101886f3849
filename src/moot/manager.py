"""The manager: the one object that a program holds to have agents.

It registers agents, carries messages to them from outside, and starts and stops the
system. Its URL chooses the backend; nothing else in a user's code changes with it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

import msgspec

from moot.agent import Agent, agents_of
from moot.asks import Ask, gather
from moot.backends import open_backend
from moot.cell import Cell
from moot.clock import Clock, LoopClock
from moot.deadlock import DeadlockMode, checked_mode
from moot.directory import AgentCard, Directory
from moot.engine.base import Engine
from moot.engine.choose import open_engine
from moot.engine.queue import AdmissionQueue
from moot.errors import ManagerStopped
from moot.ids import Ids
from moot.message import AgentMessage, Request, message_type_of
from moot.outside import OUTSIDE, Outside
from moot.policies import Policies
from moot.sender import MessageSender
from moot.signals import StopSignals, stop_signal
from moot.stream import Stream
from moot.system import System
from moot.telemetry import GuardedObserver, ManagerStats, Observer

if TYPE_CHECKING:
    from moot.runners import ReadyQueue
    from moot.state import SharedState

__all__ = ["AgentManager"]

A = TypeVar("A", bound=Agent[Any])
R = TypeVar("R")


class AgentManager:
    """Registers agents, starts and stops them, and speaks to them from outside.

    Args:
        url: chooses the backend; ``"memory://"``.
        engine: that of ``ctx.engine``: an `Engine`, or a string such as ``"local"``; one opened so is closed with it.
        shared_state: the store of ``ctx.shared_state``; the backend's own by default.
        clock: where the time comes from; the event loop's by default. ``seed`` makes ids and random numbers the same
            in every run, ``ready`` is the queue of agents that can run: a simulator chooses with it who is next.
        deadlocks: what happens to asks that wait in a circle: ``break`` fails one of them with `DeadlockError`,
            ``report`` logs and counts, ``off`` does not look.
    """

    def __init__(  # noqa: PLR0913 - options, each with a default and by keyword
        self,
        url: str = "memory://",
        *,
        engine: Engine | str | None = None,
        shared_state: SharedState | None = None,
        clock: Clock | None = None,
        seed: int | None = None,
        ready: ReadyQueue | None = None,
        deadlocks: DeadlockMode = "break",
    ) -> None:
        self._backend = open_backend(url)
        self._owns_engine = isinstance(engine, str)
        self._clock = clock
        if isinstance(engine, str):
            engine = open_engine(engine, clock=clock)
        self._engine = AdmissionQueue(engine, clock=clock) if engine is not None else None
        self._ids = Ids(seed)
        self._looked = 0
        self._observer: Observer | None = None
        self._ready = ready
        self._deadlocks = checked_mode(deadlocks)
        self._system: System | None = None
        self._signals: StopSignals | None = None
        self._outside: Outside | None = None
        self._stopping: asyncio.Task[None] | None = None
        self.shared_state = shared_state if shared_state is not None else self._backend.shared_state
        self.dead_letters = self._backend.dead_letters
        self.directory = Directory()

    # life
    async def start(self) -> None:
        """Start the system and the agents registered so far, in order.

        Raises:
            RuntimeError: it was started before; a manager runs once. What an ``on_start`` raises, after a stop.
        """
        if self._system is not None:
            raise RuntimeError("this manager was started before, and a manager runs once; make a new one")
        clock = self._clock if self._clock is not None else LoopClock(asyncio.get_running_loop())
        system = System(clock, self._ids, self.directory, self.dead_letters, self.shared_state, self._ready)
        system.engine = self._engine
        system.worker.observer = self._observer
        system.look_for_deadlocks(self._deadlocks)
        self._system = system
        self._outside = Outside(system)
        try:
            await system.start()
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
        system = self._system
        if system is None:
            return
        if (cell := system.running_here()) is not None:
            raise RuntimeError(f"agent {cell.id!r} cannot stop its manager inside its own turn; start a task for it")
        if self._outside is not None:
            self._outside.is_open = False
        if self._signals is not None:
            self._signals.give_way()
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._stop(system, drain=drain, timeout=timeout))
        await asyncio.shield(self._stopping)

    async def run_until_stopped(self) -> None:
        """Run until Ctrl-C, SIGTERM or a `stop` from elsewhere. A second signal ends the draining."""
        if self._system is None:
            await self.start()
        worker = self._running("wait for a signal").worker
        with stop_signal() as signals:
            self._signals = signals
            if self._stopping is None:
                await signals.wait()
            await signals.unless_repeated(self.stop(), lambda: worker.close(0.0))

    async def __aenter__(self) -> Self:
        if self._system is None:
            await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self.stop(drain=kind is None)

    def observe(self, observer: Observer) -> None:
        """Let ``observer`` see turns begin and end; an error of its own is logged and reaches no agent."""
        self._observer = GuardedObserver(observer)
        if self._system is not None:
            self._system.worker.observer = self._observer

    async def settle(self) -> None:
        """Return when no message waits for a turn and no turn is under way. Timers do not count. For tests."""
        await self._running("settle").settle()

    # agents
    @overload
    async def register(self, agent: type[A], count: int = 1, **policies: Unpack[Policies]) -> list[str]: ...
    @overload
    async def register(self, agent: Agent[Any] | Callable[..., Any], **policies: Unpack[Policies]) -> str: ...
    async def register(self, agent: Any, count: int = 1, **policies: Unpack[Policies]) -> str | list[str]:
        """Register an agent, a function, or ``count`` agents of a class (``worker_1``, ``worker_2``, …).

        ``policies`` (``mailbox=``, ``retry=``, …) take the place of the class's own. Returns the id or, for a class,
        the ids; once the manager runs, when ``on_start`` has.

        Raises:
            DuplicateAgent: the id is taken. TypeError, ValueError: it is no agent. What its ``on_start`` raises.
        """
        if unknown := policies.keys() - Policies.__annotations__:
            raise TypeError(f"there is no policy {min(unknown)!r}; there are: {', '.join(Policies.__annotations__)}")
        ids = [await self._add(Cell(one, policies)) for one in agents_of(agent, count)]
        return ids if isinstance(agent, type) else ids[0]

    def host(self, agent: Callable[[str], Agent[Any]], *, domain: str) -> None:
        """Make the agents ``domain/key`` when they are first addressed, as ``agent("domain/key")``."""
        self.directory.host(domain, agent)

    async def unregister(self, agent_id: str) -> None:
        """Stop an agent after its present turn; its mail becomes dead letters. Raises `UnknownAgent`."""
        system = self._running("unregister an agent")
        await system.remove(system.resident(agent_id))

    def find(self, capability: str) -> list[str]:
        """The ids of the agents that can do ``capability``."""
        return self.directory.find(capability)

    def card(self, agent_id: str) -> AgentCard:
        """What an agent tells about itself, with JSON schemas of what it handles. Raises `UnknownAgent`."""
        return self.directory.card(agent_id)

    def stats(self) -> ManagerStats:
        """Counts since the start."""
        system = self._system
        self._looked += 1
        return ManagerStats(
            agents=len(self.directory),
            messages=self._ids.next_sequence() - self._looked,
            turns=system.worker.turns if system is not None else 0,
            dead_letters=sum(self.dead_letters.counts.values()),
            open_asks=len(system.asks) if system is not None else 0,
            deadlocks=system.deadlocks.found if system is not None and system.deadlocks is not None else 0,
        )

    # messages from outside
    @overload
    def ask(self, to: str, content: Request[R], *, timeout: float = 30.0) -> Ask[R]: ...
    @overload
    def ask(self, to: str, content: Any, *, timeout: float = 30.0, message_type: str | None = None) -> Ask[Any]: ...
    def ask(self, to: str, content: Any, *, timeout: float = 30.0, message_type: str | None = None) -> Ask[Any]:
        """Ask an agent; await the result. Nothing is sent before it is awaited.

        Raises (when awaited):
            AskTimeout, UnknownAgent, AgentStopped, MailboxFull, ManagerStopped: no answer can be had.
            TurnError: the handler failed. InvalidPayload, UnknownMessageType: it cannot handle this.
        """
        if not 0 < timeout < math.inf:
            raise ValueError(f"an ask needs a timeout above 0 s and an end, not {timeout:g}")
        outside = self._outside
        if outside is None or not outside.is_open:
            raise ManagerStopped("ask an agent")
        return Ask(outside, to, content, message_type_of(content, message_type), timeout)

    gather = staticmethod(gather)

    @overload
    def stream(self, to: str, content: Request[R], *, timeout: float = 30.0) -> Stream[R]: ...
    @overload
    def stream(
        self, to: str, content: Any, *, timeout: float = 30.0, message_type: str | None = None
    ) -> Stream[Any]: ...
    def stream(self, to: str, content: Any, *, timeout: float = 30.0, message_type: str | None = None) -> Stream[Any]:
        """Ask an agent and iterate over what its handler passes to ``ctx.progress``."""
        return Stream(self.ask(to, content, timeout=timeout, message_type=message_type))

    async def tell(
        self,
        to: str,
        content: Any,
        *,
        message_type: str | None = None,
        timeout: float = 30.0,
        message_id: str | None = None,
    ) -> None:
        """Send a message; waits for room in the mailbox. Of those with one ``message_id`` only the first is handled.

        Raises:
            UnknownAgent, AgentStopped: nobody will handle it. MailboxFull: there was no room within ``timeout``
            seconds. ManagerStopped: the manager does not run. TypeError: plain content without ``message_type``.
        """
        outside = self._outside
        if outside is None or not outside.is_open:
            raise ManagerStopped("tell an agent")
        message = outside.envelope(to, content, message_type_of(content, message_type))
        if message_id is not None:
            await outside.tell(msgspec.structs.replace(message, given_id=message_id), timeout)
        elif lane := outside.accept(message):
            await outside.admitted(lane, timeout)

    def tell_nowait(self, to: str, content: Any, *, message_type: str | None = None) -> None:
        """Send a message if there is room. Raises as `tell`, `MailboxFull` at once."""
        outside = self._door("tell an agent")
        outside.tell_nowait(outside.envelope(to, content, message_type_of(content, message_type)))

    async def publish(self, topic: str, content: Any, *, message_type: str | None = None) -> int:
        """Send to all subscribers of a topic, waiting for none; says how many got it."""
        return self._door("publish").publish(topic, content, message_type_of(content, message_type))

    def get_message_sender(self, name: str = OUTSIDE) -> MessageSender:
        """Send whole envelopes, or messages under a name of one's own."""
        return MessageSender(name, self._post)

    async def requeue(self, letter_id: int) -> str:
        """Send a dead letter again, as a new message whose ``causation`` names the old one; returns its id.

        Raises:
            KeyError: no such dead letter is kept. As `tell`, and then the letter stays.
        """
        sent = await self._post(self.dead_letters.get(letter_id).again(), 30.0)
        self.dead_letters.take(letter_id)
        return sent

    # inside
    async def _stop(self, system: System, *, drain: bool, timeout: float) -> None:
        await system.close(drain=drain, timeout=timeout)
        if self._owns_engine and self._engine is not None:
            await self._engine.close()
        await self._backend.close()

    async def _post(self, message: AgentMessage, timeout: float) -> str:
        outside = self._door("send a message")
        if not message.incarnation:
            message = outside.stamped(message)
        await outside.tell(message, timeout)
        return message.id

    async def _add(self, cell: Cell) -> str:
        if self._system is None:
            self.directory.add(cell)
        else:
            await self._running("register an agent").add(cell)
        return cell.id

    def _running(self, what: str) -> System:
        system = self._system
        if system is None or not system.is_open:
            raise ManagerStopped(what)
        return system

    def _door(self, what: str) -> Outside:
        outside = self._outside
        if outside is None or not outside.is_open:
            raise ManagerStopped(what)
        return outside
