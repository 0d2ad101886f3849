"""Random systems: without circles nothing is ever reported; with circles the detector and the oracle agree.

Agents do what a seed says: ask downwards only (no circle can be) or anyone (many are), plainly, gathered, with a
quorum, in child tasks, under timeouts; they defer, forward, send, fail and sleep, with one to three slots and small
mailboxes. Whenever the loop has nothing left to do but timers, `moot.testing.stuck` is asked.

``MOOT_DEADLOCK_SYSTEMS`` sets how many systems without circles are run (by default 300); of the others, half as many.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    Ask,
    Backoff,
    MailboxPolicy,
    MootError,
    Payload,
    ReplyTo,
    Request,
    RetryPolicy,
    handles,
)
from moot.runtime.liveness.deadlock import DeadlockMode
from moot.testing import VirtualClockLoop, stuck

SYSTEMS = int(os.environ.get("MOOT_DEADLOCK_SYSTEMS", "300"))
BLOCKS = 10
AGENTS = 10
DEPTH = 3


class Work(Request[int]):
    """What its handler does is drawn from ``seed``."""

    seed: int
    depth: int


class Answer(Payload):
    """To oneself: answer a deferred ask now."""

    reply_to: ReplyTo


class Worker(Agent):
    """Does what a message's seed says, to those whom it may speak to."""

    def __init__(self, agent_id: str, others: list[str], slots: int) -> None:
        super().__init__(agent_id)
        self.others = others
        self.concurrency = slots  # type: ignore[misc]

    @handles
    async def work(self, message: Work, ctx: AgentContext) -> int:
        dice = random.Random(message.seed)
        if message.depth == 0 or not self.others:
            await asyncio.sleep(dice.choice([0, 0, dice.random(), 3 * dice.random()]))
            return 1
        for _ in range(dice.randint(1, 2)):
            with contextlib.suppress(MootError, TimeoutError) if dice.random() < 0.7 else contextlib.nullcontext():
                await self.act(dice, message.depth - 1, ctx)
        for _ in range(dice.choice([0, 0, 1, 3])):
            ctx.send(dice.choice(self.others), Work(seed=dice.getrandbits(30), depth=message.depth - 1))
        if ctx.reply_to is not None and ctx.random.random() < 0.15:  # (a forwarded message carries the same seed)
            if dice.random() < 0.5:
                ctx.forward(ctx.random.choice(self.others))
            else:
                ctx.schedule(dice.choice([0, 1]), Answer(reply_to=ctx.defer()))
        return 1

    async def act(self, dice: random.Random, depth: int, ctx: AgentContext) -> None:
        def ask() -> Ask[int]:
            return ctx.ask(
                dice.choice(self.others), Work(seed=dice.getrandbits(30), depth=depth), timeout=dice.uniform(2, 30)
            )

        match dice.randrange(8):
            case 0:
                await asyncio.wait_for(ask(), dice.uniform(1, 5))
            case 1:
                async with asyncio.timeout(dice.uniform(1, 5)):
                    await ask()
            case 2:
                await ctx.gather([ask() for _ in range(dice.randint(1, 3))])
            case 3:
                await ctx.gather([ask() for _ in range(3)], quorum=dice.randint(1, 3))
            case 4:
                tasks = [asyncio.ensure_future(_awaited(ask())) for _ in range(2)]
                _, pending = await asyncio.wait(tasks, timeout=dice.uniform(1, 5), return_when=asyncio.FIRST_COMPLETED)
                for task in pending:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            case 5:
                async with asyncio.TaskGroup() as group:
                    for _ in range(2):
                        group.create_task(_quietly(ask()))
            case _:
                await ask()

    @handles
    async def answer(self, message: Answer, ctx: AgentContext) -> None:
        ctx.send(message.reply_to, 1)


async def _awaited(ask: Ask[int]) -> int:
    return await ask


async def _quietly(ask: Ask[int]) -> None:
    with contextlib.suppress(MootError):
        await ask


class QuietLoop(VirtualClockLoop):
    """Calls ``quiet`` whenever nothing is left to do but timers."""

    quiet: Callable[[], None] | None = None

    def jump(self, seconds: float) -> None:
        if self.quiet is not None:
            self.quiet()
        super().jump(seconds)


class Observations(logging.Handler):
    """What the detector and the oracle said, each time the loop was quiet.

    As a handler of the detector's log it asks the oracle at once, too: at the same instant a request whose time is up
    may be withdrawn from a full mailbox, and the room that it makes can open a circle before the loop is quiet.
    """

    def __init__(self, manager: AgentManager) -> None:
        super().__init__()
        self.manager = manager
        self.was_stuck = False
        self.found = 0
        self.unseen: list[list[str]] = []
        self.unfounded = 0
        self.stuck = 0

    def emit(self, record: logging.LogRecord) -> None:
        asyncio.get_running_loop().call_soon(self._ask)  # when the task that has found it waits, too

    def _ask(self) -> None:
        self.was_stuck = self.was_stuck or bool(stuck(self.manager))

    def look(self) -> None:
        found = self.manager.stats().deadlocks
        who = stuck(self.manager)
        self.stuck += bool(who)
        if found > self.found and not who and not self.was_stuck:
            self.unfounded += 1
        if who and not found:
            self.unseen.append(who)
        self.found, self.was_stuck = found, False


async def run_system(seed: int, mode: DeadlockMode, *, circles: bool) -> Observations:
    dice = random.Random(seed)
    names = [f"agent_{number}" for number in range(AGENTS)]
    manager = AgentManager(seed=seed, deadlocks=mode)
    seen = Observations(manager)
    for number, name in enumerate(names):
        others = [other for other in names if other != name] if circles else names[number + 1 :]
        await manager.register(
            Worker(name, others, dice.choice([1, 1, 2, 3])),
            mailbox=MailboxPolicy(capacity=dice.choice([1, 2, 4, 1000])),
            retry=RetryPolicy(max_attempts=dice.randint(1, 2), backoff=Backoff(first=0.1, limit=1)),
        )
    loop: Any = asyncio.get_running_loop()
    log = logging.getLogger("moot.runtime.liveness.deadlock")
    log.addHandler(seen)
    async with manager:
        loop.quiet = seen.look
        for _ in range(8):
            with contextlib.suppress(MootError):
                await manager.tell(dice.choice(names), Work(seed=dice.getrandbits(30), depth=DEPTH), timeout=3600)
        callers = [manager.ask(dice.choice(names), Work(seed=dice.getrandbits(30), depth=DEPTH)) for _ in range(3)]
        await asyncio.gather(*map(_quietly, callers))
        await manager.settle()
        await asyncio.sleep(10)
        await manager.settle()
        seen.look()
        loop.quiet = None
        assert manager.stats().open_asks == 0
    log.removeHandler(seen)
    return seen


def observed(seed: int, mode: DeadlockMode, *, circles: bool) -> Observations:
    with asyncio.Runner(loop_factory=QuietLoop) as runner:
        return runner.run(run_system(seed, mode, circles=circles))


def seeds(block: int, systems: int = SYSTEMS) -> range:
    return range(block * systems // BLOCKS, (block + 1) * systems // BLOCKS)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_without_circles_nothing_is_reported(block: int) -> None:
    for seed in seeds(block):
        seen = observed(seed, "break", circles=False)

        assert (seen.found, seen.stuck) == (0, 0), f"seed {seed}"


@pytest.mark.parametrize("block", range(BLOCKS))
def test_with_circles_nobody_is_stuck_when_the_loop_is_quiet(block: int) -> None:
    found = 0
    for seed in seeds(block, SYSTEMS // 2):
        seen = observed(seed, "break", circles=True)
        found += seen.found

        assert seen.stuck == 0, f"seed {seed}"
    assert found > 0


@pytest.mark.parametrize("block", range(BLOCKS))
def test_with_circles_left_alone_the_detector_and_the_oracle_agree(block: int) -> None:
    found = 0
    for seed in seeds(block, SYSTEMS // 2):
        seen = observed(seed, "report", circles=True)
        found += seen.found

        assert (seen.unseen, seen.unfounded) == ([], 0), f"seed {seed}"
    assert found > 0
