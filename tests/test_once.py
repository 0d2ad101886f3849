"""What is done once: effects on the outside, an ask repeated from outside, a message that a link delivers twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from moot import Agent, AgentContext, AgentManager, Backoff, Request, Retry, RetryPolicy, TurnError, handles
from moot.engine.base import ChatMessage, EngineRequest
from moot.testing import FakeContext, ScriptedEngine

AT_ONCE = Backoff(first=0, limit=0)


class Pay(Request[str]):
    amount: int
    failures: int = 0


class Till(Agent):
    """Pays through an outside bank, then fails as often as it is told."""

    retry = RetryPolicy(max_attempts=5, backoff=AT_ONCE)

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.paid: list[tuple[str, int]] = []
        self.runs = 0

    @handles
    async def on_pay(self, message: Pay, ctx: AgentContext) -> str:
        self.runs += 1

        async def pay(key: str) -> str:
            self.paid.append((key, message.amount))
            return f"receipt {len(self.paid)}"

        first = await ctx.effect("pay", pay)
        second = await ctx.effect("pay", pay)
        if ctx.attempt <= message.failures:
            raise Retry
        return f"{first}, {second}"


async def test_an_effect_is_done_once_however_often_its_turn_is_run() -> None:
    async with AgentManager() as manager:
        till = Till("till")
        await manager.register(till)

        assert await manager.ask("till", Pay(amount=7, failures=3)) == "receipt 1, receipt 2"

        assert till.runs == 4
        assert len(till.paid) == len({key for key, _ in till.paid}) == 2


async def test_an_effect_that_fails_is_not_recorded_and_has_the_same_key_when_it_is_tried_again() -> None:
    keys: list[str] = []

    def pay(key: str) -> str:
        keys.append(key)
        if len(keys) < 3:
            raise OSError("the line is dead")
        return "paid"

    ctx = FakeContext.of(message=Pay(amount=1))

    assert await ctx.effect("pay", pay, retry=RetryPolicy(max_attempts=3, backoff=AT_ONCE)) == "paid"
    assert len(set(keys)) == 1
    keys.clear()
    with pytest.raises(OSError, match="dead"):
        await ctx.effect("pay", pay, retry=RetryPolicy(max_attempts=2, backoff=AT_ONCE))


async def test_an_effect_is_tried_again_for_a_group_of_errors_each_of_which_is_worth_it() -> None:
    tries: list[str] = []
    errors: list[Exception] = [OSError("gone"), TimeoutError("late")]

    def pay(key: str) -> str:
        tries.append(key)
        if len(tries) < 3:
            raise ExceptionGroup("several", errors)
        return "paid"

    ctx = FakeContext.of(message=Pay(amount=1))
    policy = RetryPolicy(max_attempts=3, backoff=AT_ONCE)

    assert await ctx.effect("pay", pay, retry=policy) == "paid"
    errors.append(ValueError("wrong"))
    tries.clear()
    with pytest.raises(ExceptionGroup):
        await ctx.effect("pay", pay, retry=policy)
    assert len(tries) == 1


async def test_a_fresh_retry_does_the_effect_again() -> None:
    done: list[str] = []

    class Fresh(Agent):
        @handles
        async def on_pay(self, message: Pay, ctx: AgentContext) -> str:
            await ctx.effect("pay", done.append)
            if ctx.attempt == 1:
                raise Retry(fresh=True, after=0)
            return "ok"

    async with AgentManager() as manager:
        await manager.register(Fresh("fresh"))
        await manager.ask("fresh", Pay(amount=1))

    assert len(done) == 2


async def test_an_ask_repeated_from_outside_is_answered_from_its_record() -> None:
    async with AgentManager() as manager:
        till = Till("till")
        await manager.register(till)
        ask = [manager.ask("till", Pay(amount=1), message_id="order 7") for _ in range(3)]

        first = await asyncio.gather(*ask)
        later = await manager.ask("till", Pay(amount=1), message_id="order 7")
        other = await manager.ask("till", Pay(amount=1), message_id="order 8")

        assert {*first, later} == {"receipt 1, receipt 2"}
        assert other == "receipt 3, receipt 4"
        assert till.runs == 2


async def test_a_repeated_ask_goes_out_anew_when_the_first_one_failed_or_was_given_up() -> None:
    class Slow(Agent):
        runs = 0

        @handles
        async def on_pay(self, message: Pay) -> str:
            type(self).runs += 1
            await asyncio.sleep(10)
            if self.runs == 1:
                raise ValueError("no")
            return "yes"

    async with AgentManager() as manager:
        await manager.register(Slow("slow"))
        first = asyncio.ensure_future(_result(manager.ask("slow", Pay(amount=1), message_id="a")))
        second = asyncio.ensure_future(_result(manager.ask("slow", Pay(amount=1), message_id="a")))

        assert isinstance(await first, TurnError)
        assert await second == "yes"

        Slow.runs = 1
        hasty = asyncio.ensure_future(_result(manager.ask("slow", Pay(amount=1), message_id="b", timeout=5)))
        patient = asyncio.ensure_future(_result(manager.ask("slow", Pay(amount=1), message_id="b")))
        assert isinstance(await hasty, TimeoutError)
        assert await patient == "yes"
        assert manager.stats().open_asks == 0


async def test_a_request_that_was_taken_is_not_made_again_when_its_asker_loses_patience() -> None:
    class Slow(Agent):
        runs = 0

        @handles
        async def on_pay(self, message: Pay) -> str:
            Slow.runs += 1
            await asyncio.sleep(10)
            return "paid"

    async with AgentManager() as manager:
        await manager.register(Slow("slow"))
        assert isinstance(await _result(manager.ask("slow", Pay(amount=1), message_id="a", timeout=1)), TimeoutError)
        waiting = asyncio.ensure_future(_result(manager.ask("slow", Pay(amount=2), message_id="b", timeout=2)))
        assert isinstance(await waiting, TimeoutError)

        assert await manager.ask("slow", Pay(amount=1), message_id="a") == "paid"
        await asyncio.sleep(60)
        assert await manager.ask("slow", Pay(amount=1), message_id="a") == "paid"
        assert Slow.runs == 1
        assert [letter.reason for letter in manager.dead_letters] == ["expired"]
        assert manager.stats().open_asks == 0


async def test_an_effect_left_under_way_by_a_failed_run_is_joined_by_the_next() -> None:
    done: list[str] = []

    class Hasty(Agent):
        retry = RetryPolicy(backoff=AT_ONCE)

        @handles
        async def on_pay(self, message: Pay, ctx: AgentContext) -> str:
            async def pay(key: str) -> str:
                await asyncio.sleep(5)
                done.append(key)
                return "receipt"

            async def fails() -> None:
                if ctx.attempt == 1:
                    await asyncio.sleep(1)
                    raise OSError

            receipt, _ = await asyncio.gather(ctx.effect("pay", pay), fails())
            return receipt

    async with AgentManager() as manager:
        await manager.register(Hasty("hasty"))

        assert await manager.ask("hasty", Pay(amount=1)) == "receipt"
        assert len(done) == 1


async def test_a_key_outside_is_that_of_the_given_id() -> None:
    async with AgentManager() as manager:
        till = Till("till")
        await manager.register(till)

        await manager.ask("till", Pay(amount=1), message_id="order 7")

        assert till.paid[0][0].startswith("order 7@till/")


async def _result(ask: Any) -> Any:
    return (await asyncio.gather(ask, return_exceptions=True))[0]


class Count(Request[int]):
    pass


class CountThrice(Request[list[int]]):
    pass


async def test_an_effect_that_asks_is_found_and_what_is_asked_after_it_is_asked_for_all_that() -> None:
    counted: list[int] = []

    async def counter(message: Count, ctx: AgentContext) -> int:
        counted.append(len(counted) + 1)
        return len(counted)

    async def client(message: CountThrice, ctx: AgentContext) -> list[int]:
        async def ask(key: str) -> int:
            return await ctx.ask("counter", Count())

        first = await ctx.effect("first", ask)
        if ctx.attempt == 1:
            raise TimeoutError("after the first")
        return [first, await ctx.effect("second", ask), await ctx.ask("counter", Count())]

    async with AgentManager() as manager:
        await manager.register(counter)
        await manager.register(client)

        assert await manager.ask("client", CountThrice()) == [1, 2, 3]


async def test_what_an_effect_asks_the_engine_is_not_taken_for_what_is_asked_after_it() -> None:
    request = EngineRequest(messages=(ChatMessage("user", "a word?"),))

    async def client(message: CountThrice, ctx: AgentContext) -> list[str]:
        async def ask(key: str) -> str:
            return (await ctx.engine.generate(request)).text

        first = await ctx.effect("first", ask)
        if ctx.attempt == 1:
            raise TimeoutError("after the first")
        return [first, (await ctx.engine.generate(request)).text]

    async with AgentManager(engine=ScriptedEngine(["one", "two"])) as manager:
        await manager.register(client)

        assert await manager.ask("client", {}, message_type="count_thrice") == ["one", "two"]


class Slow(Request[str]):
    name: str


async def test_branches_of_a_turn_find_their_own_records_in_whatever_order_they_come() -> None:
    runs: list[dict[str, str]] = []

    class Helper(Agent):
        concurrency = 2

        @handles
        async def help(self, message: Slow) -> str:
            await asyncio.sleep(2.0 if message.name == "a" else 1.0)
            return message.name

    async def client(message: Count, ctx: AgentContext) -> int:
        found: dict[str, str] = {}
        runs.append(found)

        async def decide(name: str) -> None:
            heard = await ctx.ask("helper", Slow(name))
            with ctx.branch("decision", name):
                found[name] = await ctx.effect("decide", lambda key: f"{heard} {key}", type=str)

        async with asyncio.TaskGroup() as group:
            for name in ("a", "b"):
                group.create_task(decide(name))
        if ctx.attempt == 1:
            raise TimeoutError("after both")
        return len(runs)

    async with AgentManager() as manager:
        await manager.register(Helper("helper"))
        await manager.register(client)

        assert await manager.ask("client", Count()) == 2

    assert runs[0] == runs[1]
    assert [found.split()[0] for found in runs[0].values()] == ["b", "a"]
    assert len(set(runs[0].values())) == 2


async def test_branches_about_the_same_or_about_what_nothing_could_keep_are_told_apart_by_their_order() -> None:
    decided: list[list[str]] = []

    async def client(message: Count, ctx: AgentContext) -> int:
        keys: list[str] = []
        for about in (1, 1, object(), object()):
            with ctx.branch("decision", about), ctx.branch("of it"):
                keys.append(await ctx.effect("decide", lambda key: key))
        decided.append([*keys, await ctx.effect("decide", lambda key: key)])
        if ctx.attempt == 1:
            raise TimeoutError("after all")
        return len(set(decided[-1]))

    async with AgentManager() as manager:
        await manager.register(client)

        assert await manager.ask("client", Count()) == 5

    assert decided[0] == decided[1]
