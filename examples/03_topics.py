"""Topics: who publishes need not know who listens.

Publishing never waits. A full subscriber yields a dead letter; no subscriber at all does not.
Prints: dashboard: oslo is at -4 °C, then alarm: frost in oslo, and what each listener has seen
"""

import asyncio

from moot import Agent, AgentContext, AgentManager, Payload, handles


class Reading(Payload):
    place: str
    celsius: float


class Sensor(Agent):
    @handles
    async def measured(self, message: Reading, ctx: AgentContext) -> None:
        ctx.publish("weather", message)


class Dashboard(Agent):
    topics = ("weather",)

    @handles
    async def show(self, message: Reading) -> None:
        print(f"dashboard: {message.place} is at {message.celsius:.0f} °C")


class Alarm(Agent):
    topics = ("weather",)

    @handles
    async def check(self, message: Reading) -> None:
        if message.celsius < 0:
            print(f"alarm: frost in {message.place}")


async def main() -> None:
    async with AgentManager() as manager:
        for agent in (Sensor("sensor"), Dashboard("dashboard"), Alarm("alarm")):
            await manager.register(agent)
        await manager.tell("sensor", Reading(place="oslo", celsius=-4))
        await manager.settle()  # until nothing is left to do
        await manager.publish("weather", Reading(place="rome", celsius=17))  # from outside, too
        await manager.publish("sports", Reading(place="nobody listens", celsius=0))
        await manager.settle()


if __name__ == "__main__":
    asyncio.run(main())
