"""The workloads of `moot bench`, each beside the least that asyncio itself needs for it (a bare queue)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from moot import Agent, AgentContext, AgentManager, Payload, Request, handles

__all__ = ["WORKLOADS", "Row", "measure"]

FAN_OUT = 100


class Row(msgspec.Struct, frozen=True):
    """One workload: CPU time per operation in microseconds, and the floor's."""

    name: str
    size: int
    cpu_us: float
    floor_us: float

    @property
    def ratio(self) -> float:
        """How many of these operations fit in the time of one bare one; above 1 is faster."""
        return self.floor_us / self.cpu_us


class Task(Payload):
    number: int


class Double(Request[int]):
    number: int


class SumOf(Request[int]):
    number: int


class Worker(Agent):
    @handles
    async def task(self, message: Task) -> None: ...

    @handles
    async def double(self, message: Double) -> int:
        return message.number * 2


class Lead(Agent):
    @handles
    async def sum_of(self, message: SumOf, ctx: AgentContext) -> int:
        asks = [ctx.ask(f"worker_{index}", Double(number=message.number)) for index in range(FAN_OUT)]
        return sum(await ctx.gather(asks))


def measure(name: str, size: int | None) -> Row:
    """Run one workload and its floor."""
    ours, floor, usual = WORKLOADS[name]
    count = size or usual
    floor_us = asyncio.run(timed(floor, count))
    return Row(name, count, asyncio.run(timed(ours, count)), floor_us)


async def timed(workload: Workload, count: int) -> float:
    """CPU microseconds per operation."""
    started = time.process_time()
    await workload(count)
    return max(time.process_time() - started, 1e-9) / count * 1e6


async def tell(count: int) -> None:
    async with AgentManager() as manager:
        await manager.register(Worker("worker"))
        for number in range(count):
            await manager.tell("worker", Task(number=number))
        await manager.settle()


async def ask(count: int) -> None:
    async with AgentManager() as manager:
        await manager.register(Worker("worker"))
        for number in range(count):
            await manager.ask("worker", Double(number=number))


async def fan_out(count: int) -> None:
    async with AgentManager() as manager:
        for index in range(FAN_OUT):
            await manager.register(Worker(f"worker_{index}"))
        await manager.register(Lead("lead"))
        for number in range(count):
            await manager.ask("lead", SumOf(number=number))


class BareActor:
    """A queue and the task that empties it: the floor."""

    def __init__(self, handler: Callable[[Any], None]) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.task = asyncio.get_running_loop().create_task(self.run(handler))

    async def run(self, handler: Callable[[Any], None]) -> None:
        """Handle what comes, for ever."""
        while True:
            handler(await self.queue.get())

    async def stop(self) -> None:
        """Cancel the task and wait for its end."""
        self.task.cancel()
        await asyncio.wait([self.task])


async def bare_tell(count: int) -> None:
    done, left = asyncio.Event(), count

    def handler(_: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done.set()

    actor = BareActor(handler)
    for number in range(count):
        await actor.queue.put({"to": "worker", "content": {"number": number}, "message_type": "task"})
    await done.wait()
    await actor.stop()


async def bare_ask(count: int) -> None:
    actor = BareActor(lambda request: request[1].set_result(request[0]["content"]["number"] * 2))
    for number in range(count):
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        await actor.queue.put(({"to": "worker", "content": {"number": number}, "message_type": "double"}, answer))
        await answer
    await actor.stop()


async def bare_fan_out(count: int) -> None:
    inbox: asyncio.Queue[int] = asyncio.Queue()
    workers = [BareActor(lambda task: inbox.put_nowait(task["content"]["number"] * 2)) for _ in range(FAN_OUT)]
    for number in range(count):
        for worker in workers:
            worker.queue.put_nowait({"to": "worker", "content": {"number": number}, "message_type": "double"})
        sum([await inbox.get() for _ in workers])
    for worker in workers:
        await worker.stop()


Workload = Callable[[int], Awaitable[None]]

WORKLOADS: dict[str, tuple[Workload, Workload, int]] = {
    "tell": (tell, bare_tell, 50_000),
    "ask": (ask, bare_ask, 10_000),
    "fan-out": (fan_out, bare_fan_out, 100),
}
