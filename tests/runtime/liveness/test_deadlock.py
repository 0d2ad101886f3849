"""Asks that wait in a circle are found when the circle closes, named in order, and broken at one ask; nothing else is.

Circles of 2 to 20 agents are planted: with plain asks, gathered ones, agents of two slots, and full mailboxes. Time is
virtual: what is found before any timer is found while the clock still shows the start.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from typing import Any

import pytest

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    AskTimeout,
    DeadlockError,
    MailboxPolicy,
    MootError,
    Payload,
    ReplyTo,
    Request,
    RetryPolicy,
    TurnError,
    handles,
)
from moot.testing import stuck
from moot.testing.simulation.backend import SimulatedBackend

SIZES = [2, 3, 4, 5, 7, 10, 15, 20]
TIMEOUT = 20.0
POURED = 4
ONCE = RetryPolicy(max_attempts=1)


class Begin(Payload):
    """Told to each agent of a ring: ask your neighbour."""


class Chain(Request[str]):
    """Asked along a ring: each asks the next one, too."""

    hops: int


class Quick(Request[str]):
    """Answered at once."""


class Fill(Payload):
    """Takes room in a mailbox."""


class Barrier:
    """Lets all go on when all are there."""

    def __init__(self, parties: int) -> None:
        self.missing = parties
        self.all_but_one_arrived = asyncio.Event()
        self._open = asyncio.Event()

    async def wait(self) -> None:
        self.missing -= 1
        if self.missing == 1:
            self.all_but_one_arrived.set()
        if self.missing <= 0:
            self._open.set()
        await self._open.wait()


class Member(Agent):
    """One of a ring: waits until all have begun, then asks its neighbour."""

    retry = ONCE

    def __init__(self, agent_id: str, neighbour: str, barrier: Barrier) -> None:
        super().__init__(agent_id)
        self.neighbour = neighbour
        self.barrier = barrier
        self.outcomes: list[str | BaseException] = []
        self.answered = 0
        self.filled = 0

    @handles
    async def begin(self, message: Begin, ctx: AgentContext) -> None:
        await self.barrier.wait()
        try:
            self.outcomes.append(await self.request(ctx))
        except MootError as error:
            self.outcomes.append(error)

    async def request(self, ctx: AgentContext) -> str:
        return await ctx.ask(self.neighbour, Quick(), timeout=TIMEOUT)

    @handles
    async def quick(self, message: Quick, ctx: AgentContext) -> str:
        self.answered += 1
        return "done"

    @handles
    async def chain(self, message: Chain, ctx: AgentContext) -> str:
        if message.hops:
            return await ctx.ask(self.neighbour, Chain(hops=message.hops - 1), timeout=TIMEOUT)
        return "end"

    @handles
    async def fill(self, message: Fill, ctx: AgentContext) -> None:
        self.filled += 1


class Gatherer(Member):
    """Asks its neighbour and two that answer at once."""

    async def request(self, ctx: AgentContext) -> str:
        asks = [ctx.ask(to, Quick(), timeout=TIMEOUT) for to in ("free_1", self.neighbour, "free_2")]
        return (await ctx.gather(asks))[1]


class TwoSlots(Member):
    """Handles two messages at once; both slots are told to begin."""

    concurrency = 2


class Tight(Member):
    """Has room for one message, which is there when it is asked: the ask waits before its mailbox."""

    mailbox = MailboxPolicy(capacity=1)


class Pourer(Tight):
    """Sends its neighbour more than there is room for."""

    @handles
    async def begin(self, message: Begin, ctx: AgentContext) -> None:
        await self.barrier.wait()
        for _ in range(POURED):
            ctx.send(self.neighbour, Fill())


class Stubborn(Member):
    """Lets the error of its ask be retried."""

    retry = RetryPolicy(max_attempts=3)

    @handles
    async def begin(self, message: Begin, ctx: AgentContext) -> None:
        if ctx.attempt == 1:
            await self.barrier.wait()
        self.outcomes.append(await self.request(ctx))


def ring(kind: type[Member], size: int, each: int = 1) -> list[Member]:
    barrier = Barrier(size * each)
    names = [f"agent_{number}" for number in range(size)]
    return [kind(name, names[(number + 1) % size], barrier) for number, name in enumerate(names)]


async def registered(manager: AgentManager, members: Sequence[Member]) -> None:
    for member in members:
        await manager.register(member)
    for name in ("free_1", "free_2"):
        await manager.register(Member(name, name, Barrier(1)))


def rotations(names: tuple[str, ...]) -> set[tuple[str, ...]]:
    return {names[number:] + names[:number] for number in range(len(names))}


def errors(members: Sequence[Member]) -> list[BaseException]:
    return [outcome for member in members for outcome in member.outcomes if isinstance(outcome, BaseException)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [Member, Gatherer, TwoSlots])
async def test_a_ring_that_waits_is_found_named_in_order_and_broken_before_any_timer(
    kind: type[Member], size: int
) -> None:
    each = kind.concurrency
    members = ring(kind, size, each)
    loop = asyncio.get_running_loop()
    async with AgentManager() as manager:
        await registered(manager, members)
        began = loop.time()
        for member in members * each:
            await manager.tell(member.id, Begin())
        await manager.settle()

        assert loop.time() == began
        assert stuck(manager) == []
        failures = errors(members)
        assert failures
        assert manager.stats().deadlocks == len(failures)
        whole = tuple(member.id for member in members)
        for failure in failures:
            assert isinstance(failure, DeadlockError)
            assert failure.cycle in rotations(whole)
        if each == 1:
            assert len(failures) == 1
        outcomes = sum(len(member.outcomes) for member in members)
        assert outcomes == size * each
        assert sum(member.answered for member in members) == outcomes - len(failures)
        assert len(manager.dead_letters) == 0


@pytest.mark.parametrize("size", SIZES)
async def test_a_ring_of_asks_that_wait_before_full_mailboxes_is_found(size: int) -> None:
    members = ring(Tight, size)
    gate = members[0].barrier
    gate.missing += 1
    loop = asyncio.get_running_loop()
    async with AgentManager() as manager:
        await registered(manager, members)
        began = loop.time()
        for member in members:
            await manager.tell(member.id, Begin())
        await gate.all_but_one_arrived.wait()
        for member in members:
            manager.tell_nowait(member.id, Fill())
        await gate.wait()
        await manager.settle()

        assert loop.time() == began
        (failure,) = errors(members)
        assert isinstance(failure, DeadlockError)
        assert failure.cycle in rotations(tuple(member.id for member in members))
        assert sum(member.answered for member in members) == size - 1
        assert [member.filled for member in members] == [1] * size
        assert len(manager.dead_letters) == 0


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(5))
async def test_a_ring_in_which_some_ask_and_others_have_full_outboxes_is_found(size: int, seed: int) -> None:
    dice = random.Random(seed)
    askers = set(dice.sample(range(size), dice.randint(1, size - 1)))
    barrier = Barrier(size)
    members = [
        (Tight if number in askers else Pourer)(f"agent_{number}", f"agent_{(number + 1) % size}", barrier)
        for number in range(size)
    ]
    loop = asyncio.get_running_loop()
    async with AgentManager() as manager:
        await registered(manager, members)
        began = loop.time()
        for member in members:
            await manager.tell(member.id, Begin())
        await manager.settle()

        assert loop.time() == began
        (failure,) = errors(members)
        assert isinstance(failure, DeadlockError)
        assert failure.cycle in rotations(tuple(member.id for member in members))
        poured_into = [(number - 1) % size not in askers for number in range(size)]
        assert [member.filled for member in members] == [POURED * poured for poured in poured_into]
        assert sum(member.answered for member in members) == len(askers) - 1
        assert len(manager.dead_letters) == 0


async def test_outboxes_alone_are_no_deadlock() -> None:
    members = ring(Pourer, 4)
    async with AgentManager() as manager:
        await registered(manager, members)
        for member in members:
            await manager.tell(member.id, Begin())
        await manager.settle()

        assert manager.stats().deadlocks == 0
        assert sum(member.filled for member in members) + len(manager.dead_letters) == 4 * POURED


@pytest.mark.parametrize("size", SIZES)
async def test_a_chain_of_asks_that_comes_back_fails_when_it_is_sent(size: int) -> None:
    members = ring(Member, size)
    loop = asyncio.get_running_loop()
    async with AgentManager() as manager:
        await registered(manager, members)
        began = loop.time()

        with pytest.raises(TurnError, match="DeadlockError") as failure:
            await manager.ask("agent_0", Chain(hops=size), timeout=TIMEOUT)

        assert loop.time() == began
        names = [member.id for member in members]
        assert " -> ".join([*names, names[0]]) in str(failure.value)
        assert manager.stats().deadlocks == 1
        assert all(not cell.mailbox.items for cell in manager.directory.cells.values())


async def test_a_chain_of_asks_that_comes_back_is_found_on_a_durable_backend() -> None:
    members = ring(Member, 3)
    async with AgentManager(SimulatedBackend()) as manager:
        await registered(manager, members)

        with pytest.raises(TurnError, match="DeadlockError"):
            await manager.ask("agent_0", Chain(hops=3), timeout=TIMEOUT, message_id="once")
        with pytest.raises(TurnError, match="DeadlockError"):
            await manager.ask("agent_0", Chain(hops=3), timeout=TIMEOUT)

        assert manager.stats().deadlocks == 2


async def test_a_turn_that_gathers_failures_too_still_waits_when_one_has_failed() -> None:
    async def first(message: Quick, ctx: AgentContext) -> str:
        return str(await ctx.ask("second", Quick(), timeout=TIMEOUT))

    async def second(message: Quick, ctx: AgentContext) -> str:
        asks = [ctx.ask("nobody", Quick(), timeout=TIMEOUT), ctx.ask("first", Quick(), timeout=TIMEOUT)]
        return " ".join(type(answer).__name__ for answer in await ctx.gather(asks, return_exceptions=True))

    async with AgentManager() as manager:
        await manager.register(first)
        await manager.register(second)

        assert await manager.ask("first", Quick(), timeout=TIMEOUT) == "UnknownAgent DeadlockError"


async def test_an_agent_that_asks_itself_is_told_at_once() -> None:
    async def selfish(message: Quick, ctx: AgentContext) -> str:
        try:
            return await asyncio.wait_for(ctx.ask("selfish", Quick(), timeout=TIMEOUT), 5)
        except DeadlockError as error:
            return " ".join(error.cycle)

    async with AgentManager() as manager:
        await manager.register(selfish)

        assert await manager.ask("selfish", Quick()) == "selfish"


async def test_an_agent_of_two_slots_may_ask_itself_once() -> None:
    class Twice(Agent):
        concurrency = 2
        retry = ONCE

        @handles
        async def chain(self, message: Chain, ctx: AgentContext) -> str:
            return await ctx.ask("twice", Chain(hops=message.hops - 1)) if message.hops else "end"

    async with AgentManager() as manager:
        await manager.register(Twice("twice"))

        assert await manager.ask("twice", Chain(hops=1)) == "end"
        with pytest.raises(TurnError, match="deadlock: twice -> twice"):
            await manager.ask("twice", Chain(hops=2))


async def test_an_on_start_that_asks_back_is_found() -> None:
    class Late(Agent):
        async def on_start(self, ctx: AgentContext) -> None:
            await ctx.ask("server", Quick())

        @handles
        async def quick(self, message: Quick) -> str:
            return "late"

    async def server(message: Quick, ctx: AgentContext) -> str:
        return await ctx.ask("late", Quick())

    async with AgentManager() as manager:
        await manager.register(server, retry=ONCE)

        with pytest.raises(TurnError, match="deadlock: late -> server -> late"):
            await manager.register(Late("late"))


async def test_a_forwarded_ask_is_followed_to_the_turn_that_handles_it() -> None:
    async def desk(message: Quick, ctx: AgentContext) -> None:
        ctx.forward("clerk")

    async def clerk(message: Quick, ctx: AgentContext) -> str:
        return await ctx.ask("client", Quick(), timeout=TIMEOUT)

    members = [Member("client", "desk", Barrier(1))]
    loop = asyncio.get_running_loop()
    async with AgentManager() as manager:
        await registered(manager, members)
        await manager.register(desk)
        await manager.register(clerk, retry=ONCE)
        began = loop.time()
        await manager.tell("client", Begin())
        await manager.settle()

        (failure,) = errors(members)
        assert "deadlock: client -> clerk -> client" in str(failure)
        assert loop.time() == began


async def test_an_answer_that_was_deferred_may_come_from_another_turn() -> None:
    class Desk(Agent):
        concurrency = 2
        kept: ReplyTo

        @handles
        async def quick(self, message: Quick, ctx: AgentContext) -> None:
            self.kept = ctx.defer()
            await ctx.ask("client", Quick(), timeout=TIMEOUT)

        @handles
        async def fill(self, message: Fill, ctx: AgentContext) -> None:
            ctx.send(self.kept, "from another turn")

    client = Member("client", "desk", Barrier(1))
    async with AgentManager() as manager:
        await registered(manager, [client])
        await manager.register(Desk("desk"))
        await manager.tell("client", Begin())
        await asyncio.sleep(1)
        assert manager.stats().deadlocks == 0
        await manager.tell("desk", Fill())
        await manager.settle()

        assert client.outcomes == ["from another turn"]
        assert client.answered == 1
        assert manager.stats().deadlocks == 0


async def test_attempts_end_a_deadlock_that_each_retry_makes_anew() -> None:
    barrier = Barrier(2)
    members = [Stubborn("agent_0", "agent_1", barrier), Stubborn("agent_1", "agent_0", barrier)]
    async with AgentManager() as manager:
        await registered(manager, list(members))
        for member in members:
            await manager.tell(member.id, Begin())
        await manager.settle()

        (letter,) = manager.dead_letters
        assert letter.reason == "failed"
        assert letter.attempts == 3
        assert manager.stats().deadlocks == 3
        assert sum(member.answered for member in members) == 1
        assert sum(len(member.outcomes) for member in members) == 1


async def test_report_mode_names_a_circle_once_and_leaves_all_to_their_deadlines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    members = ring(Member, 3)
    caplog.set_level(logging.WARNING, "moot.runtime.liveness.deadlock")
    loop = asyncio.get_running_loop()
    async with AgentManager(deadlocks="report") as manager:
        await registered(manager, members)
        began = loop.time()
        for member in members:
            await manager.tell(member.id, Begin())
        late = asyncio.ensure_future(manager.gather([manager.ask(member.id, Quick()) for member in members]))
        await asyncio.sleep(1)

        assert manager.stats().deadlocks == 1
        assert stuck(manager) == ["agent_0", "agent_1", "agent_2"]
        assert any(
            " -> ".join((*names, names[0])) in caplog.text for names in rotations(("agent_0", "agent_1", "agent_2"))
        )
        await manager.settle()
        assert loop.time() >= began + TIMEOUT
        assert any(isinstance(failure, AskTimeout) for failure in errors(members))
        assert await late == ["done"] * 3


async def test_off_looks_for_nothing() -> None:
    members = ring(Member, 3)
    async with AgentManager(deadlocks="off") as manager:
        await registered(manager, members)
        for member in members:
            await manager.tell(member.id, Begin())
        await manager.settle()

        assert manager.stats().deadlocks == 0
        assert all(isinstance(failure, AskTimeout) for failure in errors(members))


async def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="one of break, report, off, not 'kill'"):
        await AgentManager(deadlocks="kill").start()  # type: ignore[arg-type]


async def test_a_wait_that_may_end_by_itself_is_not_reported() -> None:
    """Each agent of the ring gives up on its own, in one of the ways that the graph does not know."""

    class Careful(Member):
        async def request(self, ctx: AgentContext) -> str:
            ask = ctx.ask(self.neighbour, Quick(), timeout=TIMEOUT)
            match int(self.id[-1]) % 3:
                case 0:
                    task = asyncio.ensure_future(_awaited(ask))
                    await asyncio.wait([task], timeout=1)
                    task.cancel()
                    return "gave up"
                case 1:
                    return (await ctx.gather([ask, ctx.ask("free_1", Quick())], quorum=1))[0]
                case _:
                    async with asyncio.TaskGroup() as group:
                        task = group.create_task(_awaited(ask))
                    return str(task.result())

    members = ring(Careful, 3)
    async with AgentManager() as manager:
        await registered(manager, members)
        for member in members:
            await manager.tell(member.id, Begin())
        await manager.settle()

        assert manager.stats().deadlocks == 0
        assert errors(members) == []


async def _awaited(ask: Any) -> Any:
    return await ask
