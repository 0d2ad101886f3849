"""A swarm of agents: each boid is one, moves by what it hears, and one that falls silent holds up nobody for long.

Prints: 60 boids, order 0.06 · order 1.00 after 200 ticks, 59 heard of, silent: swarm_7
"""

import asyncio

from moot import AgentManager
from moot.patterns.swarm import Flock, Fly, swarm_of


async def main() -> None:
    flock = Flock(60, seed=2)
    print(f"{len(flock)} boids, order {flock.order():.2f}")
    async with AgentManager() as manager:
        for agent in swarm_of(flock, patience=0.1, forget_after=3):
            await manager.register(agent)
        await manager.ask("swarm", Fly(100))

        await manager.unregister("swarm_7")
        report = await manager.ask("swarm", Fly(200))

    print(f"order {report.order:.2f} after {report.tick} ticks, {report.heard} heard of, silent: {report.silent[0]}")


if __name__ == "__main__":
    asyncio.run(main())
