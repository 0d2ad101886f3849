"""The detector and the oracle agree: circles of asks are found at once, in any order and with any delay of messages."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from moot import Agent, AgentContext, MailboxPolicy, MootError, Request, handles
from moot.runtime.liveness.deadlock import Deadlocks
from moot.testing import Faults, SimulatedManager, search

FAULTS = Faults(delay=0.2, reorder=0.3, duplicate=0.1, pause=0.1, slow=0.2, delay_for=(0.01, 1.0), pause_for=(0.1, 1.0))
TIMEOUT = 60.0


class Call(Request[int]):
    """Each agent asks the next of ``to``."""

    to: tuple[str, ...]


class Caller(Agent):
    mailbox = MailboxPolicy(2)

    @handles
    async def call(self, message: Call, ctx: AgentContext) -> int:
        await asyncio.sleep(2 * ctx.random.random())
        if not message.to:
            return 1
        answer: int = await ctx.ask(message.to[0], Call(to=message.to[1:]), timeout=TIMEOUT)
        return answer


def run(*calls: tuple[str, ...], seeds: int, faults: Faults = FAULTS, deadlocks: str = "break") -> list[int]:
    """How many of the calls in each run fail because of a circle; that none waits for a deadline, the laws say."""
    failed: list[int] = []

    async def build(manager: SimulatedManager) -> None:
        for name in sorted({name for call in calls for name in call}):
            await manager.register(Caller(name))

        async def begin(call: tuple[str, ...]) -> bool:
            with contextlib.suppress(MootError):
                await manager.ask(call[0], Call(to=call[1:]), timeout=TIMEOUT)
                return False
            return True

        failures = await asyncio.gather(*map(begin, calls))
        failed.append(sum(failures))
        assert asyncio.get_running_loop().time() < TIMEOUT, "somebody waited for a deadline"

    def make(**given: object) -> SimulatedManager:
        return SimulatedManager(deadlocks=deadlocks, **given)  # type: ignore[arg-type]

    search(build, seeds=range(seeds), faults=faults, make=make).check()
    return failed


def ring(size: int) -> list[tuple[str, ...]]:
    """Each of so many agents asks the next, at about the same time."""
    names = [f"agent_{number:02}" for number in range(size)]
    return [(name, names[(index + 1) % size]) for index, name in enumerate(names)]


@pytest.mark.parametrize("size", [2, 3, 7, 20])
def test_a_circle_is_found_in_any_order(size: int) -> None:
    failed = run(*ring(size), seeds=20)

    assert max(failed) > 0


def test_an_agent_that_asks_back_up_its_own_chain_is_found() -> None:
    assert run(("a", "b", "c", "a"), seeds=20) == [1] * 20


@pytest.mark.parametrize(
    "calls",
    [(("a", "b", "c"),), (("a", "b"), ("b", "c"), ("c", "d")), (("a", "c"), ("b", "c"), ("d", "a", "c"))],
    ids=["a chain", "a row", "a tree"],
)
def test_who_waits_without_a_circle_is_left_alone(calls: tuple[tuple[str, ...], ...]) -> None:
    assert run(*calls, seeds=40) == [0] * 40


def test_a_detector_that_misses_a_circle_is_seen_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Deadlocks, "_look", lambda self, start: None)
    monkeypatch.setattr(Deadlocks, "check_chain", lambda self, turn, target: None)

    with pytest.raises(AssertionError, match=r"agent_00, agent_01 wait in a circle that the detector has not found"):
        run(*ring(2), seeds=20)


def test_where_circles_are_only_reported_they_break_no_law() -> None:
    with pytest.raises(AssertionError, match="somebody waited for a deadline"):
        run(*ring(2), seeds=20, deadlocks="report")
