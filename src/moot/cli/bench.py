"""`moot bench`: what this machine does, in a few seconds.

Tell, ask and fan-out through a manager, each beside the least that asyncio itself
needs for it (a bare queue). The comparison with error bars and rivals is the
repository's `benchmarks/`; this one answers "is it fast here, too?".
"""

from __future__ import annotations

import asyncio
import json as jsonlib
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
import typer

from moot import Agent, AgentContext, AgentManager, Payload, Request, handles
from moot.cli.app import UsageError

__all__ = ["Row", "bench"]

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


def bench(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="tell, ask or fan-out; all without it.")] = None,
    size: Annotated[int | None, typer.Option(min=1, help="Operations to run.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a list of objects instead of a table.")] = False,
) -> None:
    """Measure tell, ask and fan-out on this machine, beside a bare asyncio queue."""
    if name is not None and name not in WORKLOADS:
        raise UsageError(f"there is no benchmark {name!r}; choose one of: {', '.join(WORKLOADS)}")
    rows = [measure(chosen, size) for chosen in ([name] if name else WORKLOADS)]
    if json:
        print(jsonlib.dumps(msgspec.to_builtins(rows), indent=2))
        return
    print(f"{'':10}{'per second':>12}{'µs each':>10}{'bare queue':>12}{'ratio':>8}")
    for row in rows:
        print(f"{row.name:10}{1e6 / row.cpu_us:12,.0f}{row.cpu_us:10.2f}{row.floor_us:12.2f}{row.ratio:8.2f}")
    print("CPU time of one run; the ratio is to the least that asyncio needs, and above 1 is faster.")


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
