"""autogen-core 0.7.5: the same workloads on its `SingleThreadedAgentRuntime`.

Run by the Python of `.venv-autogen` (see setup.sh). Its messages are dataclasses with a dict inside, as it wants them;
logging is off. A tell is a publication to a topic with one subscriber: its `send_message` waits for the handler.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autogen_core import (
    AgentId,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    TopicId,
    TypeSubscription,
    message_handler,
)

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from measure import FAN_OUT, Watch, main, rate

logging.disable(logging.CRITICAL)


@dataclass
class Task:
    sender: str
    to: str
    content: dict[str, Any]


@dataclass
class Go:
    rounds: int


@dataclass
class Answer:
    number: int


def task(number: int, to: str = "b") -> Task:
    return Task("a", to, {"number": number, "text": "hello"})


class Receiver(RoutedAgent):  # type: ignore[misc]
    seen = 0
    expected = 0
    done: asyncio.Event

    @message_handler  # type: ignore[untyped-decorator]
    async def receive(self, message: Task, ctx: MessageContext) -> None:
        Receiver.seen += 1
        if Receiver.seen == Receiver.expected:
            Receiver.done.set()


class Echo(RoutedAgent):  # type: ignore[misc]
    @message_handler  # type: ignore[untyped-decorator]
    async def echo(self, message: Task, ctx: MessageContext) -> Answer:
        return Answer(message.content["number"])


class Asker(RoutedAgent):  # type: ignore[misc]
    @message_handler  # type: ignore[untyped-decorator]
    async def ask(self, message: Go, ctx: MessageContext) -> Answer:
        echo = AgentId("echo", "b")
        for number in range(message.rounds):
            await self.send_message(task(number), echo)
        return Answer(message.rounds)


class FanOut(RoutedAgent):  # type: ignore[misc]
    @message_handler  # type: ignore[untyped-decorator]
    async def fan_out(self, message: Go, ctx: MessageContext) -> Answer:
        total = 0
        workers = [AgentId("echo", f"worker_{index}") for index in range(FAN_OUT)]
        for number in range(message.rounds):
            asks = [self.send_message(task(number, worker.key), worker) for worker in workers]
            total += sum(answer.number for answer in await asyncio.gather(*asks))
        return Answer(total)


async def started() -> SingleThreadedAgentRuntime:
    runtime = SingleThreadedAgentRuntime()
    for kind in (Receiver, Echo, Asker, FanOut):
        name = kind.__name__.lower()
        await kind.register(runtime, name, lambda kind=kind, name=name: kind(name))
    await runtime.add_subscription(TypeSubscription("work", "receiver"))
    runtime.start()
    return runtime


async def tell(size: int) -> dict[str, float]:
    runtime = await started()
    Receiver.expected, Receiver.done = size, asyncio.Event()
    topic = TopicId("work", "b")
    watch = Watch()
    for number in range(size):
        await runtime.publish_message(task(number), topic)
    await Receiver.done.wait()
    return rate(size, watch.stop())


async def ask(size: int) -> dict[str, float]:
    runtime, echo = await started(), AgentId("echo", "b")
    watch = Watch()
    for number in range(size):
        await runtime.send_message(task(number), echo)
    return rate(size, watch.stop())


async def ask_in_turn(size: int) -> dict[str, float]:
    runtime, asker = await started(), AgentId("asker", "b")
    watch = Watch()
    for _ in range(size // FAN_OUT):
        await runtime.send_message(Go(FAN_OUT), asker)
    return rate(size, watch.stop())


async def fan_out(size: int) -> dict[str, float]:
    runtime = await started()
    watch = Watch()
    answer = await runtime.send_message(Go(size), AgentId("fanout", "b"))
    seconds = watch.stop()
    assert answer.number == sum(range(size)) * FAN_OUT
    return rate(size, seconds)


if __name__ == "__main__":
    main(
        asyncio.run,
        tell=tell,
        ask=ask,
        ask_in_turn=ask_in_turn,
        fan_out=fan_out,
        fan_out_gather=fan_out,
        hierarchy=fan_out,
    )
