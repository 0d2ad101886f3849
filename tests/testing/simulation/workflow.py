"""A workflow of twenty agents that uses all that an agent can do: what the simulation tests run.

Desks take orders: they gather quotes, reserve stock, ship, publish, count in the shared state and follow up by a timer.
Brokers answer in a later turn, the foreman spawns a helper for each job, auditors check that the notes of each agent
come in order and file what is done by the batch. Stores take so many messages a second, and lose what is oldest.
`build` drives it from outside and minds no failure: what must hold anyway, the simulation checks.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec

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
    ReplyTo,
    Request,
    RetryPolicy,
    handles,
)
from moot.testing import SimulatedManager

DESKS, WORKERS, STORES, AUDITORS, BROKERS = 4, 8, 3, 2, 2
ORDERS = 6


class Order(Request[int]):
    number: int


class Quote(Request[int]):
    number: int


class Reserve(Request[int]):
    amount: int


class Ship(Payload):
    number: int
    stores: tuple[str, ...] = ()


class Note(Payload):
    number: int


class Done(Payload):
    number: int


class FollowUp(Payload):
    number: int


class Broker(Request[str]):
    number: int


class Settle(Payload):
    pass


class Job(Request[int]):
    number: int


class Counted(msgspec.Struct, frozen=True):
    notes: int = 0


class Noting(Agent[Counted]):
    """An agent that numbers its notes to an auditor; the number is state, so that a failed turn takes it back."""

    retry = RetryPolicy(2, Backoff(0.1, 0.5))

    def note(self, ctx: AgentContext[Counted]) -> None:
        ctx.state = Counted(ctx.state.notes + 1)
        ctx.send(f"auditor_{sum(self.id.encode()) % AUDITORS}", Note(number=ctx.state.notes))


class Desk(Noting):
    mailbox = MailboxPolicy(4)

    @handles
    async def order(self, message: Order, ctx: AgentContext[Counted]) -> int:
        workers = ctx.random.sample(range(WORKERS), 3)
        quotes = await ctx.gather(
            [ctx.ask(f"worker_{n}", Quote(number=message.number), timeout=5) for n in workers], quorum=2
        )
        with contextlib.suppress(MootError):
            await ctx.ask(f"store_{message.number % STORES}", Reserve(amount=min(quotes)), timeout=5)
        for n in workers[:2]:
            for _ in range(ctx.random.randint(1, 3)):
                ctx.send(f"worker_{n}", Ship(number=message.number))
        self.note(ctx)
        ctx.publish("done", Done(number=message.number))
        orders = await ctx.shared_state.get("orders", 0)
        await ctx.shared_state.set("orders", orders + 1)
        ctx.schedule(ctx.random.random() * 3, FollowUp(number=message.number))
        return sum(quotes)

    @handles
    async def follow_up(self, message: FollowUp, ctx: AgentContext[Counted]) -> None:
        self.note(ctx)
        with contextlib.suppress(MootError):
            await ctx.ask(f"broker_{message.number % BROKERS}", Broker(number=message.number), timeout=8)
        with contextlib.suppress(MootError):
            await ctx.ask("foreman", Job(number=message.number), timeout=8)


class Worker(Noting):
    capabilities = ("quoting",)
    mailbox = MailboxPolicy(2)

    @handles
    async def quote(self, message: Quote, ctx: AgentContext[Counted]) -> int:
        if ctx.random.random() < 0.3:
            await asyncio.sleep(ctx.random.random())
        if ctx.random.random() < 0.1:
            raise OSError("no answer today")
        self.note(ctx)
        return message.number + ctx.random.randint(1, 9)

    @handles
    async def ship(self, message: Ship, ctx: AgentContext[Counted]) -> None:
        self.note(ctx)
        self.note(ctx)
        ctx.send(f"store_{message.number % STORES}", Ship(number=message.number))


class Store(Noting):
    mailbox = MailboxPolicy(4, "drop_oldest")
    rate_limit = RateLimit(20, burst=5)

    @handles
    async def reserve(self, message: Reserve, ctx: AgentContext[Counted]) -> int:
        self.note(ctx)
        stock = await ctx.shared_state.get(self.id, 100)
        await asyncio.sleep(0)
        await ctx.shared_state.set(self.id, stock - message.amount)
        return int(stock - message.amount)

    @handles
    async def ship(self, message: Ship, ctx: AgentContext[Counted]) -> None:
        ctx.progress("auditor_0", Done(number=message.number))
        if ctx.random.random() < 0.2:
            raise ValueError("broken in transport")


class Auditor(Agent):
    topics = ("done",)
    mailbox = MailboxPolicy(3)

    def __init__(self, agent_id: str, last: dict[tuple[str, str], int]) -> None:
        super().__init__(agent_id)
        self.last = last

    @handles
    async def note(self, message: Note, ctx: AgentContext) -> None:
        pair = (ctx.sender, self.id)
        if self.last.get(pair, 0) >= message.number:
            raise AssertionError(f"note {message.number} of {pair} came after note {self.last[pair]}")
        self.last[pair] = message.number

    @handles(batch=BatchPolicy(max_size=3, max_wait=0.2))
    async def done(self, messages: list[Done], ctx: AgentContext) -> None:
        await asyncio.sleep(0)
        if ctx.random.random() < 0.1:
            raise ValueError("one of them cannot be filed")


class BrokerAgent(Agent[tuple[ReplyTo, ...]]):
    def initial_state(self) -> tuple[ReplyTo, ...]:
        return ()

    @handles
    async def broker(self, message: Broker, ctx: AgentContext[tuple[ReplyTo, ...]]) -> None:
        ctx.state = (*ctx.state, ctx.defer())
        ctx.schedule(1.0, Settle())

    @handles
    async def settle(self, message: Settle, ctx: AgentContext[tuple[ReplyTo, ...]]) -> None:
        for reply_to in ctx.state:
            ctx.send(reply_to, "settled")
        ctx.state = ()


class Helper(Agent):
    @handles
    async def job(self, message: Job, ctx: AgentContext) -> int:
        return await ctx.ask("capability:quoting", Quote(number=message.number), timeout=3)


class Foreman(Agent):
    breaker = BreakerPolicy(failures=3, reset_after=5)
    concurrency = 2

    @handles
    async def job(self, message: Job, ctx: AgentContext) -> int:
        child = await ctx.spawn(Helper(f"helper_{ctx.message.sequence}_{ctx.attempt}"))
        return await ctx.ask(child, message, timeout=6)


async def populate(manager: SimulatedManager) -> None:
    last: dict[tuple[str, str], int] = {}
    for kind, number in ((Desk, DESKS), (Worker, WORKERS), (Store, STORES)):
        for n in range(number):
            await manager.register(kind(f"{kind.__name__.lower()}_{n}"))
    for n in range(AUDITORS):
        await manager.register(Auditor(f"auditor_{n}", last))
    for n in range(BROKERS):
        await manager.register(BrokerAgent(f"broker_{n}"))
    await manager.register(Foreman("foreman"))


async def order(manager: SimulatedManager, number: int) -> Any:
    with contextlib.suppress(MootError):
        return await manager.ask(f"desk_{number % DESKS}", Order(number=number), timeout=20)


async def build(manager: SimulatedManager) -> None:
    """Orders come in, some at once and some later; telling and publishing go on beside them."""
    await populate(manager)
    calls = []
    for number in range(ORDERS):
        calls.append(asyncio.ensure_future(order(manager, number)))
        with contextlib.suppress(MootError):
            await manager.tell(f"worker_{number % WORKERS}", Ship(number=number), timeout=5)
        await manager.publish("done", Done(number=number))
        if manager.random.random() < 0.5:
            await asyncio.sleep(manager.random.random())
    await asyncio.gather(*calls)
    await asyncio.sleep(15)  # follow-ups are on their timers
