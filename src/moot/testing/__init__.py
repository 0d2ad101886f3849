"""Tools for testing agents: simulation, a virtual clock, a context without a system, an engine with a script.

``simulate(build, seed=)`` runs a whole system in an order that the seed picks, with faults,
and checks the laws of the runtime; ``search`` does it for many seeds and shrinks what fails;
``run(coroutine)`` runs on a virtual clock; ``FakeContext`` tests one handler as a
function; ``ScriptedEngine`` answers from a list and can assert that it was used up;
``settle(manager)`` waits until nothing is left to do. `moot.testing.conformance` is the suite of backends.
"""

from moot.engine.scripted import ScriptedEngine
from moot.manager.manager import AgentManager
from moot.testing.fake_context import FakeContext
from moot.testing.simulation.backend import SimulatedBackend
from moot.testing.simulation.deadlocks import stuck
from moot.testing.simulation.faults import Crashed, Fault, Faults
from moot.testing.simulation.invariants import Invariant
from moot.testing.simulation.laws import LAWS
from moot.testing.simulation.loop import Livelock, SimulatedLoop
from moot.testing.simulation.outcome import Simulation, SimulationFailed, Violation, report
from moot.testing.simulation.search import Search, search
from moot.testing.simulation.simulate import Build, simulate
from moot.testing.simulation.world import SimulatedManager
from moot.testing.virtual_loop import Stalled, VirtualClockLoop, run

__all__ = [
    "LAWS",
    "Build",
    "Crashed",
    "FakeContext",
    "Fault",
    "Faults",
    "Invariant",
    "Livelock",
    "ScriptedEngine",
    "Search",
    "SimulatedBackend",
    "SimulatedLoop",
    "SimulatedManager",
    "Simulation",
    "SimulationFailed",
    "Stalled",
    "Violation",
    "VirtualClockLoop",
    "report",
    "run",
    "search",
    "settle",
    "simulate",
    "stuck",
]


async def settle(manager: AgentManager) -> None:
    """Return when no message waits for a turn and no turn is under way."""
    await manager.settle()
