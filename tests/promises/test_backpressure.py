"""No system freezes on full mailboxes, and each accepted message is handled or becomes a dead letter.

Random systems of 20 agents with mailboxes of 4, in which each message sends more, in circles too. On the virtual clock
a frozen system fails at once: everyone waits and no timer is set.
"""

from __future__ import annotations

import asyncio
import math
import random

import pytest

from moot import Agent, AgentContext, AgentManager, MailboxFull, MailboxPolicy, Payload, TimeoutPolicy, handles
from moot.clock import LoopClock
from moot.testing import run

AGENTS = 20
CAPACITY = 4
SYSTEMS_PER_TEST = 30


class Token(Payload):
    hops: int


class Node(Agent):
    """Sends each token on to some of its neighbours until its hops are used up."""

    mailbox = MailboxPolicy(capacity=CAPACITY)

    def __init__(self, agent_id: str, neighbours: list[str], copies: int) -> None:
        super().__init__(agent_id)
        self.neighbours = neighbours
        self.copies = copies
        self.handled = 0
        self.sent = 0

    @handles
    async def token(self, message: Token, ctx: AgentContext) -> None:
        self.handled += 1
        if message.hops == 0:
            return
        for _ in range(self.copies):
            self.sent += 1
            ctx.send(ctx.random.choice(self.neighbours), Token(hops=message.hops - 1))


async def run_system(seed: int) -> None:
    dice = random.Random(seed)
    ids = [f"node_{number}" for number in range(AGENTS)]
    nodes = [Node(name, dice.sample(ids, dice.randint(1, 4)), dice.randint(1, 3)) for name in ids]
    told = 0
    async with AgentManager(seed=seed) as manager:
        for node in nodes:
            await manager.register(node)
        for _ in range(40):
            await manager.tell(dice.choice(ids), Token(hops=dice.randint(1, 5)), timeout=3600)
            told += 1
        await manager.settle()

        cells = manager.directory.cells.values()
        assert all(len(cell.mailbox) == 0 and not cell.lanes and not cell.queue for cell in cells), f"seed {seed}"
        accepted = told + sum(node.sent for node in nodes)
        handled = sum(node.handled for node in nodes)
        assert handled + sum(manager.dead_letters.counts.values()) == accepted, f"seed {seed}"


@pytest.mark.parametrize("block", range(10))
def test_random_systems_with_circles_do_not_freeze_and_lose_nothing(block: int) -> None:
    for seed in range(block * SYSTEMS_PER_TEST, (block + 1) * SYSTEMS_PER_TEST):
        run(run_system(seed))


def test_a_slow_receiver_slows_its_senders_and_loses_nothing() -> None:
    class Source(Agent):
        @handles
        async def token(self, message: Token, ctx: AgentContext) -> None:
            for number in range(10):
                ctx.send("sink", Token(hops=message.hops * 10 + number))

    class Sink(Agent):
        mailbox = MailboxPolicy(capacity=1)
        seen: list[int]

        @handles
        async def token(self, message: Token, ctx: AgentContext) -> None:
            self.seen.append(message.hops)
            await ctx.run_sync(lambda: None)

    async def main() -> None:
        async with AgentManager() as manager:
            sink = Sink("sink")
            sink.seen = []
            await manager.register(sink)
            await manager.register(Source("source"))

            for number in range(10):
                await manager.tell("source", Token(hops=number))
            await manager.settle()

            assert sink.seen == list(range(100))
            assert len(manager.dead_letters) == 0

    run(main())


@pytest.mark.parametrize(
    ("timeouts", "waits"),
    [(TimeoutPolicy(), 30.0), (TimeoutPolicy(send_timeout=5.0), 5.0), (TimeoutPolicy(send_timeout=0), 0.0)],
)
def test_what_stays_undelivered_for_its_send_timeout_becomes_a_dead_letter(
    timeouts: TimeoutPolicy, waits: float
) -> None:
    class Source(Agent):
        @handles
        async def token(self, message: Token, ctx: AgentContext) -> None:
            for number in range(4):
                ctx.send("sink", Token(hops=number))

    class Stuck(Agent):
        mailbox = MailboxPolicy(capacity=1)

        @handles
        async def token(self, message: Token, ctx: AgentContext) -> None:
            await ctx.ask("nobody_answers", Token(hops=0), timeout=100)

    async def nobody_answers(message: Token, ctx: AgentContext) -> None:
        ctx.defer()

    async def main() -> None:
        async with AgentManager() as manager:
            await manager.register(Stuck("sink"))
            await manager.register(nobody_answers)
            await manager.register(Source("source"), timeouts=timeouts)
            began = LoopClock(asyncio.get_running_loop()).now()
            await manager.tell("source", Token(hops=0))

            await manager.settle()

            overflow = [letter for letter in manager.dead_letters if letter.reason == "overflow"]
            # the first was taken if anybody waited, and the one after it stood in the mailbox
            assert [letter.message.content.hops for letter in overflow] == ([2, 3] if waits else [1, 2, 3])
            assert all(letter.at - began == pytest.approx(waits, abs=0.1) for letter in overflow)

    run(main())


def test_an_agents_own_timer_is_not_lost_because_it_waits_for_nobody() -> None:
    class Own(Agent):
        mailbox = MailboxPolicy(capacity=1)
        timeouts = TimeoutPolicy(send_timeout=0)
        handled: list[int]

        @handles
        async def token(self, message: Token, ctx: AgentContext) -> None:
            if message.hops == 0:
                ctx.schedule(1, Token(hops=9))
            self.handled.append(message.hops)
            await asyncio.sleep(3)

    async def main() -> None:
        async with AgentManager() as manager:
            own = Own("own")
            own.handled = []
            await manager.register(own)
            for number in range(3):  # when the timer is due, one is handled and one waits
                await manager.tell("own", Token(hops=number))
            await manager.settle()

            assert sorted(own.handled) == [0, 1, 2, 9]
            assert len(manager.dead_letters) == 0

    run(main())


@pytest.mark.parametrize("seconds", [-1.0, math.inf])
def test_a_send_timeout_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="send_timeout is 0 s or more and finite"):
        TimeoutPolicy(send_timeout=seconds)


def test_an_outside_caller_waits_for_room_or_is_told() -> None:
    class Busy(Agent):
        mailbox = MailboxPolicy(capacity=1)

        @handles
        async def token(self, message: Token, ctx: AgentContext) -> None:
            ctx.schedule(0, message)  # always something to do
            await ctx.ask("nobody_answers", Token(hops=0), timeout=10)

    async def nobody_answers(message: Token, ctx: AgentContext) -> None:
        ctx.defer()

    async def main() -> None:
        manager = AgentManager()
        await manager.register(Busy("busy"))
        await manager.register(nobody_answers)
        await manager.start()
        await manager.tell("busy", Token(hops=0))
        await manager.tell("busy", Token(hops=1))

        with pytest.raises(MailboxFull, match="'busy' is full"):
            manager.tell_nowait("busy", Token(hops=2))
        with pytest.raises(MailboxFull, match="'busy' is full"):
            await manager.tell("busy", Token(hops=3), timeout=5)

        await manager.stop(drain=False)

    run(main())
