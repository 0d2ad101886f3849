"""Moot on the same workloads, written as its documentation tells users to write them."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from measure import FAN_OUT, Watch, main, rate, rss_bytes
from moot import (
    Agent,
    AgentContext,
    AgentManager,
    AgentMessage,
    BreakerPolicy,
    MailboxPolicy,
    Payload,
    RateLimit,
    Request,
    Supervision,
    TimeoutPolicy,
    handles,
)
from moot.patterns.hierarchy import ManagerAgent, TaskRequest
from moot.patterns.hierarchy import Task as Part
from moot.policies import Policies


class Task(Payload):
    number: int
    text: str


class Result(Payload):
    number: int
    text: str


class Double(Request[int]):
    number: int
    text: str


class AskMany(Request[int]):
    rounds: int


class FanOut(Request[int]):
    rounds: int


class Receiver(Agent):
    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.seen = 0

    @handles
    async def receive(self, message: Task) -> None:
        self.seen += 1


class Worker(Agent):
    """Answers an ask with a value, and a task with a message to the manager."""

    @handles
    async def double(self, message: Double) -> int:
        return message.number * 2

    @handles
    async def work(self, message: Task, ctx: AgentContext) -> None:
        ctx.send("lead", Result(number=message.number * 2, text=message.text))


class Doubler(Agent):
    @handles
    async def on_part(self, part: Part) -> int:
        return int(part.content) * 2


class Busy(Agent):
    """Computes for a millisecond."""

    @handles
    async def double(self, message: Double) -> int:
        until = time.perf_counter() + 0.001
        while time.perf_counter() < until:
            pass
        return message.number * 2


class Asker(Agent):
    @handles
    async def ask_many(self, message: AskMany, ctx: AgentContext) -> int:
        for number in range(message.rounds):
            await ctx.ask("worker", Double(number=number, text="hello"), timeout=30)
        return message.rounds


class MessagingLead(Agent):
    """Fans out by messages: a round ends when the last result has come, and the next begins."""

    def __init__(self, agent_id: str, rounds: int) -> None:
        super().__init__(agent_id)
        self.rounds = rounds
        self.round = self.total = self.missing = 0
        self.done = asyncio.Event()

    @handles
    async def begin(self, message: Task, ctx: AgentContext) -> None:
        self.send_round(ctx)

    @handles
    async def collect(self, message: Result, ctx: AgentContext) -> None:
        self.total += message.number
        self.missing -= 1
        if self.missing == 0:
            self.round += 1
            if self.round == self.rounds:
                self.done.set()
            else:
                self.send_round(ctx)

    def send_round(self, ctx: AgentContext) -> None:
        self.missing = FAN_OUT
        for index in range(FAN_OUT):
            ctx.send(f"worker_{index}", Task(number=self.round, text="hello"))


class GatheringLead(Agent):
    """Fans out by asks: `gather` returns when all 100 answers are there."""

    @handles
    async def fan_out(self, message: FanOut, ctx: AgentContext) -> int:
        asks = [
            ctx.ask(f"worker_{index}", Double(number=message.rounds, text="hello"), timeout=30)
            for index in range(FAN_OUT)
        ]
        return sum(await ctx.gather(asks))


class Count(Request[int]):
    number: int
    level: int


class Node(Agent):
    made = 0

    @handles
    async def count(self, message: Count, ctx: AgentContext) -> int:
        Node.made += 1
        if message.level == 0:
            return message.number
        width = 10 ** (message.level - 1)
        asks = []
        for index in range(10):
            number = message.number + index * width
            child = f"node_{message.level - 1}_{number}"
            await ctx.spawn(Node(child))
            asks.append(ctx.ask(child, Count(number=number, level=message.level - 1), timeout=60))
        return sum(await ctx.gather(asks))


class Silent:
    """An observer that does nothing."""

    def turn_started(self, agent_id: str, message: AgentMessage, attempt: int) -> str | None:
        return None

    def turn_ended(self, agent_id: str, message: AgentMessage, attempt: int, outcome: str) -> None: ...


BREATH = 1000
"""After so many tells the receiver is let to catch up: one whose mailbox drops would lose them otherwise."""

FEATURES: dict[str, Policies] = {
    "dropping mailbox": {"mailbox": MailboxPolicy(overflow="drop_oldest", capacity=2 * BREATH)},
    "rate limit": {"rate_limit": RateLimit(rate=1e9)},
    "run timeout": {"timeouts": TimeoutPolicy(run_timeout=60)},
    "breaker": {"breaker": BreakerPolicy()},
    "supervision": {"supervision": Supervision(directives=((ValueError, "restart"),))},
    "deduplication": {},
    "observer": {},
}
"""What can be switched on, by name; the last two are not policies."""

RELIABILITY = ("dropping mailbox", "run timeout", "supervision", "breaker")
"""What keeps the promises on the memory backend, where nothing is delivered twice."""


def switched(manager: AgentManager, features: Iterable[str]) -> Policies:
    """Switch features on; the policies to register agents with."""
    chosen: Policies = {}
    for feature in features:
        chosen.update(FEATURES[feature])
    if "observer" in features:
        manager.observe(Silent())
    if "deduplication" in features and manager._system is not None:
        manager._system.delivery.may_repeat = True
    return chosen


async def tell(size: int, *features: str) -> dict[str, float]:
    async with AgentManager() as manager:
        receiver = Receiver("receiver")
        await manager.register(receiver, **switched(manager, features))
        watch = Watch()
        for number in range(size):
            await manager.tell("receiver", Task(number=number, text="hello"))
            if features and not number % BREATH:
                await manager.settle()
        await manager.settle()
        seconds = watch.stop()
        assert receiver.seen == size
    return rate(size, seconds)


async def ask(size: int, *features: str) -> dict[str, float]:
    async with AgentManager() as manager:
        await manager.register(Worker("worker"), **switched(manager, features))
        watch = Watch()
        for number in range(size):
            await manager.ask("worker", Double(number=number, text="hello"), timeout=30)
        return rate(size, watch.stop())


async def ask_in_turn(size: int, *features: str) -> dict[str, float]:
    async with AgentManager() as manager:
        policies = switched(manager, features)
        await manager.register(Worker("worker"), **policies)
        await manager.register(Asker("asker"), **policies)
        watch = Watch()
        for _ in range(size // FAN_OUT):
            await manager.ask("asker", AskMany(rounds=FAN_OUT), timeout=60)
        return rate(size, watch.stop())


async def ask_in_turn_durable(size: int) -> dict[str, float]:
    """`ask_in_turn` on a file: each answer is stored before the turn that asked can end."""
    with tempfile.TemporaryDirectory() as folder:
        async with AgentManager(f"sqlite:///{folder}/moot.db") as manager:
            await manager.register(Worker("worker"))
            await manager.register(Asker("asker"))
            watch = Watch()
            for _ in range(size // FAN_OUT):
                await manager.ask("asker", AskMany(rounds=FAN_OUT), timeout=60)
            return rate(size, watch.stop())


async def lag(size: int) -> dict[str, float]:
    """How late a timer of 2 ms comes, at worst, while somebody asks an agent that computes for 1 ms each time."""
    async with AgentManager() as manager:
        await manager.register(Busy("busy"))
        loop = asyncio.get_running_loop()
        lags: list[float] = []

        async def tick() -> None:
            while True:
                due = loop.time() + 0.002
                await asyncio.sleep(0.002)
                lags.append(loop.time() - due)

        ticker = asyncio.create_task(tick())
        for number in range(size):
            await manager.ask("busy", Double(number=number, text="hello"), timeout=30)
        ticker.cancel()
    lags.sort()
    return {"median_ms": lags[len(lags) // 2] * 1000, "worst_ms": lags[-1] * 1000}


async def fan_out(size: int) -> dict[str, float]:
    async with AgentManager() as manager:
        for index in range(FAN_OUT):
            await manager.register(Worker(f"worker_{index}"))
        lead = MessagingLead("lead", size)
        await manager.register(lead)
        watch = Watch()
        await manager.tell("lead", Task(number=0, text="begin"))
        await lead.done.wait()
        seconds = watch.stop()
        assert lead.total == sum(range(size)) * 2 * FAN_OUT
    return rate(size, seconds)


async def fan_out_gather(size: int) -> dict[str, float]:
    async with AgentManager() as manager:
        for index in range(FAN_OUT):
            await manager.register(Worker(f"worker_{index}"))
        await manager.register(GatheringLead("lead"))
        watch = Watch()
        for number in range(size):
            await manager.ask("lead", FanOut(rounds=number), timeout=60)
        return rate(size, watch.stop())


async def hierarchy(size: int) -> dict[str, float]:
    """A manager that delegates to 100 workers, a task after the other."""
    async with AgentManager() as manager:
        for index in range(FAN_OUT):
            await manager.register(Doubler(f"worker_{index}"))
        await manager.register(ManagerAgent("boss", [f"worker_{index}" for index in range(FAN_OUT)]))
        total = 0
        watch = Watch()
        for number in range(size):
            total += sum(await manager.ask("boss", TaskRequest([number] * FAN_OUT), timeout=60))
        seconds = watch.stop()
    assert total == sum(range(size)) * 2 * FAN_OUT
    return rate(size, seconds)


async def idle(size: int) -> dict[str, float]:
    async with AgentManager() as manager:
        before, watch = rss_bytes(), Watch()
        for index in range(size):
            await manager.register(Receiver(f"idle_{index}"))
        seconds = watch.stop()
        grown = rss_bytes() - before
    return {"cpu_s": seconds.cpu, "wall_s": seconds.wall, "bytes_per_agent": grown / size}


async def tree(size: int) -> dict[str, float]:
    level = len(str(size)) - 1
    async with AgentManager() as manager:
        await manager.register(Node("root"))
        watch = Watch()
        total = await manager.ask("root", Count(number=0, level=level), timeout=60)
        seconds = watch.stop()
    assert total == sum(range(10**level))
    return rate(Node.made, seconds)


async def growth(size: int) -> dict[str, float]:
    """Memory after ``size`` messages, less memory after a tenth of them."""
    async with AgentManager() as manager:
        await manager.register(Receiver("receiver"))
        early = 0
        for number in range(size):
            await manager.tell("receiver", Task(number=number, text="hello"))
            if number == size // 10:
                await manager.settle()
                early = rss_bytes()
        await manager.settle()
        return {"grown_mb": (rss_bytes() - early) / 1e6}


WORKLOADS = {"tell": tell, "ask": ask, "ask_in_turn": ask_in_turn}


def with_features(name: str, *features: str) -> Callable[[int], Coroutine[Any, Any, dict[str, float]]]:
    """One of the three basic workloads, with features switched on."""
    return lambda size: WORKLOADS[name](size, *features)


if __name__ == "__main__":
    main(
        asyncio.run,
        **WORKLOADS,
        **{f"{name}+on": with_features(name, *RELIABILITY) for name in WORKLOADS},
        **{f"{name}+all": with_features(name, *FEATURES) for name in WORKLOADS},
        **{f"{name}+{feature}": with_features(name, feature) for name in WORKLOADS for feature in FEATURES},
        ask_in_turn_durable=ask_in_turn_durable,
        lag=lag,
        fan_out=fan_out,
        fan_out_gather=fan_out_gather,
        hierarchy=hierarchy,
        idle=idle,
        tree=tree,
        growth=growth,
    )
