"""Simulate: run a whole system on a virtual clock, in an order that a seed picks, with faults that it draws.

The same seed and faults give the same run, message for message, in every process.
What a run shows is a value: its digest, its violations, what happened at last.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from moot.testing.simulation.faults import Faults
from moot.testing.simulation.invariants import Invariant
from moot.testing.simulation.laws import LAWS
from moot.testing.simulation.loop import Livelock, SimulatedLoop
from moot.testing.simulation.network import FaultyNetwork
from moot.testing.simulation.outcome import Simulation
from moot.testing.simulation.turn_faults import FaultyTurns
from moot.testing.simulation.witness import Witness
from moot.testing.simulation.world import SeededReady, SimulatedManager, World
from moot.testing.virtual_loop import Stalled

if TYPE_CHECKING:
    from moot.runtime.routing.delivery import Delivery

__all__ = ["Build", "simulate"]

Build = Callable[[SimulatedManager], Any]
"""What is simulated: a function, async or not, that is given a started manager and does with it what a program does."""

_AFTERMATH = 120.0


def simulate(
    build: Build,
    *,
    seed: int,
    faults: Faults = Faults(),
    until: float | None = None,
    invariants: Sequence[type[Invariant]] = LAWS,
    make: Callable[..., SimulatedManager] = SimulatedManager,
) -> Simulation:
    """Run ``build(manager)`` once, in the world that ``seed`` and ``faults`` make of it.

    The run ends when ``build`` has returned and nothing is left to do, or after ``until`` virtual seconds. Then the
    manager is stopped, and whatever ``build`` left running is ended. Nothing is raised for what goes wrong inside:
    it is in the result. ``make(**options)`` makes the manager; pass a function to give it more, as an engine.

    Raises:
        RuntimeError: called from a running event loop; a simulation is an event loop of its own.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise RuntimeError("simulate() runs an event loop of its own; call it from a plain function, not an async one")
    loop = SimulatedLoop(random.Random(f"{seed}:tasks"))
    world = World(loop, faults, seed)
    world.witness = Witness([law(world) for law in invariants])
    run = _Run(world, make)
    with _undisturbed():
        try:
            run.live(build, until)
            run.end()
        finally:
            asyncio.set_event_loop(None)
            loop.close()
    return run.result()


class _Run:
    """One simulation under way."""

    def __init__(self, world: World, make: Callable[..., SimulatedManager]) -> None:
        self.loop = world.loop
        self.world = world
        self.error: Exception | None = None
        self.manager = make(
            seed=world.seed,
            ready=SeededReady(random.Random(f"{world.seed}:turns")),
            transport=self._connect,
            interceptor=FaultyTurns(world),
            mail_observer=world,
        )
        self.loop.set_exception_handler(self._callback_failed)

    def _connect(self, delivery: Delivery) -> FaultyNetwork:
        self._network = FaultyNetwork(self.world, delivery)
        return self._network

    def live(self, build: Build, until: float | None) -> None:
        """From the start until there is nothing left to do."""
        self._run(self.manager.enter(self.world))
        life = self.loop.create_task(self._life(build), name="the simulated function")
        self._run(asyncio.wait({life}, timeout=until))
        if life.done() and not life.cancelled():
            failure = life.exception()
            if isinstance(failure, Exception):
                self.error = failure
            elif failure is not None:
                raise failure
        elif not life.done():
            life.cancel()
            self._run(asyncio.wait({life}))

    def end(self) -> None:
        """Stop, and look at what is left."""
        world = self.world
        is_whole = not world.violations and self.error is None
        for listener in world.witness.stopping:
            listener()
        self._run(self.manager.stop(drain=is_whole, timeout=10.0))
        self._network.close()
        self._run(self._aftermath())
        for listener in world.witness.stopped:
            listener()

    def result(self) -> Simulation:
        world = self.world
        counts: Counter[Any] = self.manager.dead_letters.counts
        return Simulation(
            seed=world.seed,
            faults=world.plan.faults,
            digest=world.trace.digest(),
            turns=world.trace.turns,
            seconds=self.loop.time(),
            dead_letters={str(reason): count for reason, count in counts.items()},
            struck=tuple(world.plan.struck),
            violations=tuple(world.violations),
            error=self.error,
            events=tuple(world.trace.events),
        )

    async def _life(self, build: Build) -> None:
        result = build(self.manager)
        if inspect.isawaitable(result):
            await result
        if self.manager.is_running:
            await self._settled()

    async def _settled(self) -> None:
        network = self._network
        await self.manager.settle()
        while network.is_busy:
            await network.wait_idle()
            await self.manager.settle()

    async def _aftermath(self) -> None:
        """Let end what the simulated function left running; what waits for something that cannot come is stranded."""
        rest = sorted(asyncio.all_tasks() - {asyncio.current_task()}, key=hash)  # in the order of their creation
        if rest:
            _, left = await asyncio.wait(rest, timeout=_AFTERMATH)
            could_go_on = self.loop.has_more
            for task in rest:
                if task in left and (not could_go_on or task.get_name().startswith("moot runner")):
                    self.world.violated("nothing stranded", f"{task.get_name()!r} waits for ever {_where(task)}")
            for task in left:
                task.cancel()
            await asyncio.wait(rest, timeout=_AFTERMATH)

    def _run(self, phase: Any) -> None:
        """Run one phase to its end; a loop that cannot go on ends it, too."""
        task = self.loop.create_task(phase)
        try:
            self.loop.run_until_complete(task)
        except (Stalled, Livelock) as error:
            waiting = sorted((other for other in asyncio.all_tasks(self.loop) if other is not task), key=hash)
            waits = "; ".join(f"{other.get_name()!r} waits {_where(other)}" for other in waiting[:6])
            self.world.violated("goes on", f"{error}. {waits}")
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Stalled, Livelock):
                self.loop.run_until_complete(task)

    def _callback_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if "handle" in context and error is not None:
            self.world.violated("callbacks succeed", f"a callback of the event loop raised {error!r}")


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Nothing from outside joins in: no garbage collection at a random moment, and no log of what is simulated."""
    collects = gc.isenabled()
    log = logging.getLogger("moot")
    level = log.level
    gc.disable()
    if level == logging.NOTSET:
        log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)
        if collects:
            gc.enable()


def _where(task: asyncio.Task[Any]) -> str:
    """The line at which a task waits."""
    stack = task.get_stack(limit=1)
    return f"in {stack[0].f_code.co_qualname}, line {stack[0].f_lineno}" if stack else "for nothing"
