"""Supervision: a sensor whose line breaks is constructed anew; its mail and its committed state survive.

Prints: 2 readings kept, connection 1 · the line is dead · 3 readings kept, connection 2
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

import msgspec

from moot import Agent, AgentContext, AgentManager, Backoff, Request, RetryPolicy, Supervision, TurnError, handles


class Reading(Request[str]):
    value: float


class Readings(msgspec.Struct, frozen=True):
    values: tuple[float, ...] = ()


class Sensor(Agent[Readings]):
    retry = RetryPolicy(max_attempts=1)
    connections: ClassVar[int] = 0

    async def on_start(self, ctx: AgentContext[Readings]) -> None:
        Sensor.connections += 1
        self.connection = Sensor.connections

    @handles
    async def read(self, message: Reading, ctx: AgentContext[Readings]) -> str:
        if message.value < 0:
            raise ConnectionError("the line is dead")
        ctx.state = Readings(values=(*ctx.state.values, message.value))
        return f"{len(ctx.state.values)} readings kept, connection {self.connection}"


async def main() -> None:
    policy = Supervision(directives=((ConnectionError, "restart"),), backoff=Backoff(first=0.01))
    async with AgentManager(supervision=policy) as manager:
        await manager.register(Sensor("sensor"))
        await manager.ask("sensor", Reading(value=20.5))
        print(await manager.ask("sensor", Reading(value=21.0)))
        try:
            await manager.ask("sensor", Reading(value=-1))
        except TurnError as error:
            print(error.text)
        print(await manager.ask("sensor", Reading(value=21.5)))


if __name__ == "__main__":
    asyncio.run(main())
