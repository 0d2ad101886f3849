"""`moot demo scatter_gather`: a question to ten sensors, whose answers come at different times."""

from __future__ import annotations

import asyncio

from moot import Agent, AgentContext, AgentManager, Request, handles
from moot.cli.demos import SEED, play
from moot.patterns.scatter_gather import Gathered, scatter_gather

__all__ = ["scatter"]

SENSORS, NEEDED, PATIENCE = 10, 6, 8.0


class Temperature(Request[float]):
    pass


class Read(Request[Gathered[float]]):
    quorum: int | None = None


class Sensor(Agent):
    capabilities = ("measuring",)
    cancel_with_asker = True

    def __init__(self, agent_id: str, took: dict[str, float]) -> None:
        super().__init__(agent_id)
        self.took = took

    @handles
    async def measure(self, message: Temperature, ctx: AgentContext) -> float:
        dice = ctx.random
        self.took[self.id] = seconds = dice.expovariate(1 / 3)
        await asyncio.sleep(seconds)
        if dice.random() < 0.15:
            raise OSError("broken")
        return 20 + dice.gauss(0, 0.5)


async def read(message: Read, ctx: AgentContext) -> Gathered[float]:
    return await scatter_gather(ctx, "capability:measuring", Temperature(), quorum=message.quorum, timeout=PATIENCE)


async def main(seed: int) -> None:
    for quorum in (NEEDED, None):
        took: dict[str, float] = {}
        async with AgentManager(seed=seed) as manager:
            for number in range(SENSORS):
                await manager.register(Sensor(f"sensor_{number}", took))
            await manager.register(read)
            began = asyncio.get_running_loop().time()
            found = await manager.ask("read", Read(quorum), timeout=60)
            seconds = asyncio.get_running_loop().time() - began
        wanted = f"{NEEDED} of {SENSORS}" if quorum else f"all who answer within {PATIENCE:g} s"
        print(f"{wanted}: {len(found.answers)} answers after {seconds:.1f} s")
        for sensor, needed in took.items():
            answer = found.answers.get(sensor)
            told = (
                f"{answer:.1f} °C" if answer is not None else "failed" if sensor in found.failures else "not waited for"
            )
            print(f"  {sensor:<10}{'━' * round(min(needed, seconds) * 4):<34}{told}")
        print()


def scatter(seed: SEED = 1) -> None:
    """Ask ten sensors, and wait for six of them, or for all that answer in time."""
    play(main(seed))  # who failed is shown in the chart
