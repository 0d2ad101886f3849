"""The deadline wheel fires each entry once, never early and at most a slot late, unless it was withdrawn.

What a turn schedules comes at its time, if the turn commits.
"""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot import Agent, AgentContext, AgentManager, Payload, Reason, Request, RetryPolicy, TurnError, handles
from moot.clock import LoopClock
from moot.resilience.deadlines import DeadlineWheel
from moot.testing import FakeContext, run


class Entry:
    def __init__(self, clock: LoopClock, due: float) -> None:
        self._clock = clock
        self.due = due
        self.fired: list[float] = []

    def expire(self) -> None:
        self.fired.append(self._clock.now())


@given(
    delays=st.lists(st.floats(0, 100), min_size=1, max_size=30),
    withdrawn=st.sets(st.integers(0, 29)),
)
def test_every_entry_fires_once_in_its_slot(delays: list[float], withdrawn: set[int]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        clock = LoopClock(loop)
        wheel = DeadlineWheel(loop, clock)
        entries = [Entry(clock, clock.now() + delay) for delay in delays]
        slots = [wheel.entries(entry.due) for entry in entries]
        for slot, entry in zip(slots, entries, strict=True):
            slot[entry] = None
        for index in withdrawn:
            if index < len(entries):
                slots[index].pop(entries[index], None)

        await asyncio.sleep(101)

        for index, entry in enumerate(entries):
            if index in withdrawn:
                assert entry.fired == []
            else:
                (at,) = entry.fired
                assert entry.due - 1e-4 <= at <= entry.due + 1 / 64 + 1e-4
        assert len(wheel) == 0

    run(main())


async def test_an_entry_for_an_earlier_slot_is_not_held_up_by_a_later_one() -> None:
    loop = asyncio.get_running_loop()
    clock = LoopClock(loop)
    wheel = DeadlineWheel(loop, clock)
    late, early = Entry(clock, clock.now() + 50), Entry(clock, clock.now() + 1)
    wheel.entries(late.due)[late] = None
    wheel.entries(early.due)[early] = None

    await asyncio.sleep(2)

    assert early.fired
    assert not late.fired
    wheel.close()
    await asyncio.sleep(100)
    assert not late.fired


class Note(Payload):
    text: str


class Go(Request[str]):
    fail: bool = False


class Clock(Agent):
    """Schedules three messages, the first of them to itself, and keeps what comes, with the time."""

    retry = RetryPolicy(max_attempts=1)

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.heard: list[tuple[str, float]] = []

    @handles
    def on_go(self, message: Go, ctx: AgentContext) -> str:
        ctx.schedule(10, Note("to me"))
        ctx.schedule(5, Note("to another"), to="other")
        ctx.schedule(0, Note("at once"), to="other")
        if message.fail:
            raise ValueError
        return "scheduled"

    @handles
    def on_note(self, message: Note) -> None:
        self.heard.append((message.text, asyncio.get_running_loop().time()))


async def test_a_scheduled_message_comes_at_its_time_to_its_receiver() -> None:
    async with AgentManager() as manager:
        clock, other = Clock("clock"), Clock("other")
        await manager.register(clock)
        await manager.register(other)
        assert await manager.ask("clock", Go()) == "scheduled"

        await asyncio.sleep(20)

        assert clock.heard == [("to me", 10)]
        assert other.heard == [("at once", 0), ("to another", 5)]


async def test_nothing_that_a_failed_turn_scheduled_ever_comes() -> None:
    async with AgentManager() as manager:
        clock, other = Clock("clock"), Clock("other")
        await manager.register(clock)
        await manager.register(other)
        with pytest.raises(TurnError):
            await manager.ask("clock", Go(fail=True))

        await asyncio.sleep(20)

        assert clock.heard == other.heard == []
        assert not manager._system or not manager._system.timers


async def test_what_is_scheduled_is_given_up_when_the_manager_stops() -> None:
    clock = Clock("clock")
    async with AgentManager() as manager:
        await manager.register(clock)
        await manager.register(Clock("other"))
        await manager.ask("clock", Go())

    await asyncio.sleep(20)

    assert clock.heard == []


async def test_what_is_scheduled_for_an_agent_that_has_gone_is_a_dead_letter() -> None:
    async with AgentManager() as manager:
        await manager.register(Clock("clock"))
        await manager.register(Clock("other"))
        await manager.ask("clock", Go())
        await asyncio.sleep(1)
        await manager.unregister("other")

        await asyncio.sleep(20)

        assert manager.dead_letters.counts == {Reason.UNKNOWN_AGENT: 1}
        with pytest.raises(ValueError, match="0 or more seconds"):
            FakeContext.of(message=Go()).schedule(math.nan, Note(""))


async def test_what_an_agent_had_scheduled_ends_with_it() -> None:
    async with AgentManager() as manager:
        other = Clock("other")
        await manager.register(Clock("clock"))
        await manager.register(other)
        await manager.ask("clock", Go())
        await asyncio.sleep(1)
        await manager.unregister("clock")

        await asyncio.sleep(20)

        assert other.heard == [("at once", 0)]
        assert manager.dead_letters.counts == {Reason.STOPPED: 2}


async def test_an_agent_can_keep_time() -> None:
    class Ticking(Clock):
        @handles
        def on_tick(self, message: Note, ctx: AgentContext) -> None:
            self.on_note(message)
            ctx.schedule(1, message)

    ticking = Ticking("ticking")
    async with AgentManager() as manager:
        await manager.register(ticking)
        await manager.tell("ticking", Note("tick"))
        await asyncio.sleep(3.5)

    assert [at for _, at in ticking.heard] == [0, 1, 2, 3]


class Beat(Payload):
    pass


class Beating(Agent):
    def __init__(self, agent_id: str, beats: list[str]) -> None:
        super().__init__(agent_id)
        self.beats = beats

    async def on_start(self, ctx: AgentContext) -> None:
        ctx.schedule(1, Beat(), every=1)

    @handles
    async def beat(self, message: Beat) -> None:
        self.beats.append(self.id)


async def test_a_repeating_timer_ends_with_its_agent_and_is_not_inherited_by_the_next_of_its_name() -> None:
    beats: list[str] = []
    async with AgentManager() as manager:
        await manager.register(Beating("heart", beats))
        await asyncio.sleep(2.5)
        await manager.unregister("heart")
        await asyncio.sleep(3)
        await manager.register(Beating("heart", beats))
        await asyncio.sleep(2.5)

        assert [letter.reason for letter in manager.dead_letters] == [Reason.STOPPED]

    assert beats == ["heart"] * 4
