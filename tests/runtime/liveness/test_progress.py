"""An agent with mail that ends no turn is reported once, with what it waits for; nobody else is.

The tick that finds it runs on the event loop's clock, which is virtual here, and only while there is something to
watch: when nothing can happen any more, the loop still says so.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    Ask,
    Backoff,
    MailboxPolicy,
    ManagerStopped,
    Payload,
    Request,
    Supervision,
    TimeoutPolicy,
    TurnError,
    handles,
)
from moot.testing import Stalled, run

TICK = 1.0
HOUR = 3600.0


class Job(Payload):
    """Takes ``seconds``."""

    seconds: float = 0.0


class Question(Request[str]):
    """Asked by an agent that waits for the answer."""


class Worker(Agent):
    timeouts = TimeoutPolicy(idle_timeout=60)

    @handles
    async def job(self, message: Job) -> None:
        await asyncio.sleep(message.seconds)


class Silent(Agent):
    """Never answers."""

    @handles
    async def question(self, message: Question, ctx: AgentContext) -> None:
        ctx.defer()


def texts(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "moot.runtime.liveness.progress"]


async def test_an_agent_that_ends_no_turn_while_mail_waits_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    async with AgentManager() as manager:
        await manager.register(Worker("worker"))
        await manager.tell("worker", Job(seconds=HOUR))
        await manager.tell("worker", Job())

        await asyncio.sleep(60 - TICK)
        assert texts(caplog) == []
        assert manager.health().stuck == ()

        await asyncio.sleep(3 * TICK)
        (text,) = texts(caplog)
        assert "agent worker has 1 message(s), the first a 'job', and has ended no turn for 6" in text
        assert "a turn on 'job' has run for 6" in text
        assert manager.health().stuck == ("worker",)

        await asyncio.sleep(HOUR / 2)
        assert len(texts(caplog)) == 1
        assert manager.health().reported == 1

        await manager.settle()
        assert manager.health().stuck == ()


async def test_whoever_makes_progress_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    class Two(Worker):
        concurrency = 2

    async with AgentManager() as manager:
        await manager.register(Worker("slow"))
        await manager.register(Two("half"))
        await manager.tell("half", Job(seconds=HOUR))
        for _ in range(40):
            await manager.tell("slow", Job(seconds=50))
            await manager.tell("half", Job(seconds=50))
        await manager.settle()

        assert texts(caplog) == []


async def test_mail_that_is_withdrawn_is_no_progress(caplog: pytest.LogCaptureFixture) -> None:
    async with AgentManager() as manager:
        await manager.register(Worker("worker"))
        await manager.tell("worker", Job(seconds=HOUR))
        callers = [manager.ask("worker", Job(), timeout=seconds) for seconds in (20, 40)]
        asked = asyncio.gather(*(_awaited(ask) for ask in callers), return_exceptions=True)
        await asyncio.sleep(1)
        await manager.tell("worker", Job())
        await asyncio.sleep(65)

        assert len(texts(caplog)) == 1
        await asked
        await manager.stop(drain=False)


async def _awaited(ask: Ask[Any]) -> Any:
    return await ask


async def test_a_long_turn_without_mail_is_nobody_s_concern(caplog: pytest.LogCaptureFixture) -> None:
    async with AgentManager() as manager:
        await manager.register(Worker("worker"))
        await manager.tell("worker", Job(seconds=HOUR))
        await asyncio.sleep(HOUR / 2)

        health = manager.health()
        assert health.stuck == ()
        assert health.agents["worker"].running == 1
        assert health.agents["worker"].running_for >= HOUR / 2 - 2 * TICK
        assert texts(caplog) == []


async def test_without_an_idle_timeout_nothing_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    async with AgentManager() as manager:
        await manager.register(Worker("worker"), timeouts=TimeoutPolicy(idle_timeout=None))
        await manager.tell("worker", Job(seconds=HOUR))
        await manager.tell("worker", Job())
        await manager.settle()

        assert texts(caplog) == []


async def test_the_report_names_the_ask_that_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    class Curious(Worker):
        @handles
        async def job(self, message: Job, ctx: AgentContext) -> None:  # type: ignore[override]
            await ctx.ask("silent", Question(), timeout=HOUR)

    async with AgentManager() as manager:
        await manager.register(Curious("curious"))
        await manager.register(Silent("silent"))
        await manager.tell("curious", Job())
        await manager.tell("curious", Job())
        await asyncio.sleep(70)

        (text,) = texts(caplog)
        assert "waits for 'silent' to answer 'question'" in text
        await manager.stop(drain=False)


async def test_the_report_names_the_mailbox_that_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    class Source(Worker):
        timeouts = TimeoutPolicy(idle_timeout=10)

        @handles
        async def job(self, message: Job, ctx: AgentContext) -> None:  # type: ignore[override]
            for _ in range(3):
                ctx.send("sink", Job(seconds=HOUR))

    async with AgentManager() as manager:
        await manager.register(Source("source"))
        await manager.register(Worker("sink"), mailbox=MailboxPolicy(capacity=1))
        await manager.tell("source", Job())
        await manager.tell("source", Job())
        await asyncio.sleep(20)

        (text,) = texts(caplog)
        assert "agent source" in text
        assert "its output waits for room in the mailbox of 'sink'" in text
        await manager.stop(drain=False)


async def test_who_gets_on_and_is_stuck_again_is_reported_again(caplog: pytest.LogCaptureFixture) -> None:
    async with AgentManager() as manager:
        await manager.register(Worker("worker"))
        for _ in range(3):
            await manager.tell("worker", Job(seconds=100))
        await manager.settle()

        assert len(texts(caplog)) == 2  # the third turn leaves no mail waiting
        assert manager.health().reported == 2


class SlowToBegin(Worker):
    """Takes an hour to begin, but for the first time."""

    begun: ClassVar[int] = 0

    async def on_start(self, ctx: AgentContext) -> None:
        SlowToBegin.begun += 1
        await asyncio.sleep(HOUR if SlowToBegin.begun > 1 else 0)

    @handles
    async def question(self, message: Question) -> str:
        raise ValueError("restart me")


async def test_an_agent_that_is_stuck_in_its_restart_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    SlowToBegin.begun = 0
    policy = Supervision(directives=((ValueError, "restart"),), backoff=Backoff(first=0, limit=0))
    async with AgentManager(supervision=policy) as manager:
        await manager.register(SlowToBegin("slow"))
        with pytest.raises(TurnError):
            await manager.ask("slow", Question())
        await asyncio.sleep(1)
        await manager.tell("slow", Job())
        await asyncio.sleep(70)

        assert manager.health().stuck == ("slow",)
        assert [text for text in texts(caplog) if "it is being restarted" in text]


def test_when_nothing_can_happen_any_more_the_loop_says_so() -> None:
    async def main() -> None:
        async def waits(message: Job) -> None:
            if message.seconds:
                await asyncio.Event().wait()

        async with AgentManager() as manager:
            await manager.register(waits)
            await manager.tell("waits", Job(seconds=1))
            await manager.tell("waits", Job())
            await manager.settle()

    with pytest.raises(Stalled):
        run(main())


async def test_health_tells_of_those_who_have_something_to_tell() -> None:
    async with AgentManager() as manager:
        await manager.register(Worker, count=3)
        await manager.tell("worker_2", Job(seconds=100))
        for _ in range(4):
            await manager.tell("worker_2", Job())
        await asyncio.sleep(30)

        health = manager.health()
        assert list(health.agents) == ["worker_2"]
        (worker,) = health.agents.values()
        assert (worker.mail, worker.running) == (4, 1)
        for seconds in (worker.oldest, worker.running_for, worker.no_progress):
            assert 30 - 2 * TICK <= seconds <= 30
        assert worker.doing.startswith("a turn on 'job' has run for ")
        assert (health.open_asks, health.loop_lag, health.blocks) == (0, None, 0)

        await manager.settle()
        assert manager.health().agents == {}


async def test_an_idle_system_has_no_timer() -> None:
    loop = asyncio.get_running_loop()
    async with AgentManager() as manager:
        await manager.register(Worker("worker"))
        await manager.tell("worker", Job(seconds=5))
        await manager.settle()
        await asyncio.sleep(10)

        assert [timer for timer in loop._scheduled if not timer.cancelled()] == []  # type: ignore[attr-defined]


async def test_a_manager_that_does_not_run_has_no_health() -> None:
    with pytest.raises(ManagerStopped, match="look at its health"):
        AgentManager().health()


async def test_a_watch_that_cannot_begin_begins_with_the_next_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """A teller that has run out of stack wakes the watch, too, and fails in the middle of it."""

    def too_deep(*words: Any) -> None:
        raise RecursionError

    async with AgentManager() as manager:
        await manager.register(Worker("worker"))
        with monkeypatch.context() as patch:
            patch.setattr(asyncio.get_running_loop(), "call_later", too_deep)
            with pytest.raises(RecursionError):
                await manager.tell("worker", Job(seconds=1))
        await manager.tell("worker", Job(seconds=20))
        await asyncio.sleep(15)

        assert manager.health().agents["worker"].running_for >= 13
        assert manager.stats().turns == 0
