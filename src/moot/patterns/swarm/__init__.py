"""Swarm: boids that fly together, as arrays (`Flock`), in one agent (`FlockAgent`), or as an agent each (`SwarmAgent`).

Each boid looks at those near it, keeps apart from them, flies as they do and stays with them; nobody leads. Also
Vicsek's model, in which noise decides whether a flock comes about.

It needs numpy and scipy: ``python -m pip install 'moot[swarm]'``. With numba (``'moot[swarm,numba]'``) large flocks are
several times faster.
"""

import importlib.util

if any(importlib.util.find_spec(name) is None for name in ("numpy", "scipy")):
    raise ModuleNotFoundError(
        "the swarm pattern needs numpy and scipy; install them with: python -m pip install 'moot[swarm]'"
    )

from moot.patterns.swarm.agents import Swarm, SwarmAgent, swarm_of
from moot.patterns.swarm.flock import Flock, FlockState, polar_order
from moot.patterns.swarm.flock_agent import FlockAgent
from moot.patterns.swarm.messages import (
    Advance,
    AdvanceTo,
    Fly,
    GetFlock,
    GetPositions,
    Neighbourhood,
    PositionUpdate,
    Report,
    SwarmReport,
)
from moot.patterns.swarm.rules import Boids, Box, Vicsek

__all__ = [
    "Advance",
    "AdvanceTo",
    "Boids",
    "Box",
    "Flock",
    "FlockAgent",
    "FlockState",
    "Fly",
    "GetFlock",
    "GetPositions",
    "Neighbourhood",
    "PositionUpdate",
    "Report",
    "Swarm",
    "SwarmAgent",
    "SwarmReport",
    "Vicsek",
    "polar_order",
    "swarm_of",
]
