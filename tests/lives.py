"""Two lives of a process on one simulated disk: what was begun in the first is ended in the second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from moot import Agent, AgentManager, Payload
from moot.testing import SimulatedBackend

__all__ = ["two_lives"]


async def two_lives(
    disk: SimulatedBackend, make: Callable[[], Sequence[Agent[Any]]], told: Payload, *, seconds: float = 20
) -> AgentManager:
    """In the first life the last agent is told something, and the disk fails within ``seconds``; the second settles.

    Returns the manager of the second life, which has stopped.
    """
    for life in range(2):
        manager = AgentManager(disk)
        agents = make()
        for agent in agents:
            await manager.register(agent)
        await manager.start()
        if life:
            await manager.settle()
        else:
            await manager.tell(agents[-1].id, told)
            await asyncio.sleep(seconds)
        await manager.stop(drain=bool(life))
    return manager
