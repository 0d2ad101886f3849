"""Nothing disappears and nothing is stranded, whatever agents do: random programs, stopped at a random moment.

Agents send, ask, gather, spawn, schedule, forward, defer, fail, cancel and give up at random, with small mailboxes,
several turns at once, and colleagues that come and go. Each told message carries a number of its own. When the manager
has stopped, every number that a committed turn or an accepted call has sent was handled in exactly one committed turn
or is a dead letter, every ask has ended, and no table, lane, task or timer is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Coroutine
from itertools import count
from typing import Any

import pytest

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    AgentMessage,
    Backoff,
    DeliveryError,
    MailboxPolicy,
    MootError,
    Request,
    Retry,
    RetryPolicy,
    handles,
)
from moot.telemetry.observer import TurnOutcome
from moot.testing import run

PROGRAMS_PER_TEST = 40
RESIDENTS = 5


class Step(Request[int]):
    """One message: what its handler does is drawn from ``seed``."""

    number: int
    seed: int
    depth: int


class World:
    """What is known about one program from outside the runtime."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.numbers = count()
        self.outputs: dict[tuple[str, int], list[int]] = {}
        self.accepted: set[int] = set()
        self.told: set[int] = set()
        self.handled: Counter[int] = Counter()
        self.children = count()
        self.passed_on: set[tuple[str, int]] = set()
        self.forwarded: Counter[int] = Counter()
        self.scheduled: set[int] = set()  # what is scheduled is given up when the manager stops

    def step(self, dice: random.Random, depth: int) -> Step:
        return Step(next(self.numbers), dice.getrandbits(32), depth)

    def turn_started(self, agent_id: str, message: AgentMessage, attempt: int) -> str | None:
        self.outputs[message.id, attempt] = []
        return None

    def turn_ended(self, agent_id: str, message: AgentMessage, attempt: int, outcome: TurnOutcome) -> None:
        outputs = self.outputs.pop((message.id, attempt))
        if outcome == "committed":
            self.accepted.update(outputs)
            self.handled[message.content.number] += (message.id, attempt) not in self.passed_on


class Node(Agent):
    def __init__(self, agent_id: str, world: World) -> None:
        super().__init__(agent_id)
        self.world = world

    async def on_start(self, ctx: AgentContext) -> None:
        await asyncio.sleep(random.Random(self.id).choice((0, 0, 1)))

    async def on_stop(self, ctx: AgentContext) -> None:
        if random.Random(self.id).random() < 0.1:
            raise ValueError("cannot stop")

    @handles
    async def on_step(self, message: Step, ctx: AgentContext) -> int:
        dice = random.Random(message.seed * 4 + ctx.attempt)
        for _ in range(dice.randint(0, 3)):
            deed = dice.choice(DEEDS)
            await deed(self, message, ctx, dice)
        return message.number

    def whom(self, dice: random.Random) -> str:
        return dice.choice([f"node_{n}" for n in range(RESIDENTS)] + ["capability:work", "room/a", "room/b", "nobody"])

    def more(self, message: Step, dice: random.Random) -> Step | None:
        return self.world.step(dice, message.depth - 1) if message.depth else None

    async def send(self, message: Step, ctx: AgentContext, dice: random.Random) -> None:
        for _ in range(dice.randint(1, 4)):
            if step := self.more(message, dice):
                ctx.send(self.whom(dice), step)
                self.world.outputs[ctx.message.id, ctx.attempt].append(step.number)

    async def schedule(self, message: Step, ctx: AgentContext, dice: random.Random) -> None:
        if step := self.more(message, dice):
            ctx.schedule(dice.random(), step, to=self.whom(dice))
            self.world.scheduled.add(step.number)
            self.world.outputs[ctx.message.id, ctx.attempt].append(step.number)

    async def progress(self, message: Step, ctx: AgentContext, dice: random.Random) -> None:
        if step := self.more(message, dice):
            self.world.accepted.add(step.number)
            ctx.progress(self.whom(dice), step)

    async def ask(self, message: Step, ctx: AgentContext, dice: random.Random) -> None:
        if step := self.more(message, dice):
            with contextlib.suppress(MootError, RuntimeError):
                await ctx.ask(self.whom(dice), step, timeout=dice.choice((0.1, 1, 5)))

    async def ask_in_vain(self, message: Step, ctx: AgentContext, dice: random.Random) -> None:
        if step := self.more(message, dice):
            with contextlib.suppress(MootError, RuntimeError, TimeoutError):
                async with asyncio.timeout(dice.choice((0, 0.5, 2))):
                    await ctx.ask(self.whom(dice), step, timeout=3)

    async def gather(self, message: Step, ctx: AgentContext, dice: random.Random) -> None:
        steps = [step for _ in range(3) if (step := self.more(message, dice))]
        with contextlib.suppress(MootError, RuntimeError):
            quorum = dice.choice((None, 1)) if steps else None
            await ctx.gather([ctx.ask(self.whom(dice), step, timeout=2) for step in steps], quorum=quorum)

    async def spawn(self, message: Step, ctx: AgentContext, dice: random.Random) -> None:
        with contextlib.suppress(DeliveryError):
            await ctx.spawn(Node(f"child_{next(self.world.children)}", self.world))

    async def fail(self, message: Step, ctx: AgentContext, dice: random.Random) -> None:
        if dice.random() < 0.5:
            raise dice.choice((OSError, ValueError, Retry, asyncio.CancelledError, StopIteration, KeyError))("x")

    async def give_up(self, message: Step, ctx: AgentContext, dice: random.Random) -> None:
        task = asyncio.current_task()
        if dice.random() < 0.1 and task is not None:
            task.cancel()

    async def pass_on(self, message: Step, ctx: AgentContext, dice: random.Random) -> None:
        if ctx.reply_to is not None and (ctx.message.id, ctx.attempt) not in self.world.passed_on:
            if dice.random() < 0.5:
                ctx.defer()
            elif self.world.forwarded[message.number] < 3:
                self.world.forwarded[message.number] += 1
                ctx.forward(self.whom(dice))
                self.world.passed_on.add((ctx.message.id, ctx.attempt))

    async def pause(self, message: Step, ctx: AgentContext, dice: random.Random) -> None:
        await asyncio.sleep(dice.choice((0, 0.1, 1)))


class Considerate(Node):
    cancel_with_asker = True


class Wide(Node):
    concurrency = 3
    capabilities = ("work",)


DEEDS = (
    *(Node.send, Node.send, Node.schedule, Node.progress, Node.ask, Node.ask, Node.ask_in_vain),
    *(Node.gather, Node.spawn, Node.fail, Node.give_up, Node.pass_on, Node.pause),
)


async def populate(manager: AgentManager, world: World) -> None:
    dice = world.dice
    for number in range(RESIDENTS):
        node = dice.choice((Node, Considerate, Wide))(f"node_{number}", world)
        policy = MailboxPolicy(dice.randint(1, 4), dice.choice(("block", "block", "fail")))
        await manager.register(node, mailbox=policy, retry=RetryPolicy(3, Backoff(0.5, 1)))


async def run_program(seed: int) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    world = World(seed)
    dice = world.dice
    manager = AgentManager(seed=seed)
    manager.observe(world)
    manager.host(lambda agent_id: Node(agent_id, world), domain="room")
    await manager.start()
    await populate(manager, world)
    calls: list[asyncio.Task[Any]] = []

    def call(coroutine: Coroutine[Any, Any, Any]) -> None:
        calls.append(asyncio.get_running_loop().create_task(coroutine))

    async def tell(step: Step, to: str) -> None:
        world.told.add(step.number)
        try:
            await manager.tell(to, step, timeout=dice.choice((0.1, 5)))
        except DeliveryError:
            return
        world.accepted.add(step.number)

    async def ask(step: Step, to: str) -> Any:
        return await manager.ask(to, step, timeout=dice.choice((0.5, 5)))

    for _ in range(dice.randint(5, 25)):
        to = f"node_{dice.randrange(RESIDENTS)}"
        match dice.randrange(10):
            case 0 | 1 | 2 | 3:
                call(tell(world.step(dice, 3), to))
            case 4 | 5 | 6:
                call(ask(world.step(dice, 3), to))
            case 7:
                dice.choice(calls).cancel() if calls else None
            case 8:
                call(manager.unregister(dice.choice([to, "room/a", "child_0"])))
            case 9:
                await asyncio.sleep(dice.choice((0, 0.3, 3)))
    drain = dice.random() < 0.6
    if drain:
        await asyncio.sleep(100)
    await manager.stop(drain=drain, timeout=60)
    await asyncio.wait(calls, timeout=1)
    check(seed, world, manager, calls)


def check(seed: int, world: World, manager: AgentManager, calls: list[asyncio.Task[Any]]) -> None:
    """The invariants of a program that has ended."""
    system = manager._system
    assert system is not None
    dead = Counter(letter.message.content.number for letter in manager.dead_letters)
    assert all(task.done() for task in calls), seed
    assert asyncio.all_tasks() == {asyncio.current_task()}, seed
    assert (len(system.asks), len(system.wheel), len(manager.directory)) == (0, 0, 0), seed
    assert max(world.handled.values(), default=0) <= 1, seed
    assert not world.outputs, seed
    for number in world.accepted - world.scheduled:
        assert world.handled[number] + dead[number] == 1, (seed, number)


@pytest.mark.parametrize("block", range(8))
def test_random_programs_lose_nothing_and_leave_nothing(block: int) -> None:
    for seed in range(block * PROGRAMS_PER_TEST, (block + 1) * PROGRAMS_PER_TEST):
        run(run_program(seed))
