"""An ask that a circuit breaker stops is never sent, and each pair of caller and target has a breaker of its own."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, NamedTuple

import pytest

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    AgentStopped,
    AskTimeout,
    BreakerOpen,
    BreakerPolicy,
    FunctionAgent,
    MailboxPolicy,
    MootError,
    Request,
    RetryPolicy,
    TurnError,
    UnknownAgent,
    UnknownMessageType,
    handles,
)
from moot.agent.ask import Ask
from moot.clock import LoopClock
from moot.runtime.routing.breakers import Breakers


class Question(Request[str]):
    text: str = "?"


class Other(Request[str]):
    pass


class Flaky(Agent):
    """Fails while it is told to."""

    retry = RetryPolicy(max_attempts=1)

    def __init__(self, agent_id: str = "flaky") -> None:
        super().__init__(agent_id)
        self.mode = "fail"
        self.asked = 0

    @handles
    async def question(self, message: Question, ctx: AgentContext) -> str:
        self.asked += 1
        if self.mode == "fail":
            raise ValueError("on purpose")
        if self.mode == "silent":
            ctx.defer()
        return "fine"


class Caller(Agent):
    """Asks on behalf of the test and says how it ended."""

    breaker = BreakerPolicy(failures=3, reset_after=30, probes=1)

    def __init__(self, agent_id: str = "caller") -> None:
        super().__init__(agent_id)
        self.errors: list[Any] = []

    @handles
    async def question(self, message: Question, ctx: AgentContext) -> str:
        request = Other() if message.text == "other" else Question()
        try:
            return await ctx.ask("nobody" if message.text == "nobody" else "flaky", request, timeout=5)
        except (MootError, TimeoutError) as error:
            self.errors.append(error)
            return type(error).__name__


async def call(manager: AgentManager, text: str = "?", caller: str = "caller") -> str:
    return await manager.ask(caller, Question(text), timeout=1000)


async def running(manager: AgentManager, **policies: Any) -> tuple[Flaky, Caller]:
    flaky, caller = Flaky(), Caller()
    await manager.register(flaky)
    await manager.register(caller, **policies)
    return flaky, caller


async def test_it_opens_tries_once_and_closes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "moot.resilience.breaker")
    async with AgentManager() as manager:
        flaky, caller = await running(manager)
        assert [await call(manager) for _ in range(5)] == ["TurnError"] * 3 + ["BreakerOpen"] * 2
        assert flaky.asked == 3
        assert (
            manager.stats().messages == 8
        )  # five asks of the test and three of the caller: what is stopped is not sent
        error = caller.errors[-1]
        assert isinstance(error, BreakerOpen)
        assert (error.target, round(error.retry_after)) == ("flaky", 30)
        (status,) = manager.breakers()
        assert (status.caller, status.target, status.state, status.failures) == ("caller", "flaky", "open", 3)

        await asyncio.sleep(error.retry_after)
        assert await call(manager) == "TurnError"
        assert await call(manager) == "BreakerOpen"
        flaky.mode = "work"
        await asyncio.sleep(30)
        assert [await call(manager) for _ in range(3)] == ["fine"] * 3

        assert manager.breakers() == []
        ours = [record for record in caplog.records if record.name == "moot.resilience.breaker"]
        said = [record.message.partition(";")[0] for record in ours]
        assert said == [
            "the circuit breaker of 'caller' to 'flaky' opened after 3 failure(s) in a row",
            "the circuit breaker of 'caller' to 'flaky' tries again",
            "the circuit breaker of 'caller' to 'flaky' opened after 4 failure(s) in a row",
            "the circuit breaker of 'caller' to 'flaky' tries again",
            "the circuit breaker of 'caller' to 'flaky' is closed again",
        ]


@pytest.mark.parametrize(
    ("mode", "text", "error"),
    [("silent", "?", AskTimeout), ("fail", "?", TurnError), ("work", "nobody", UnknownAgent)],
)
async def test_what_counts_is_that_no_answer_can_be_had(mode: str, text: str, error: type[Exception]) -> None:
    async with AgentManager() as manager:
        flaky, caller = await running(manager)
        flaky.mode = mode

        for _ in range(4):
            await call(manager, text)

        assert [type(one) for one in caller.errors] == [error, error, error, BreakerOpen]


async def test_a_full_mailbox_counts() -> None:
    class Busy(Agent):
        @handles
        async def question(self, message: Question) -> str:
            await asyncio.sleep(50)
            return "late"

    async with AgentManager() as manager:
        await manager.register(Busy("flaky"), mailbox=MailboxPolicy(1, "fail"))
        await manager.register(Caller("caller"))
        waiting = []
        for _ in range(2):
            waiting.append(asyncio.ensure_future(manager.ask("flaky", Question(), timeout=200)))
            await asyncio.sleep(1)

        assert [await call(manager) for _ in range(4)] == ["MailboxFull"] * 3 + ["BreakerOpen"]
        assert await asyncio.gather(*waiting) == ["late", "late"]


async def test_an_agent_that_stops_before_it_answers_counts() -> None:
    async with AgentManager() as manager:
        flaky, caller = await running(manager, breaker=BreakerPolicy(failures=1))
        hold = asyncio.Event()

        async def on_question(message: Question, ctx: AgentContext) -> str:
            await hold.wait()
            return "never"

        await manager.unregister("flaky")
        del flaky
        await manager.register(FunctionAgent(on_question, "flaky"))
        first = asyncio.ensure_future(manager.ask("flaky", Question(), timeout=100))
        await asyncio.sleep(1)
        second = asyncio.ensure_future(call(manager))
        await asyncio.sleep(1)
        leaving = asyncio.ensure_future(manager.unregister("flaky"))
        await asyncio.sleep(1)
        hold.set()
        await asyncio.gather(first, second, leaving)

        assert await call(manager) == "BreakerOpen"
        assert [type(error) for error in caller.errors] == [AgentStopped, BreakerOpen]


async def test_a_refusal_of_the_message_is_an_answer() -> None:
    async with AgentManager() as manager:
        _, caller = await running(manager)

        for text in ("?", "?", "other", "?", "?", "other"):
            await call(manager, text)

        assert [type(error) for error in caller.errors] == [TurnError, TurnError, UnknownMessageType] * 2
        assert manager.breakers() == []


async def test_callers_and_targets_have_breakers_of_their_own() -> None:
    async with AgentManager() as manager:
        await running(manager)
        await manager.register(Caller("careful"), breaker=BreakerPolicy(failures=1))
        await manager.register(Caller("careless"), breaker=None)

        assert [await call(manager, caller="careful") for _ in range(2)] == ["TurnError", "BreakerOpen"]
        assert await call(manager, "nobody", caller="careful") == "UnknownAgent"
        assert [await call(manager) for _ in range(2)] == ["TurnError"] * 2
        assert [await call(manager, caller="careless") for _ in range(9)] == ["TurnError"] * 9
        known = [(one.caller, one.target, one.state) for one in manager.breakers()]
        assert known == [
            ("careful", "flaky", "open"),
            ("careful", "nobody", "open"),
            ("caller", "flaky", "closed"),
        ]

        await manager.unregister("careful")

        assert [one.caller for one in manager.breakers()] == ["caller"]


async def test_a_probe_that_is_cancelled_lets_another_try() -> None:
    class Impatient(Agent):
        breaker = BreakerPolicy(failures=1, reset_after=30)

        @handles
        async def question(self, message: Question, ctx: AgentContext) -> str:
            try:
                async with asyncio.timeout(float(message.text)):
                    return await ctx.ask("flaky", Question(), timeout=5)
            except (MootError, TimeoutError) as error:
                return type(error).__name__

    async with AgentManager() as manager:
        flaky, _ = await running(manager)
        await manager.register(Impatient("impatient"))
        flaky.mode = "silent"
        assert await call(manager, "100", caller="impatient") == "AskTimeout"
        await asyncio.sleep(30)
        assert await call(manager, "1", caller="impatient") == "TimeoutError"
        flaky.mode = "work"

        assert await call(manager, "100", caller="impatient") == "fine"


class OneCellPolicies(NamedTuple):
    """What a breaker asks of its caller's policies."""

    breaker: BreakerPolicy


class OneCell(NamedTuple):
    """What a breaker knows of its caller."""

    id: str
    policies: OneCellPolicies


async def test_the_breakers_that_are_remembered_are_bounded() -> None:
    breakers = Breakers(LoopClock(asyncio.get_running_loop()), most=10)

    class Nobody:
        cell = OneCell("a", OneCellPolicies(BreakerPolicy(failures=1)))

        def post(self, ask: Ask[Any]) -> None:
            breakers.guard("a", ask)
            raise UnknownAgent(ask.to)

        def withdraw(self, ask: Ask[Any], *, expired: bool) -> None: ...

    for number in range(1000):
        with pytest.raises(UnknownAgent):
            await Ask[Any](Nobody(), f"agent_{number}", None, "question", 1.0)
        assert len(breakers) <= 10

    assert [one.target for one in breakers.status()] == [f"agent_{number}" for number in range(990, 1000)]


async def test_calls_under_way_at_once_share_one_breaker_whatever_they_come_to() -> None:
    breakers = Breakers(LoopClock(asyncio.get_running_loop()))

    class Caller:
        cell = OneCell("a", OneCellPolicies(BreakerPolicy(failures=2)))

        def post(self, ask: Ask[Any]) -> None: ...

        def withdraw(self, ask: Ask[Any], *, expired: bool) -> None: ...

    def ask() -> Ask[Any]:
        made: Ask[Any] = Ask(Caller(), "b", None, "question", 1.0)
        breakers.guard("a", made)
        return made

    def known() -> list[tuple[str, int]]:
        return [(one.state, one.failures) for one in breakers.status()]

    first, second, third = ask(), ask(), ask()
    first.fail(UnknownAgent("b"))
    assert known() == [("closed", 1)]
    second.resolve("fine")
    fourth = ask()
    third.fail(UnknownAgent("b"))
    assert known() == [("closed", 1)]
    fourth.fail(UnknownAgent("b"))
    assert known() == [("open", 2)]
    with pytest.raises(BreakerOpen):
        ask()
    assert len(breakers) == 1

    breakers.forget("a")

    assert len(breakers) == 0
    ask().resolve("fine")
    assert len(breakers) == 0


async def test_an_ask_from_before_the_breaker_opened_says_nothing_after_it_has_closed() -> None:
    loop = asyncio.get_running_loop()
    breakers = Breakers(LoopClock(loop))
    numbers = iter(range(1, 100))

    class Caller:
        cell = OneCell("a", OneCellPolicies(BreakerPolicy(failures=1, reset_after=10)))

        def post(self, ask: Ask[Any]) -> None: ...

        def withdraw(self, ask: Ask[Any], *, expired: bool) -> None: ...

    def ask() -> Ask[Any]:
        made: Ask[Any] = Ask(Caller(), "b", None, "question", 1.0)
        breakers.guard("a", made)
        made.key = next(numbers)
        return made

    old, failing = ask(), ask()
    failing.fail(UnknownAgent("b"))
    await asyncio.sleep(11)
    ask().resolve("the probe is answered")

    old.fail(UnknownAgent("b"))

    assert breakers.status() == []


async def test_a_breaker_that_knows_of_no_failure_is_not_kept() -> None:
    async with AgentManager() as manager:
        flaky, _ = await running(manager)
        flaky.mode = "work"

        assert [await call(manager) for _ in range(5)] == ["fine"] * 5

        assert len(manager._running("look").breakers) == 0
