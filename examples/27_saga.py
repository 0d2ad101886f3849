"""Saga: a trip is booked step by step, and unbooked in reverse order when a step fails.

Prints: Rome: booked hotel room 1, seat 1, car 1
Prints: Oslo: no car is left; gave back flight, hotel
"""

import asyncio

from moot import Agent, AgentManager, Request, handles
from moot.patterns.saga import RunSaga, SagaAgent, Step


class Book(Request[str]):
    trip: str


class Cancel(Request[bool]):
    trip: str


class Desk(Agent):
    """Books one thing for each trip, and takes it back, also if it was never booked."""

    def __init__(self, agent_id: str, thing: str, left: int) -> None:
        super().__init__(agent_id)
        self.thing = thing
        self.left = left
        self.booked: list[str] = []

    @handles
    async def book(self, message: Book) -> str:
        if len(self.booked) >= self.left:
            raise ValueError(f"no {self.thing} is left")
        self.booked.append(message.trip)
        return f"{self.thing} {len(self.booked)}"

    @handles
    async def cancel(self, message: Cancel) -> bool:
        if message.trip in self.booked:
            self.booked.remove(message.trip)
        return True


def steps(trip: str) -> list[Step]:
    return [Step(desk, Book(trip), undo=Cancel(trip)) for desk in ("hotel", "flight", "cars")]


async def main() -> None:
    async with AgentManager() as manager:
        for agent in (Desk("hotel", "hotel room", 5), Desk("flight", "seat", 5), Desk("cars", "car", 1)):
            await manager.register(agent)
        await manager.register(SagaAgent("agency", steps))

        for trip in ("Rome", "Oslo"):
            result = await manager.ask("agency", RunSaga(trip))
            if result.abort is None:
                print(f"{trip}: booked {', '.join(result.results[desk] for desk in ('hotel', 'flight', 'cars'))}")
            else:
                print(f"{trip}: no car is left; gave back {', '.join(result.abort.undone)}")


if __name__ == "__main__":
    asyncio.run(main())
