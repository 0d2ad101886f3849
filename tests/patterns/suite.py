"""What every pattern is put through: a scenario, run in simulation under every fault, and on disk with kill -9.

A scenario is a module of `tests.patterns.scenarios`. Its client agent is told `Begin`, has the pattern do its work, and
writes what came of it to the shared state, under ``outcome``. What its other agents do that must be done once, they
write there, too. `judge` is given all of it and says what is wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from moot import Agent, AgentManager, Backoff, MootError, Payload, RetryPolicy, SharedState
from moot.testing import Crashed

__all__ = ["CLIENT", "Begin", "Scenario", "load", "outcome", "plainly", "play", "state_of"]

CLIENT = "client"
PATIENCE = 3600.0
"""Virtual seconds after which a scenario without an outcome has failed."""
AGAIN = RetryPolicy(6, Backoff(0.1, 1.0), retry_on=(Crashed, MootError, OSError, TimeoutError))
"""How the agents of a scenario bear the crashes of the simulator."""


class Begin(Payload):
    """Have the pattern do its work."""


class Scenario(Protocol):
    """A module of `tests.patterns.scenarios`."""

    def agents(self) -> Sequence[Agent[Any]]:
        """All agents; one has the id `CLIENT` and handles `Begin`."""
        ...

    def judge(self, state: dict[str, Any]) -> list[str]:
        """What is wrong with the shared state that was left, in which there is an ``outcome``."""
        ...


def load(name: str) -> Scenario:
    """The scenario of that name."""
    found: Scenario = importlib.import_module(f"tests.patterns.scenarios.{name}")
    return found


def plainly(value: Any) -> Any:
    """``value`` as maps, lists and scalars: as shared state gives it back to a reader that names no type."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(value))


async def state_of(shared: SharedState) -> dict[str, Any]:
    """All that is in a shared state."""
    return {key: await shared.get(key) for key in await shared.keys()}


async def outcome(manager: AgentManager) -> Any:
    """What came of it; None while it is not over."""
    return await manager.shared_state.get("outcome", None)


async def play(scenario: Scenario, manager: AgentManager, policies: dict[str, Any] | None = None) -> None:
    """Register the agents, begin once in the life of the system, and return when there is an outcome."""
    for agent in scenario.agents():
        await manager.register(agent, **(policies or {}))
    waited = 0.0
    while await outcome(manager) is None:
        with contextlib.suppress(MootError):
            await manager.tell(CLIENT, Begin(), message_id="begin", timeout=5)
        if waited >= PATIENCE:
            raise AssertionError(f"there is no outcome after {PATIENCE:g} s")
        await asyncio.sleep(1.0)
        waited += 1.0
