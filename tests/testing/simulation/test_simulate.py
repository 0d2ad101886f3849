"""A simulation ends by itself, says what went wrong inside it, and is a value that two runs of one seed share."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from moot import Agent, AgentContext, AgentManager, AgentMessage, ManagerStopped, Payload, Request, handles
from moot.agent.ask import Ask
from moot.messaging.dead_letters import DeadLetter
from moot.runtime.cell import Cell
from moot.runtime.dispatch.at_once import AtOnce
from moot.runtime.dispatch.runner import Runner
from moot.telemetry.observer import TurnOutcome
from moot.testing import (
    LAWS,
    Fault,
    Faults,
    Invariant,
    ScriptedEngine,
    SimulatedManager,
    SimulationFailed,
    report,
    search,
    simulate,
)
from moot.testing.simulation import loop as loop_module
from moot.testing.simulation.network import FaultyNetwork
from moot.testing.simulation.shrink import shrink
from tests.testing.simulation import workflow


class Ping(Request[int]):
    number: int


class Tick(Payload):
    pass


class Clock(Agent):
    """Ticks for ever."""

    @handles
    async def tick(self, message: Tick, ctx: AgentContext) -> None:
        ctx.schedule(1.0, message)

    @handles
    async def ping(self, message: Ping) -> int:
        return message.number


async def ticking(manager: SimulatedManager) -> None:
    await manager.register(Clock("clock"))
    await manager.tell("clock", Tick())


# how it ends
def test_it_ends_when_the_function_has_returned_and_nothing_is_left_to_do() -> None:
    result = simulate(workflow.build, seed=1).check()

    assert result.failure is None
    assert result.turns > 100
    assert result.events[-1].time <= result.seconds


def test_timers_of_agents_do_not_keep_it_going() -> None:
    result = simulate(ticking, seed=1).check()

    assert result.turns == 1
    assert result.dead_letters == {"stopped": 1}


def test_it_ends_after_so_many_virtual_seconds_at_last() -> None:
    async def endless(manager: SimulatedManager) -> None:
        await ticking(manager)
        await asyncio.Event().wait()

    result = simulate(endless, seed=1, until=100.5).check()

    assert result.turns == 101
    assert result.seconds == pytest.approx(100.5)


def test_what_drives_in_the_background_ends_with_the_manager() -> None:
    ended: list[str] = []

    async def driven(manager: SimulatedManager) -> None:
        await ticking(manager)

        async def drive() -> None:
            try:
                while True:
                    await asyncio.sleep(1)
                    await manager.ask("clock", Ping(number=1))
            except ManagerStopped:
                ended.append("stopped")

        tasks.append(asyncio.ensure_future(drive()))
        await asyncio.sleep(10.5)

    tasks: list[asyncio.Task[None]] = []

    assert simulate(driven, seed=1).check().turns == 21
    assert ended == ["stopped"]


def test_a_driver_that_never_ends_by_itself_is_cancelled() -> None:
    async def driven(manager: SimulatedManager) -> None:
        async def drive() -> None:
            while True:  # noqa: ASYNC110 - it waits for nothing
                await asyncio.sleep(1)

        tasks.append(asyncio.ensure_future(drive()))

    tasks: list[asyncio.Task[None]] = []

    simulate(driven, seed=1).check()

    assert tasks[0].cancelled()


def test_a_function_may_stop_the_manager_itself() -> None:
    async def stopping(manager: SimulatedManager) -> None:
        await ticking(manager)
        await manager.stop()

    simulate(stopping, seed=1).check()


def test_a_plain_function_will_do() -> None:
    def plain(manager: AgentManager) -> None:
        manager.host(Clock, domain="clock")

    simulate(plain, seed=1).check()


# what goes wrong
def test_what_the_function_raises_is_in_the_result() -> None:
    async def failing(manager: SimulatedManager) -> None:
        await ticking(manager)
        raise KeyError("no such order")

    result = simulate(failing, seed=1)

    assert result.failure == "KeyError"
    with pytest.raises(SimulationFailed, match="no such order"):
        result.check()


def test_a_function_that_waits_for_ever_is_said_to() -> None:
    async def waiting(manager: SimulatedManager) -> None:
        await ticking(manager)
        await manager.unregister("clock")
        await asyncio.get_running_loop().create_future()

    result = simulate(waiting, seed=1)

    assert result.failure == "goes on"
    assert "waits in" in result.violations[0].text


def test_agents_that_go_round_in_a_circle_are_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "_MOST_STEPS_AT_ONCE", 500)
    monkeypatch.setattr(loop_module, "_STEPS_PER_COLLECTION", 100)

    class Eager(Agent):
        @handles
        async def tick(self, message: Tick, ctx: AgentContext) -> None:
            ctx.send(self.id, message)

    async def circling(manager: SimulatedManager) -> None:
        await manager.register(Eager("eager"))
        await manager.tell("eager", Tick())

    assert simulate(circling, seed=1).failure == "goes on"


def test_a_task_that_waits_for_what_cannot_come_is_stranded() -> None:
    async def stranding(manager: SimulatedManager) -> None:
        tasks.append(asyncio.ensure_future(asyncio.Event().wait()))

    tasks: list[asyncio.Task[Any]] = []

    assert simulate(stranding, seed=1).failure == "nothing stranded"


def test_it_cannot_be_called_from_a_running_loop() -> None:
    async def main() -> None:
        simulate(ticking, seed=1)

    with pytest.raises(RuntimeError, match="call it from a plain function"):
        asyncio.run(main())


# what it is
def test_two_runs_of_a_seed_are_the_same_and_of_two_seeds_are_not() -> None:
    faults = Faults(drop=0.1, delay=0.1, crash=0.05)
    one, same, other = (simulate(workflow.build, seed=seed, faults=faults) for seed in (1, 1, 2))

    assert (one.digest, one.events, one.struck) == (same.digest, same.events, same.struck)
    assert one.digest != other.digest


def test_the_surroundings_are_left_as_they_were() -> None:
    level, collects = logging.getLogger("moot").level, gc.isenabled()

    simulate(workflow.build, seed=1)

    assert (logging.getLogger("moot").level, gc.isenabled()) == (level, collects)
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_an_observer_of_the_users_own_sees_turns_beside_the_simulation() -> None:
    seen: list[TurnOutcome] = []

    class Mine:
        def turn_started(self, agent_id: str, message: AgentMessage, attempt: int) -> str | None:
            return "trace-1"

        def turn_ended(self, agent_id: str, message: AgentMessage, attempt: int, outcome: TurnOutcome) -> None:
            seen.append(outcome)

    async def watched(manager: SimulatedManager) -> None:
        manager.observe(Mine())
        await ticking(manager)

    assert simulate(watched, seed=1).check().turns == 1
    assert seen == ["committed"]


def test_the_manager_can_be_made_with_more() -> None:
    answers: list[str] = []

    async def thinking(manager: SimulatedManager) -> None:
        assert manager._engine is not None
        answers.append("has an engine")

    simulate(thinking, seed=1, make=lambda **given: SimulatedManager(engine=ScriptedEngine([]), **given)).check()

    assert answers == ["has an engine"]


class NoDeadLetters(Invariant):
    """A law of the user's own."""

    name = "no dead letters"

    def buried(self, letter: DeadLetter) -> None:
        self.violated(f"{letter.reason} happened to {letter.message.message_type}")


def test_an_invariant_of_the_users_own_is_checked_beside_the_others() -> None:
    result = simulate(ticking, seed=1, invariants=(*LAWS, NoDeadLetters))

    assert result.failure == "no dead letters"
    assert result.violations[0].text == "stopped happened to tick"


# searching and shrinking
class Fragile(Agent):
    """Breaks when two of three certain messages are missing."""

    def __init__(self, agent_id: str, seen: set[int]) -> None:
        super().__init__(agent_id)
        self.seen = seen

    @handles
    async def ping(self, message: Ping) -> int:
        self.seen.add(message.number)
        return message.number


class Feeder(Agent):
    @handles
    async def tick(self, message: Tick, ctx: AgentContext) -> None:
        for number in range(30):
            ctx.send("fragile", Ping(number=number))


async def breaking(manager: SimulatedManager) -> None:
    seen: set[int] = set()
    await manager.register(Fragile("fragile", seen))
    await manager.register(Feeder("feeder"))
    await manager.tell("feeder", Tick())
    await asyncio.sleep(60)
    assert not {5, 17}.isdisjoint(seen), "neither 5 nor 17 came"


NOISY = Faults(drop=0.3, delay=0.2, duplicate=0.2, slow=0.2)


def test_a_failing_seed_is_shrunk_to_the_faults_that_it_takes() -> None:
    found = search(breaking, seeds=range(1000), faults=NOISY)

    assert found.first is not None
    assert found.shrunk is not None
    assert len(found.first.struck) > 5
    assert [str(fault) for fault in found.shrunk.struck] == ["drop@feeder>fragile#6", "drop@feeder>fragile#18"]
    assert found.shrunk.failure == found.first.failure == "AssertionError"


def test_a_shrunk_run_replays_from_its_seed_and_faults() -> None:
    shrunk = search(breaking, seeds=range(1000), faults=NOISY).shrunk
    assert shrunk is not None

    again = simulate(breaking, seed=shrunk.seed, faults=NOISY.just(shrunk.struck))

    assert again.digest == shrunk.digest


def test_what_needs_no_fault_is_shrunk_to_none() -> None:
    async def broken(manager: SimulatedManager) -> None:
        await breaking(manager)
        raise KeyError

    found = search(broken, seeds=range(1), faults=NOISY)

    assert found.shrunk is not None
    assert found.shrunk.struck == ()


def test_shrinking_stops_after_so_many_runs() -> None:
    first = search(breaking, seeds=range(1000), faults=NOISY).first
    assert first is not None
    runs: list[int] = []

    def again(just: Sequence[Fault]) -> Any:
        runs.append(len(just))
        return simulate(breaking, seed=first.seed, faults=NOISY.just(just))

    shrunk = shrink(first, again, most_runs=3)

    assert len(runs) == 3
    assert shrunk.failure == first.failure


def test_a_search_that_finds_nothing_says_what_it_saw() -> None:
    found = search(workflow.build, seeds=range(3), faults=Faults(drop=0.1)).check()

    assert (found.seeds, found.first) == (3, None)
    assert found.struck["drop"] > 0
    assert found.turns > 100


def test_a_report_tells_the_seed_the_faults_the_sequence_and_how_to_run_it_again() -> None:
    shrunk = search(breaking, seeds=range(1000), faults=NOISY).shrunk
    assert shrunk is not None

    text = report(shrunk, "moot simulate breaking")

    assert f"seed {shrunk.seed} fails: AssertionError" in text
    assert "2: drop@feeder>fragile#6 drop@feeder>fragile#18" in text
    assert "feeder -> fragile  ping #7  dropped" in text
    assert "neither 5 nor 17 came" in text
    assert text.endswith("replay: moot simulate breaking")


class Wake(Payload):
    number: int


class Sleeper(Agent):
    """Sets its timer anew whenever it is told to, and cancels it at 3."""

    woken: list[int]

    def __init__(self, agent_id: str, woken: list[int]) -> None:
        super().__init__(agent_id)
        self.woken = woken

    async def handle_message(self, message: AgentMessage, ctx: AgentContext) -> None:
        if message.message_type == "wake":
            self.woken.append(message.content.number)
        elif message.content == 3:
            ctx.unschedule("alarm")
        else:
            ctx.schedule(5, Wake(message.content), name="alarm")


def test_a_timer_that_is_replaced_or_cancelled_is_not_lost() -> None:
    woken: list[int] = []

    async def build(manager: SimulatedManager) -> None:
        await manager.register(Sleeper("sleeper", woken))
        for number in range(5):
            await manager.tell("sleeper", number, message_type="set")
        await asyncio.sleep(10)

    simulate(build, seed=1).check()
    assert woken == [4]


def test_a_coin_decides_whether_an_ask_is_handled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a few seeds some are, some wait for something in the middle, and some take the queue."""
    ways: Counter[str] = Counter()
    request, handle, resume = FaultyNetwork.request, AtOnce.handle, AtOnce._resume

    def requesting(network: FaultyNetwork, ask: Ask[Any], target: Cell, message: AgentMessage) -> None:
        ways["asked"] += 1
        request(network, ask, target, message)

    def handling(at_once: AtOnce, ask: Ask[Any], cell: Cell, message: AgentMessage) -> bool:
        is_handled = handle(at_once, ask, cell, message)
        ways["at once"] += is_handled
        return is_handled

    def resuming(at_once: AtOnce, runner: Runner) -> None:
        ways["gone on with"] += 1
        resume(at_once, runner)

    monkeypatch.setattr(FaultyNetwork, "request", requesting)
    monkeypatch.setattr(AtOnce, "handle", handling)
    monkeypatch.setattr(AtOnce, "_resume", resuming)
    for seed in range(5):
        assert not simulate(workflow.build, seed=seed).violations

    assert 0 < ways["gone on with"] < ways["at once"] < ways["asked"]
