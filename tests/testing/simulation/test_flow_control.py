"""Overflow policies, rate limits, batches and breakers keep the laws of every simulation, whatever the faults."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from moot import (
    Agent,
    AgentContext,
    Backoff,
    BatchPolicy,
    BreakerPolicy,
    MailboxPolicy,
    MootError,
    Payload,
    RateLimit,
    Request,
    RetryPolicy,
    handles,
)
from moot.policies import Overflow
from moot.testing import Faults, SimulatedManager, simulate

SEEDS = 20
POLICIES: list[Overflow] = ["block", "fail", "drop_newest", "drop_oldest", "drop_lowest", "coalesce"]
FAULTS = [
    Faults(),
    Faults(drop=0.02, duplicate=0.1, delay=0.1, reorder=0.1),
    Faults(duplicate=0.1, delay=0.1, crash=0.1, pause=0.1, slow=0.1),
]


class Row(Payload):
    key: int
    number: int


class Total(Request[int]):
    number: int


class Tick(Payload):
    left: int


class Store(Agent[int]):
    """Takes rows in batches; some are poison. Its totals are asked for in batches, too."""

    retry = RetryPolicy(max_attempts=2, backoff=Backoff(0.01, 0.1))

    def initial_state(self) -> int:
        return 0

    @handles(batch=BatchPolicy(max_size=4, max_wait=0.2))
    async def rows(self, messages: list[Row], ctx: AgentContext[int]) -> None:
        if any(message.number % 11 == 0 for message in messages):
            raise ValueError("a number that it cannot store")
        ctx.state += len(messages)
        ctx.send("log", Row(0, ctx.state))

    @handles(batch=BatchPolicy(max_size=3), rate=RateLimit(20, per=1, burst=4, excess="refuse"))
    async def totals(self, messages: list[Total], ctx: AgentContext[int]) -> list[int]:
        await asyncio.sleep(0.01)
        if any(message.number % 7 == 0 for message in messages):
            raise OSError("the disk is busy")
        return [ctx.state for _ in messages]


class Log(Agent):
    rate_limit = RateLimit(50, per=1, burst=5)

    @handles
    def row(self, message: Row) -> None: ...


class Source(Agent):
    breaker = BreakerPolicy(failures=2, reset_after=0.5)

    @handles
    async def tick(self, message: Tick, ctx: AgentContext) -> None:
        with contextlib.suppress(MootError):
            await ctx.ask("store", Total(message.left), timeout=2)
        for number in range(6):
            ctx.send("store", Row(number % 3, 6 * message.left + number), priority=number % 2)
        if message.left:
            ctx.schedule(0.05, Tick(message.left - 1))


def key(content: Any) -> Any:
    return content.key if isinstance(content, Row) else content.number


@pytest.mark.parametrize("faults", FAULTS, ids=["none", "link", "agents"])
@pytest.mark.parametrize("overflow", POLICIES)
def test_the_laws_hold_under_every_policy(overflow: Overflow, faults: Faults) -> None:
    async def build(manager: SimulatedManager) -> None:
        mailbox = MailboxPolicy(5, overflow, key=key if overflow == "coalesce" else None)
        await manager.register(Store("store"), mailbox=mailbox)
        await manager.register(Log("log"), mailbox=MailboxPolicy(5, "drop_oldest"))
        for number in range(3):
            await manager.register(Source(f"source_{number}"))
            await manager.tell(f"source_{number}", Tick(8))
        await manager.settle()

    for seed in range(SEEDS):
        simulate(build, seed=seed, faults=faults).check()
