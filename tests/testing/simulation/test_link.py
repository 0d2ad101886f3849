"""The faulty link does what it is told, no more: each fault alone shows as what it is called."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from moot import (
    Agent,
    AgentContext,
    AskTimeout,
    Payload,
    Request,
    RetryPolicy,
    Supervision,
    TurnError,
    handles,
)
from moot.testing import Crashed, Faults, SimulatedManager, Simulation, simulate


class Item(Payload):
    number: int


class Start(Payload):
    count: int
    to: tuple[str, ...]


class Double(Request[int]):
    number: int


class Outer(Request[Any]):
    to: str


class Source(Agent):
    """Sends a numbered item in each of its turns; asks on request."""

    retry = RetryPolicy(1)

    @handles
    async def start(self, message: Start, ctx: AgentContext) -> None:
        for to in message.to:
            ctx.send(to, Item(number=message.count))
        if message.count > 1:
            ctx.send(self.id, Start(count=message.count - 1, to=message.to))

    @handles
    async def outer(self, message: Outer, ctx: AgentContext) -> Any:
        return await ctx.ask(message.to, Double(number=21), timeout=5)


class Sink(Agent):
    retry = RetryPolicy(1)

    def __init__(self, agent_id: str, log: list[tuple[str, int, float]]) -> None:
        super().__init__(agent_id)
        self.log = log

    @handles
    async def item(self, message: Item, ctx: AgentContext) -> None:
        await asyncio.sleep(0)
        self.log.append((self.id, message.number, asyncio.get_running_loop().time()))

    @handles
    async def double(self, message: Double) -> int:
        return 2 * message.number


def deliver(faults: Faults, seed: int = 1, count: int = 50) -> tuple[list[tuple[str, int, float]], Simulation]:
    """What two sinks get of ``count`` items each."""
    log: list[tuple[str, int, float]] = []

    async def build(manager: SimulatedManager) -> None:
        await manager.register(Source("source"))
        await manager.register(Sink("left", log))
        await manager.register(Sink("right", log))
        await manager.tell("source", Start(count=count, to=("left", "right")))

    return log, simulate(build, seed=seed, faults=faults).check()


def ask(faults: Faults, seed: int = 1) -> tuple[Any, Simulation]:
    outcome: list[Any] = []

    async def build(manager: SimulatedManager) -> None:
        await manager.register(Source("source"))
        await manager.register(Sink("sink", []))
        try:
            outcome.append(await manager.ask("source", Outer(to="sink"), timeout=60))
        except TurnError as error:
            outcome.append(error)

    return outcome, simulate(build, seed=seed, faults=faults).check()


def numbers(log: list[tuple[str, int, float]], who: str) -> list[int]:
    return [number for name, number, _ in log if name == who]


def test_without_faults_all_arrives_at_once_and_in_order() -> None:
    log, result = deliver(Faults())

    assert numbers(log, "left") == numbers(log, "right") == list(range(50, 0, -1))
    assert result.struck == ()
    assert max(time for *_, time in log) == 0


def test_a_dropped_message_is_gone_and_accounted_for() -> None:
    log, result = deliver(Faults(drop=0.2))

    assert 0 < len(result.struck) < 50
    assert len(log) + len(result.struck) == 100
    assert result.dead_letters == {}


def test_a_held_channel_keeps_its_order_and_overtakes_none_of_its_own() -> None:
    log, result = deliver(Faults(delay=0.2, delay_for=(1, 5)))

    assert numbers(log, "left") == numbers(log, "right") == list(range(50, 0, -1))
    assert max(time for *_, time in log) > 1
    assert {fault.kind for fault in result.struck} == {"delay"}


def test_channels_of_different_pairs_overtake_each_other() -> None:
    log, _ = deliver(Faults(reorder=0.3))
    whole, _ = deliver(Faults())

    def leads(log: list[tuple[str, int, float]]) -> int:
        """How far one sink was ahead of the other at most."""
        seen = {"left": 0, "right": 0}
        most = 0
        for name, *_ in log:
            seen[name] += 1
            most = max(most, abs(seen["left"] - seen["right"]))
        return most

    assert numbers(log, "left") == list(range(50, 0, -1))
    assert leads(log) > leads(whole)


def test_a_message_that_comes_twice_takes_effect_once() -> None:
    log, result = deliver(Faults(duplicate=0.5))

    assert len(result.struck) > 20
    assert numbers(log, "left") == numbers(log, "right") == list(range(50, 0, -1))


def test_a_crash_fails_the_turn_and_its_message_is_a_dead_letter() -> None:
    log, result = deliver(Faults(crash=0.2))

    assert {fault.place for fault in result.struck} == {"source", "left", "right"}
    assert result.dead_letters == {"failed": len(result.struck)}
    assert len(log) < 100


def test_a_crash_is_thrown_into_the_handler_where_it_waits() -> None:
    seen: list[str] = []

    class Witness(Agent):
        retry = RetryPolicy(1)

        @handles
        async def item(self, message: Item, ctx: AgentContext) -> None:
            try:
                for _ in range(10):
                    await asyncio.sleep(1)
                    seen.append("went on")
            except Crashed as crash:
                seen.append(f"crashed {crash.agent_id}")
                raise

    async def build(manager: SimulatedManager) -> None:
        await manager.register(Witness("witness"))
        await manager.tell("witness", Item(number=1))

    simulate(build, seed=1, faults=Faults(crash=1.0)).check()

    assert seen[-1] == "crashed witness"


def test_a_crash_that_the_handler_swallows_still_fails_the_turn() -> None:
    class Stubborn(Agent):
        retry = RetryPolicy(1)

        @handles
        async def item(self, message: Item, ctx: AgentContext) -> None:
            try:
                await asyncio.sleep(1)
            except Crashed:
                ctx.send("nobody", message)

    async def build(manager: SimulatedManager) -> None:
        await manager.register(Stubborn("stubborn"))
        await manager.tell("stubborn", Item(number=1))

    for seed in range(5):
        assert simulate(build, seed=seed, faults=Faults(crash=1.0)).check().dead_letters == {"failed": 1}


def test_supervision_decides_what_follows_a_crash() -> None:
    made: list[object] = []

    class Reborn(Agent):
        retry = RetryPolicy(1)

        def __init__(self, agent_id: str) -> None:
            super().__init__(agent_id)
            made.append(self)

        @handles
        def item(self, message: Item) -> None: ...

    async def build(manager: SimulatedManager) -> None:
        await manager.register(Reborn("reborn"))
        await manager.tell("reborn", Item(number=1))

    def restarting(**given: Any) -> SimulatedManager:
        return SimulatedManager(supervision=Supervision(directives=((Crashed, "restart"),)), **given)

    simulate(build, seed=1, faults=Faults(crash=1.0), make=restarting).check()

    assert len(made) == 2


def test_a_paused_agent_runs_no_turn_for_a_while() -> None:
    log, result = deliver(Faults(pause=0.1, pause_for=(3, 3)), count=20)

    assert numbers(log, "left") == list(range(20, 0, -1))
    assert max(time for *_, time in log) >= 3
    assert {fault.kind for fault in result.struck} == {"pause"}


def test_a_slow_handler_takes_time() -> None:
    _, result = deliver(Faults(slow=1.0, slow_for=(2, 2)), count=3)

    assert result.seconds >= 6


def test_an_ask_whose_request_or_answer_is_dropped_ends_at_its_deadline() -> None:
    outcome, result = ask(Faults(drop=1.0))

    assert isinstance(outcome[0], TurnError)
    assert outcome[0].error == AskTimeout.__name__
    assert result.seconds == pytest.approx(5, abs=0.1)
    assert [str(fault) for fault in result.struck] == ["drop@source>sink#1"]


def test_an_answer_can_be_dropped_alone() -> None:
    kinds = {str(fault) for seed in range(40) for fault in ask(Faults(drop=0.3), seed)[1].struck}

    assert kinds == {"drop@source>sink#1", "drop@sink>source~answers#1"}


def test_a_delayed_answer_arrives_late() -> None:
    outcome, result = ask(Faults(delay=1.0, delay_for=(1, 1)))

    assert outcome == [42]
    assert result.seconds == pytest.approx(2, abs=0.1)


def test_an_answer_that_comes_twice_is_one() -> None:
    outcome, result = ask(Faults(duplicate=1.0))

    assert outcome == [42]
    assert len(result.struck) == 2


def test_what_comes_from_outside_and_what_goes_to_oneself_is_carried_by_no_link() -> None:
    log: list[tuple[str, int, float]] = []

    async def build(manager: SimulatedManager) -> None:
        await manager.register(Sink("sink", log))
        await manager.register(Source("source"))
        for number in range(10):
            await manager.tell("sink", Item(number=number))
        await manager.tell("source", Start(count=3, to=()))
        assert await manager.ask("sink", Double(number=2)) == 4

    result = simulate(build, seed=1, faults=Faults(drop=1.0)).check()

    assert numbers(log, "sink") == list(range(10))
    assert result.turns == 14
