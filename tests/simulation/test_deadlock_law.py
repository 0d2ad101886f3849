"""The oracle names who waits for whom in a circle, in order, and nobody else."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

import pytest

from moot import Agent, AgentContext, MootError, Request, handles
from moot.asks import Ask
from moot.deadlock import DeadlockMode
from moot.testing import Faults, SimulatedManager, Simulation, simulate
from moot.testing.deadlock_law import DeadlocksFound


class Call(Request[int]):
    """Each agent asks the next of ``to``."""

    to: tuple[str, ...]


class Caller(Agent):
    @handles
    async def call(self, message: Call, ctx: AgentContext) -> int:
        await asyncio.sleep(0.1)  # so that all of a circle have begun
        if not message.to:
            return 1
        return await ctx.ask(message.to[0], Call(to=message.to[1:]), timeout=20)


class Wide(Caller):
    concurrency = 2


class InATask(Caller):
    @handles
    async def call(self, message: Call, ctx: AgentContext) -> int:
        async with asyncio.timeout(2), asyncio.TaskGroup() as group:
            task = group.create_task(_awaited(ctx.ask(message.to[0], Call(to=message.to[1:]), timeout=20)))
        return task.result()


async def _awaited(ask: Ask[int]) -> int:
    return await ask


def run(
    *calls: tuple[str, ...],
    seed: int = 1,
    faults: Faults = Faults(),
    kind: type[Caller] = Caller,
    deadlocks: DeadlockMode = "off",
) -> Simulation:
    async def build(manager: SimulatedManager) -> None:
        for name in sorted({name for call in calls for name in call}):
            await manager.register(kind(name))

        async def begin(call: tuple[str, ...]) -> None:
            with contextlib.suppress(MootError):
                await manager.ask(call[0], Call(to=call[1:]), timeout=20)

        await asyncio.gather(*map(begin, calls))

    make = partial(SimulatedManager, deadlocks=deadlocks)
    return simulate(build, seed=seed, faults=faults, invariants=(DeadlocksFound,), make=make)


def ring(size: int) -> list[tuple[str, ...]]:
    """Each of so many agents asks the next, at the same time."""
    names = [f"agent_{number:02}" for number in range(size)]
    return [(name, names[(index + 1) % size]) for index, name in enumerate(names)]


@pytest.mark.parametrize("size", [2, 3, 7, 20])
def test_a_circle_is_named_in_order(size: int) -> None:
    result = run(*ring(size))

    names = [name for name, _ in ring(size)]
    assert result.violations[0].text.startswith(" -> ".join([*names, names[0]]))


@pytest.mark.parametrize("size", [2, 3, 7, 20])
@pytest.mark.parametrize("seed", range(5))
def test_a_circle_that_is_found_is_no_violation(size: int, seed: int) -> None:
    assert run(*ring(size), seed=seed, deadlocks="break").failure is None


def test_an_agent_that_asks_back_up_its_own_chain_is_a_circle() -> None:
    assert "a -> b -> c -> a" in run(("a", "b", "c", "a")).violations[0].text


@pytest.mark.parametrize(
    "calls",
    [
        (("a", "b", "c"),),
        (("a", "b"), ("b", "c"), ("c", "d")),
        (("a", "c"), ("b", "c"), ("d", "a", "c")),
    ],
    ids=["a chain", "a row", "a tree"],
)
@pytest.mark.parametrize("seed", range(5))
def test_who_waits_without_a_circle_is_not_named(calls: tuple[tuple[str, ...], ...], seed: int) -> None:
    assert run(*calls, seed=seed).failure is None


@pytest.mark.parametrize("kind", [Wide, InATask])
def test_what_may_go_on_is_not_named(kind: type[Caller]) -> None:
    assert run(*ring(2), kind=kind).failure is None


def test_a_message_that_is_lost_is_no_circle() -> None:
    assert run(*ring(2), faults=Faults(drop=1.0)).failure is None
