"""Tools for testing agents: a virtual clock, a context without a system, an engine with a script.

``run(coroutine)`` runs on a virtual clock; ``FakeContext`` tests one handler as a
function; ``ScriptedEngine`` answers from a list and can assert that it was used up;
``settle(manager)`` waits until nothing is left to do.
"""

from moot.engine.scripted import ScriptedEngine
from moot.manager import AgentManager
from moot.testing.deadlocks import stuck
from moot.testing.fake_context import FakeContext
from moot.testing.virtual_loop import Stalled, VirtualClockLoop, run

__all__ = ["FakeContext", "ScriptedEngine", "Stalled", "VirtualClockLoop", "run", "settle", "stuck"]


async def settle(manager: AgentManager) -> None:
    """Return when no message waits for a turn and no turn is under way."""
    await manager.settle()
