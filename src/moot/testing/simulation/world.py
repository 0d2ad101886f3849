"""The world of one simulation: its manager, its clock, its faults, and what a witness sees of them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from moot.clock import Clock
from moot.manager.manager import AgentManager
from moot.messaging.dead_letters import DeadLetter
from moot.messaging.message import AgentMessage, members_of
from moot.runtime.system import System
from moot.telemetry.observer import Observer, TurnOutcome
from moot.testing.simulation.faults import Faults, Plan
from moot.testing.simulation.outcome import Violation
from moot.testing.simulation.trace import Event, Trace
from moot.testing.simulation.witness import Witness

if TYPE_CHECKING:
    from moot.agent.context import AgentContext
    from moot.runtime.cell import Cell
    from moot.runtime.dispatch.ready_queue import ReadyQueue
    from moot.testing.simulation.loop import SimulatedLoop

__all__ = ["SeededReady", "SimulatedManager", "World"]

_MOST_VIOLATIONS = 20


class SeededReady:
    """A ready queue whose next cell is drawn; each visit runs one turn."""

    turns_per_visit = 1

    def __init__(self, choice: random.Random) -> None:
        self._draw = choice.random
        self._cells: list[Cell] = []

    def __len__(self) -> int:
        return len(self._cells)

    def append(self, cell: Cell, /) -> None:
        """A cell became ready."""
        self._cells.append(cell)

    def popleft(self) -> Cell:
        """Any of them."""
        cells = self._cells
        index = int(self._draw() * len(cells)) if len(cells) > 1 else 0
        cell = cells[index]
        cells[index] = cells[-1]
        cells.pop()
        return cell


class SimulatedManager(AgentManager):
    """The manager that a simulation gives to what it runs; ``random`` are numbers drawn from the run's seed."""

    def __init__(self, *, seed: int, ready: ReadyQueue, **options: Any) -> None:
        super().__init__(seed=seed, ready=ready, **options)
        self.random = random.Random(f"{seed}:world")
        self._world: World | None = None

    def observe(self, observer: Observer) -> None:
        """As on any manager, beside the simulation's own observer."""
        super().observe(observer if self._world is None else _Both(self._world, observer))

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped."""
        keeper = self._keeper
        return keeper is not None and not keeper.is_asked

    async def enter(self, world: World) -> None:
        """Start inside ``world``."""
        super().observe(world)
        self._world = world
        await self.start()
        world.begin(self, self._running("be simulated"))


class World:
    """One run. ``clock`` reads from the loop; ``violations`` are the laws that did not hold so far."""

    def __init__(self, loop: SimulatedLoop, faults: Faults, seed: int) -> None:
        self.loop = loop
        self.plan = Plan(faults, seed)
        self.seed = seed
        self.trace = Trace()
        self.violations: list[Violation] = []
        self.dead = 0
        self.witness = Witness(())  # until there are laws, which are made for a world
        self._handled: set[tuple[int, str]] = set()
        self._running: dict[tuple[str, int], Cell] = {}

    @property
    def clock(self) -> Clock:
        """The clock of the running system."""
        return self.system.clock

    def begin(self, manager: SimulatedManager, system: System) -> None:
        """The manager has started, without agents."""
        self.manager = manager
        self.system = system
        manager.dead_letters.listener = self.buried
        if self.witness.quiet:
            self.loop.jumping = self._quiet

    def violated(self, law: str, text: str) -> None:
        """A law did not hold."""
        if len(self.violations) < _MOST_VIOLATIONS:
            self.violations.append(Violation(law, text, self.loop.time()))
            self.note("VIOLATED", None, law)

    def was_handled(self, cell: Cell, message: AgentMessage) -> bool:
        """Whether a message took effect at ``cell``."""
        return (message.sequence, cell.id) in self._handled

    def note_handled(self, cell: Cell, message: AgentMessage) -> bool:
        """A message took effect at ``cell``; False if it had before."""
        key = (message.sequence, cell.id)
        if key in self._handled:
            return False
        self._handled.add(key)
        return True

    def note(self, what: str, message: AgentMessage | None, agent: str, attempt: int = 0) -> None:
        """Write an event into the trace."""
        if message is None:
            self.trace.add(Event(self.loop.time(), what, "", agent, "", 0))
        else:
            self.trace.add(
                Event(self.loop.time(), what, message.sender, agent, message.message_type, message.sequence, attempt)
            )

    def taken(self, cell: Cell, ctx: AgentContext[Any]) -> None:
        """A run of a handler begins, for one message or for those of a batch."""
        self._running[cell.id, ctx.message.sequence] = cell
        for listener in self.witness.taken:
            for message in ctx.messages:
                listener(cell, message, ctx.attempt)

    def sending(self, message: AgentMessage) -> None:
        """A caller from outside is about to send a message."""
        for listener in self.witness.sending:
            listener(message)

    def entered(self, message: AgentMessage) -> None:
        """The message was accepted."""
        target = self.system.directory.cells.get(message.to)
        if target is not None:
            for listener in self.witness.entered:
                listener(target, message)

    def withdrawn(self, message: AgentMessage) -> None:
        """A message was accepted, and its sender has taken it back."""
        for listener in self.witness.withdrawn:
            listener(message)

    def turn_started(self, agent_id: str, message: AgentMessage, attempt: int) -> str | None:
        """Nothing: `taken`, which is told the cell, says when a handler begins."""
        return None

    def turn_ended(self, agent_id: str, message: AgentMessage, attempt: int, outcome: TurnOutcome) -> None:
        """A run of a handler has ended."""
        self.trace.turns += 1
        self.note(outcome, message, agent_id, attempt)
        cell = self._running.pop((agent_id, message.sequence), None)  # None: its run never got as far
        if cell is not None:
            for listener in self.witness.ended:
                for member in members_of(message):
                    listener(cell, member, outcome)

    def buried(self, letter: DeadLetter) -> None:
        """There is a new dead letter."""
        self.dead += 1
        self.note(f"dead letter: {letter.reason.value}", letter.message, letter.message.to, letter.attempts)
        for listener in self.witness.buried:
            listener(letter)

    def _quiet(self) -> None:
        for listener in self.witness.quiet:
            listener()


class _Both:
    """Two observers as one."""

    def __init__(self, first: Observer, second: Observer) -> None:
        self._first = first
        self._second = second

    def turn_started(self, agent_id: str, message: AgentMessage, attempt: int) -> str | None:
        first = self._first.turn_started(agent_id, message, attempt)
        return self._second.turn_started(agent_id, message, attempt) or first

    def turn_ended(self, agent_id: str, message: AgentMessage, attempt: int, outcome: TurnOutcome) -> None:
        self._first.turn_ended(agent_id, message, attempt, outcome)
        self._second.turn_ended(agent_id, message, attempt, outcome)
