"""An observer sees each run of a handler begin and end, in order, with its outcome; and it can harm nobody."""

from __future__ import annotations

import asyncio
import logging

import pytest

from moot import Agent, AgentContext, AgentManager, AgentMessage, Backoff, Payload, Request, RetryPolicy, handles
from moot.clock import LoopClock
from moot.telemetry.observer import TurnOutcome
from moot.telemetry.turn_times import TurnTimes


class Go(Request[str]):
    seconds: float = 0.0
    failures: int = 0
    wrong: bool = False


class Note(Payload):
    pass


class Doer(Agent):
    cancel_with_asker = True
    retry = RetryPolicy(backoff=Backoff(first=0, limit=0))

    @handles
    async def on_go(self, message: Go, ctx: AgentContext) -> str:
        await asyncio.sleep(message.seconds)
        if message.wrong:
            raise ValueError
        if ctx.attempt <= message.failures:
            raise OSError
        ctx.send("listener", Note())
        return "done"


class Listener(Agent):
    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.traces: list[str | None] = []

    @handles
    def on_note(self, message: Note, ctx: AgentContext) -> None:
        self.traces.append(ctx.message.trace)


class Recorder:
    def __init__(self, trace: str | None = None) -> None:
        self.seen: list[tuple[str, str, int, str]] = []
        self.trace = trace

    def turn_started(self, agent_id: str, message: AgentMessage, attempt: int) -> str | None:
        self.seen.append((agent_id, message.message_type, attempt, "started"))
        return f"{self.trace}/{message.trace}" if self.trace else None

    def turn_ended(self, agent_id: str, message: AgentMessage, attempt: int, outcome: TurnOutcome) -> None:
        self.seen.append((agent_id, message.message_type, attempt, outcome))


async def observed(*messages: Go, trace: str | None = None) -> tuple[Recorder, Listener]:
    recorder, listener = Recorder(trace), Listener("listener")
    async with AgentManager() as manager:
        manager.observe(recorder)
        await manager.register(Doer("doer"))
        await manager.register(listener)
        for message in messages:
            await asyncio.gather(manager.ask("doer", message, timeout=3), return_exceptions=True)
        await manager.settle()
    return recorder, listener


async def test_each_run_is_seen_with_its_attempt_and_its_outcome() -> None:
    recorder, _ = await observed(Go(), Go(failures=2), Go(wrong=True), Go(seconds=50))

    assert [entry[2:] for entry in recorder.seen if entry[0] == "doer"] == [
        *[(1, "started"), (1, "committed")],
        *[(1, "started"), (1, "retried"), (2, "started"), (2, "retried"), (3, "started"), (3, "committed")],
        *[(1, "started"), (1, "failed")],
        *[(1, "started"), (1, "cancelled")],
    ]


async def test_a_turn_cancelled_by_the_stop_is_seen_to_end() -> None:
    recorder = Recorder()
    manager = AgentManager()
    manager.observe(recorder)
    await manager.register(Doer("doer"))
    await manager.start()
    await manager.tell("doer", Go(seconds=100))
    await asyncio.sleep(1)

    await manager.stop(drain=False)

    assert [entry[3] for entry in recorder.seen] == ["started", "cancelled"]


async def test_the_trace_context_of_a_turn_is_carried_by_what_it_sends() -> None:
    _, listener = await observed(Go(), trace="span")
    _, untraced = await observed(Go())

    assert listener.traces == ["span/None"]
    assert untraced.traces == [None]


async def test_an_observer_that_raises_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def turn_started(self, agent_id: str, message: AgentMessage, attempt: int) -> str | None:
            raise RuntimeError("broken")

        def turn_ended(self, agent_id: str, message: AgentMessage, attempt: int, outcome: TurnOutcome) -> None:
            raise RuntimeError("broken")

    async with AgentManager() as manager:
        await manager.register(Doer("doer"))
        await manager.register(Listener("listener"))
        manager.observe(Broken())
        with caplog.at_level(logging.CRITICAL + 1):
            assert await manager.ask("doer", Go(failures=1)) == "done"
            await manager.settle()
        assert not manager.dead_letters


async def test_turn_times_add_up() -> None:
    async with AgentManager() as manager:
        times = TurnTimes(LoopClock(asyncio.get_running_loop()))
        manager.observe(times)
        await manager.register(Doer("doer"))
        await manager.register(Listener("listener"))
        await manager.ask("doer", Go(seconds=2))
        await asyncio.gather(manager.ask("doer", Go(seconds=1, failures=1)), return_exceptions=True)
        await manager.settle()

    doer = times.agents["doer"]
    assert (doer.turns, doer.failed) == (3, 1)
    assert doer.seconds == pytest.approx(4)
    assert times.agents["listener"].turns == 2
    assert not times._began
