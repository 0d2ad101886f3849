"""A swarm of agents flies as the flock of arrays does, and no boid's silence, lateness or lies stop the others."""

from __future__ import annotations

import asyncio
import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot import Agent, AgentContext, AgentManager, MailboxPolicy, Payload, TurnError, handles
from moot.patterns.swarm import (
    Boids,
    Box,
    Flock,
    Fly,
    GetPositions,
    Neighbourhood,
    PositionUpdate,
    Swarm,
    SwarmAgent,
    SwarmReport,
    Vicsek,
    swarm_of,
)
from moot.patterns.swarm.agents import MAX_TICKS, Overdue, SwarmState
from moot.patterns.swarm.boid import moved
from moot.patterns.swarm.neighbours import is_news, joined, missing, silent
from moot.patterns.swarm.rules import Rules
from moot.testing import FakeContext

BOX = Box.cube(4.0)
RULES = Boids()
EAST = (RULES.speed, 0.0)


def swarm(boids: int, **options: Any) -> Swarm:
    return Swarm("swarm", [f"swarm_{number}" for number in range(boids)], RULES, BOX, **options)


def boid(number: int, x: float) -> SwarmAgent:
    return SwarmAgent(f"swarm_{number}", "swarm", ((x, 2.0), EAST), RULES, BOX)


async def positions(manager: AgentManager, n: int) -> Any:
    heard = await manager.ask("swarm", GetPositions())
    return np.array([heard[f"swarm_{number}"].position for number in range(n)])


@pytest.mark.parametrize("rules", [Boids(), Vicsek()], ids=["boids", "vicsek"])
@pytest.mark.parametrize("is_periodic", [True, False], ids=["periodic", "bounded"])
@pytest.mark.parametrize("dim", [2, 3])
async def test_agents_fly_as_the_flock_does(dim: int, is_periodic: bool, rules: Rules) -> None:
    n, ticks = 30, 100
    flock = Flock(n, rules, box=Box(Box.around(n, dim).sides, is_periodic), seed=5, engine="numpy")
    async with AgentManager() as manager:
        for agent in swarm_of(flock):
            await manager.register(agent)

        report = await manager.ask("swarm", Fly(ticks))

        assert report == SwarmReport(ticks, report.order, n)
        assert report.order == pytest.approx(flock.step(ticks).order())
        assert np.abs(await positions(manager, n) - flock.positions).max() < 1e-9


async def test_noise_is_drawn_by_each_boid_and_the_same_again() -> None:
    flown = []
    for seed in (1, 1, 2):
        async with AgentManager(seed=seed) as manager:
            for agent in swarm_of(Flock(10, Boids(noise=0.5), seed=1)):
                await manager.register(agent)
            await manager.ask("swarm", Fly(20))
            flown.append((await positions(manager, 10)).tolist())

    assert flown[0] == flown[1] != flown[2]


async def test_to_ask_again_for_a_tick_that_is_past_or_under_way_adds_none() -> None:
    async with AgentManager() as manager:
        for agent in swarm_of(Flock(5)):
            await manager.register(agent)

        reports = await asyncio.gather(*(manager.ask("swarm", Fly(tick)) for tick in (10, 10, 7, 20)))
        again = await manager.ask("swarm", Fly(3))

    assert [report.tick for report in reports] == [10, 10, 7, 20]
    assert again.tick == 20


async def test_nobody_sends_a_swarm_off_for_ever() -> None:
    async with AgentManager() as manager:
        await manager.register(swarm(1))
        await manager.register(boid(0, 1.0))

        with pytest.raises(TurnError, match=f"up to {MAX_TICKS} ticks"):
            await manager.ask("swarm", Fly(10**18))
        assert (await manager.ask("swarm", Fly(3))).tick == 3


class Unwell(SwarmAgent):
    """Says nothing while it is unwell: from its third tick to its twentieth."""

    @handles
    async def see(self, message: Neighbourhood, ctx: AgentContext[PositionUpdate]) -> None:
        if not 3 <= message.tick < 20:
            await super().see(message, ctx)


async def test_a_silent_boid_is_seen_where_it_was_then_forgotten_and_welcome_again() -> None:
    async with AgentManager() as manager:
        await manager.register(swarm(3, patience=1.0, forget_after=4))
        for agent in (boid(0, 1.0), boid(1, 1.5), Unwell("swarm_2", "swarm", ((2.0, 2.0), EAST), RULES, BOX)):
            await manager.register(agent)
        began = asyncio.get_running_loop().time()

        reports = [await manager.ask("swarm", Fly(tick)) for tick in (6, 10, 15, 25)]

        assert [(report.heard, report.silent) for report in reports] == [
            (3, ()),
            (2, ("swarm_2",)),
            (2, ("swarm_2",)),
            (3, ()),
        ]
        assert asyncio.get_running_loop().time() - began == pytest.approx(4.0, abs=0.5)  # patience, four times


class Hanging(SwarmAgent):
    """Never ends its first turn."""

    @handles
    async def see(self, message: Neighbourhood, ctx: AgentContext[PositionUpdate]) -> None:
        await asyncio.sleep(1e6)


@pytest.mark.parametrize("mailbox", [Hanging.mailbox, MailboxPolicy(1)], ids=lambda policy: policy.overflow)
async def test_nobody_waits_for_a_boid_that_hangs(mailbox: MailboxPolicy) -> None:
    async with AgentManager() as manager:
        await manager.register(swarm(2, patience=1.0, forget_after=2))
        await manager.register(boid(0, 1.0))
        await manager.register(Hanging("swarm_1", "swarm", ((1.2, 2.0), EAST), RULES, BOX), mailbox=mailbox)
        began = asyncio.get_running_loop().time()

        report = await manager.ask("swarm", Fly(3000), timeout=600)

        assert report.silent == ("swarm_1",)
        assert asyncio.get_running_loop().time() - began < 10


class Liar(Agent):
    """Answers each neighbourhood with what no boid can say."""

    def __init__(self, agent_id: str, lie: Any) -> None:
        super().__init__(agent_id)
        self.lie = lie

    @handles
    async def see(self, message: Neighbourhood, ctx: AgentContext) -> None:
        ctx.send("swarm", self.lie(message.tick + 1), message_type="position_update")


LIES = {
    "outside": lambda tick: PositionUpdate(tick, (9.0, 1.0), EAST),
    "nowhere": lambda tick: PositionUpdate(tick, (math.nan, 1.0), EAST),
    "flat": lambda tick: PositionUpdate(tick, (1.0,), EAST),
    "fast": lambda tick: PositionUpdate(tick, (1.0, 1.0), (1e300, 0.0)),
    "still": lambda tick: PositionUpdate(tick, (1.0, 1.0), (0.0, 0.0)),
    "tomorrow": lambda tick: PositionUpdate(tick + 1, (1.0, 1.0), EAST),
    "rubbish": lambda tick: {"tick": "x"},
}


@pytest.mark.parametrize("lie", LIES)
async def test_what_no_boid_can_say_is_not_seen_and_stops_nobody(lie: str) -> None:
    alone = Flock(2, RULES, box=BOX).put([[1.0, 2.0], [1.5, 2.2]], [EAST, EAST]).step(30)
    async with AgentManager() as manager:
        await manager.register(swarm(3, forget_after=1))
        for number, y in enumerate((2.0, 2.2)):
            place = ((1.0 + number / 2, y), EAST)
            await manager.register(SwarmAgent(f"swarm_{number}", "swarm", place, RULES, BOX))
        await manager.register(Liar("swarm_2", LIES[lie]))

        report = await manager.ask("swarm", Fly(30), timeout=60)

        assert report.tick == 30
        assert report.silent == ("swarm_2",)
        assert np.abs(await positions(manager, 2) - alone.positions).max() < 1e-9


@pytest.mark.parametrize("dim", [2, 3])
def test_one_that_comes_closer_than_can_be_told_apart_takes_nobody_out_of_the_numbers(dim: int) -> None:
    here, heading, beside = (0.0,) * dim, (*EAST, 0.0)[:dim], (1e-160, *(0.0,) * (dim - 1))

    _, velocity = moved(RULES, Box.cube(4.0, dim), here, heading, [PositionUpdate(1, beside, heading)], None)

    assert math.hypot(*velocity) == pytest.approx(RULES.speed)


async def test_nobody_else_moves_a_boid_or_speaks_for_one() -> None:
    context = FakeContext.of(message=Neighbourhood(5), sender="stranger", state=boid(0, 1.0).begins)
    await context.handle(boid(0, 1.0))
    assert (context.sent, context.state.tick) == ([], 0)

    update = PositionUpdate(0, (1.0, 1.0), EAST)
    heard = FakeContext.of(message=update, sender="stranger", agent_id="swarm", state=SwarmState())
    await heard.handle(swarm(1))
    assert heard.state.heard == {}

    late = FakeContext.of(message=Overdue(3), sender="stranger", agent_id="swarm", state=SwarmState(3, 9))
    await late.handle(swarm(1))
    assert late.state.tick == 3


async def test_a_neighbourhood_that_comes_twice_or_late_moves_a_boid_once() -> None:
    agent = boid(0, 1.0)
    state: Any = agent.begins
    told = []
    for tick in (0, 0, 1, 0, 4, 2):
        context = FakeContext.of(message=Neighbourhood(tick), sender="swarm", state=state)
        await context.handle(agent)
        state = context.state
        told += [update.tick for _, update in context.sent]

    assert told == [1, 1, 2, 2, 5, 5]
    assert state.position == pytest.approx((1.0 + 3 * RULES.speed, 2.0))


class Crash(Payload):
    pass


class Crashing(SwarmAgent):
    """Fails at every third message, and is made anew."""

    @handles
    async def see(self, message: Neighbourhood, ctx: AgentContext[PositionUpdate]) -> None:
        await super().see(message, ctx)
        if message.tick % 3 == 0:
            raise LookupError("a boid has crashed")


async def test_a_crashing_boid_lags_and_the_others_go_on() -> None:
    async with AgentManager() as manager:
        await manager.register(swarm(2, patience=1.0))
        await manager.register(boid(0, 1.0))
        await manager.register(Crashing("swarm_1", "swarm", ((1.2, 2.0), EAST), RULES, BOX))

        report = await manager.ask("swarm", Fly(30), timeout=60)

        assert report == SwarmReport(30, report.order, 2)
        assert (await positions(manager, 1))[0] == pytest.approx((1.0 + 30 * RULES.speed, 2.0), abs=0.2)


UPDATES = st.builds(
    lambda name, tick: (name, PositionUpdate(tick, (tick / 100, 0.0), EAST)), st.sampled_from("abc"), st.integers(0, 20)
)


@given(st.lists(UPDATES), st.randoms(use_true_random=False), st.integers(1, 5))
def test_order_and_repetition_of_updates_make_no_difference(
    news: list[tuple[str, PositionUpdate]], shuffle: random.Random, pieces: int
) -> None:
    again = [*news, *news[::2]]
    shuffle.shuffle(again)
    heard: dict[str, PositionUpdate] = {}
    for piece in range(pieces):
        heard = joined(heard, again[piece::pieces])

    newest = {name: max(update.tick for other, update in news if other == name) for name, _ in news}
    assert {name: update.tick for name, update in heard.items()} == newest


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 20)), st.integers(0, 20), st.integers(1, 6))
def test_one_is_up_to_date_or_waited_for_or_silent(last: dict[str, int], tick: int, forget_after: int) -> None:
    heard = {name: PositionUpdate(at, (0.0, 0.0), EAST) for name, at in last.items()}
    for name in "abcd":
        is_current = last.get(name, -1) >= tick
        is_awaited = missing([name], heard, tick, forget_after)
        is_silent = silent([name], heard, tick, forget_after) == [name]

        assert [is_current, is_awaited, is_silent].count(True) == 1


def test_a_boid_gets_no_further_than_it_flies() -> None:
    before = PositionUpdate(3, (1.0, 1.0), EAST)

    assert is_news(PositionUpdate(5, (1.1, 1.0), EAST), before, 5, RULES, BOX)
    assert not is_news(PositionUpdate(5, (1.2, 1.0), EAST), before, 5, RULES, BOX)


def test_a_boid_can_come_through_the_side_of_a_periodic_box() -> None:
    before = PositionUpdate(3, (3.99, 1.0), EAST)
    after = PositionUpdate(4, (0.04 - 1e-12, 1.0), EAST)

    assert is_news(after, before, 4, RULES, BOX)
    assert not is_news(after, before, 4, RULES, Box.cube(4.0, is_periodic=False))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: swarm(0), "1 to 1000 boids"),
        (lambda: swarm(1001), "a FlockAgent holds more"),
        (lambda: swarm(1, patience=0), "patience is above 0 s"),
        (lambda: swarm(1, patience=math.inf), "patience is above 0 s and finite"),
        (lambda: boid(0, 5.0), "begins in the box"),
        (lambda: SwarmAgent("a", "swarm", ((1.0, 1.0), (1.0, 0.0)), RULES, BOX), "at speed 0.05"),
        (lambda: SwarmAgent("a", "swarm", ((1.0, 1.0), EAST), RULES, Box.cube(1.0)), "smaller r"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
