"""The floors: the least that asyncio itself costs for each workload.

An actor here is a task that waits on an unbounded `asyncio.Queue`; an ask is a future put into the queue with the
message. No types, no bounds, no errors, no retries: whatever a runtime adds, it adds to this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from measure import FAN_OUT, Watch, main, message, rate, rss_bytes

Message = dict[str, Any]


class Actor:
    """A queue and the task that empties it."""

    def __init__(self, handler: Callable[[Any], Awaitable[None]]) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.handler = handler
        self.task = asyncio.get_running_loop().create_task(self.run())

    async def run(self) -> None:
        queue, handler = self.queue, self.handler
        while True:
            await handler(await queue.get())


async def tell(size: int) -> dict[str, float]:
    done, seen = asyncio.Event(), 0

    async def handler(_: Message) -> None:
        nonlocal seen
        seen += 1
        if seen == size:
            done.set()

    actor = Actor(handler)
    watch = Watch()
    for number in range(size):
        await actor.queue.put(message(number))
    await done.wait()
    return rate(size, watch.stop())


async def echo(request: tuple[Message, asyncio.Future[Message]]) -> None:
    received, answer = request
    answer.set_result({"number": received["content"]["number"]})


async def ask(size: int) -> dict[str, float]:
    actor, loop = Actor(echo), asyncio.get_running_loop()
    watch = Watch()
    for number in range(size):
        answer: asyncio.Future[Message] = loop.create_future()
        await actor.queue.put((message(number), answer))
        await answer
    return rate(size, watch.stop())


async def ask_in_turn(size: int) -> dict[str, float]:
    """The asker is an actor too: its handler asks 100 times for each message it gets."""
    actor, loop = Actor(echo), asyncio.get_running_loop()

    async def handler(request: tuple[Message, asyncio.Future[int]]) -> None:
        for number in range(FAN_OUT):
            answer: asyncio.Future[Message] = loop.create_future()
            await actor.queue.put((message(number), answer))
            await answer
        request[1].set_result(FAN_OUT)

    asker = Actor(handler)
    watch = Watch()
    for turn in range(size // FAN_OUT):
        finished: asyncio.Future[int] = loop.create_future()
        await asker.queue.put((message(turn), finished))
        await finished
    return rate(size, watch.stop())


async def fan_out(size: int) -> dict[str, float]:
    """One message to each of 100 workers, and their 100 results in the mailbox of the one who sent."""
    inbox: asyncio.Queue[Message] = asyncio.Queue()

    async def work(received: Message) -> None:
        inbox.put_nowait(message(received["content"]["number"] * 2, "manager"))

    workers = [Actor(work) for _ in range(FAN_OUT)]
    total = 0
    watch = Watch()
    for number in range(size):
        for index, worker in enumerate(workers):
            worker.queue.put_nowait(message(number, f"worker_{index}"))
        for _ in range(FAN_OUT):
            total += (await inbox.get())["content"]["number"]
    seconds = watch.stop()
    assert total == sum(range(size)) * 2 * FAN_OUT
    return rate(size, seconds)


async def fan_out_gather(size: int) -> dict[str, float]:
    """A request to each of 100 workers, each with a future for its answer, and all futures awaited together."""
    loop = asyncio.get_running_loop()

    async def double(request: tuple[Message, asyncio.Future[int]]) -> None:
        received, answer = request
        answer.set_result(received["content"]["number"] * 2)

    workers = [Actor(double) for _ in range(FAN_OUT)]
    total = 0
    watch = Watch()
    for number in range(size):
        answers: list[asyncio.Future[int]] = []
        for index, worker in enumerate(workers):
            answer: asyncio.Future[int] = loop.create_future()
            worker.queue.put_nowait((message(number, f"worker_{index}"), answer))
            answers.append(answer)
        total += sum(await asyncio.gather(*answers))
    seconds = watch.stop()
    assert total == sum(range(size)) * 2 * FAN_OUT
    return rate(size, seconds)


async def idle(size: int) -> dict[str, float]:
    async def handler(_: Message) -> None: ...

    before, watch = rss_bytes(), Watch()
    actors = [Actor(handler) for _ in range(size)]
    await asyncio.sleep(0)  # each task runs up to its queue
    seconds = watch.stop()
    return {"cpu_s": seconds.cpu, "wall_s": seconds.wall, "bytes_per_agent": (rss_bytes() - before) / len(actors)}


class Node:
    """Skynet: ten children a node, down to the leaves, which send their number up."""

    made = 0

    def __init__(self, parent: asyncio.Queue[int], number: int, level: int) -> None:
        Node.made += 1
        self.inbox: asyncio.Queue[int] = asyncio.Queue()
        self.parent, self.number, self.level = parent, number, level
        self.task = asyncio.get_running_loop().create_task(self.run())

    async def run(self) -> None:
        if self.level == 0:
            self.parent.put_nowait(self.number)
            return
        width = 10 ** (self.level - 1)
        children = [Node(self.inbox, self.number + index * width, self.level - 1) for index in range(10)]
        self.parent.put_nowait(sum([await self.inbox.get() for _ in children]))


async def tree(size: int) -> dict[str, float]:
    level = len(str(size)) - 1
    root: asyncio.Queue[int] = asyncio.Queue()
    watch = Watch()
    top = Node(root, 0, level)
    total = await root.get()
    seconds = watch.stop()
    assert total == sum(range(10**level))
    await top.task
    return rate(Node.made, seconds)


if __name__ == "__main__":
    main(
        asyncio.run,
        tell=tell,
        ask=ask,
        ask_in_turn=ask_in_turn,
        fan_out=fan_out,
        fan_out_gather=fan_out_gather,
        hierarchy=fan_out,
        idle=idle,
        tree=tree,
    )
