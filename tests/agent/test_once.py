"""What is done once: effects on the outside, an ask repeated from outside, a message that a link delivers twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
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


class Words(Request[list[str]]):
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

    async def client(message: Words, ctx: AgentContext) -> list[str]:
        async def ask(key: str) -> str:
            return (await ctx.engine.generate(request)).text

        first = await ctx.effect("first", ask)
        if ctx.attempt == 1:
            raise TimeoutError("after the first")
        return [first, (await ctx.engine.generate(request)).text]

    async with AgentManager(engine=ScriptedEngine(["one", "two"])) as manager:
        await manager.register(client)

        assert await manager.ask("client", Words()) == ["one", "two"]


class Slow(Request[str]):
    name: str


class Helper(Agent):
    """Answers "a" later than others."""

    concurrency = 2

    @handles
    async def help(self, message: Slow) -> str:
        await asyncio.sleep(2.0 if message.name == "a" else 1.0)
        return message.name


@pytest.mark.parametrize("begun", ["inside", "outside"])
async def test_branches_of_a_turn_find_their_own_records_in_whatever_order_they_come(begun: str) -> None:
    runs: list[dict[str, str]] = []

    async def client(message: Count, ctx: AgentContext) -> int:
        found: dict[str, str] = {}
        runs.append(found)

        async def decide(name: str) -> None:
            heard = await ctx.ask("helper", Slow(name))
            found[name] = await ctx.effect("decide", lambda key: f"{heard} {key}", type=str)

        async def branch(name: str) -> None:
            with ctx.branch(name):
                await decide(name)

        async with asyncio.TaskGroup() as group:
            for name in ("a", "b"):
                if begun == "inside":
                    group.create_task(branch(name))
                else:
                    with ctx.branch("of its own"):  # it is over before the task begins, which is in it for all that
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


async def test_two_tasks_cannot_use_one_name_of_an_effect_or_a_branch_at_once() -> None:
    async def client(message: Slow, ctx: AgentContext) -> str:
        async def effect() -> str:
            return await ctx.effect("decide", lambda key: asyncio.sleep(1, key))

        async def branch() -> str:
            with ctx.branch("decision"):
                return await effect()

        work = {"effect": effect, "branch": branch}[message.name]
        for _ in range(2):
            await asyncio.create_task(work())  # one after the other they can
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(work())
        return "both"

    async with AgentManager() as manager:
        await manager.register(client)

        for name, told in (("effect", "the effect 'decide'"), ("branch", "the branch 'decision'")):
            with pytest.raises(TurnError, match=rf"RuntimeError: two tasks .* {told} at once.*ctx\.branch"):
                await manager.ask("client", Slow(name))


async def test_branches_of_one_name_are_counted_and_are_no_effects() -> None:
    decided: list[list[str]] = []

    async def client(message: Count, ctx: AgentContext) -> int:
        keys: list[str] = []
        for _ in range(2):
            with ctx.branch("decide"), ctx.branch("of it"):
                keys.append(await ctx.effect("decide", lambda key: key))
        keys.append(await ctx.effect("decide", lambda key: ctx.effect("decide", lambda key: key)))
        decided.append([*keys, await ctx.effect("decide", lambda key: key)])
        if ctx.attempt == 1:
            raise TimeoutError("after all")
        return len(set(decided[-1]))

    async with AgentManager() as manager:
        await manager.register(client)

        assert await manager.ask("client", Count()) == 4

    assert decided[0] == decided[1]


@pytest.mark.parametrize("ends", ["in the pause", "before it is asked for"])
async def test_an_effect_that_a_failed_run_left_under_way_in_a_branch_is_not_repeated(ends: str) -> None:
    paid: list[str] = []

    async def client(message: Count, ctx: AgentContext) -> int:
        async def pay(key: str) -> int:
            await asyncio.sleep(1.0)
            paid.append(key)
            return len(paid)

        async def fail() -> None:
            raise TimeoutError("before it is paid")

        if ends == "before it is asked for" and ctx.attempt > 1:
            await asyncio.sleep(5.0)
        with ctx.branch("payment"):
            effect = ctx.effect("pay", pay)
            return (await asyncio.gather(effect, fail()))[0] if ctx.attempt == 1 else await effect

    async with AgentManager() as manager:
        pause = Backoff(first=10, limit=10) if ends == "in the pause" else AT_ONCE
        await manager.register(client, retry=RetryPolicy(backoff=pause))

        assert await manager.ask("client", Count()) == 1
    assert len(paid) == 1


async def test_a_name_may_be_used_by_one_task_after_the_other() -> None:
    async def client(message: Count, ctx: AgentContext) -> int:
        async def effect(name: str) -> str:
            with ctx.branch(name):
                return await ctx.effect(name, lambda key: asyncio.sleep(1, key))

        keys = [await effect("a")]
        keys.append(await asyncio.wait_for(effect("a"), 5))
        keys += await asyncio.gather(effect("a"), effect("b"))
        keys.append(await asyncio.shield(effect("a")))
        return len(set(keys))

    async with AgentManager() as manager:
        await manager.register(client)

        assert await manager.ask("client", Count()) == 5


async def test_an_effect_that_a_failed_run_left_under_way_and_that_fails_is_tried_again() -> None:
    closed: list[int] = []

    async def client(message: Count, ctx: AgentContext) -> int:
        async def pay(key: str) -> int:
            await asyncio.sleep(1.0)
            if ctx.attempt in closed:
                raise ValueError("the client is closed")
            return ctx.attempt

        async def fail() -> None:
            if ctx.attempt == 1:
                closed.append(1)
                raise TimeoutError("before it is paid")

        return (await asyncio.gather(ctx.effect("pay", pay), fail()))[0]

    async with AgentManager() as manager:
        await manager.register(client, retry=RetryPolicy(backoff=AT_ONCE))

        assert await manager.ask("client", Count()) == 2


@pytest.mark.parametrize("asks_after", [0.0, 5.0])
async def test_a_fresh_retry_takes_nothing_from_an_effect_that_is_under_way(asks_after: float) -> None:
    async def client(message: Count, ctx: AgentContext) -> int:
        async def pay(key: str) -> int:
            await asyncio.sleep(1.0)
            return ctx.attempt

        async def fail() -> None:
            if ctx.attempt == 1:
                raise Retry("all anew", fresh=True, after=0)
            if ctx.attempt == 2:
                await asyncio.sleep(10.0)
                raise TimeoutError("after it is paid")

        await asyncio.sleep(asks_after if ctx.attempt > 1 else 0.0)
        return (await asyncio.gather(ctx.effect("pay", pay), fail()))[0]

    async with AgentManager() as manager:
        await manager.register(client, retry=RetryPolicy(backoff=AT_ONCE))

        assert await manager.ask("client", Count()) == 2


def test_a_branch_needs_no_event_loop() -> None:
    ctx = FakeContext.of(message=Count())
    with ctx.branch("one"), ctx.branch("two"):
        assert ctx.idempotency_key


async def test_a_generator_that_holds_a_branch_may_be_closed_by_another_task() -> None:
    ctx = FakeContext.of(message=Count())

    async def numbers() -> AsyncGenerator[int, None]:
        with ctx.branch("numbers"):
            yield 1

    async def first() -> int:
        return await anext(generator)

    generator = numbers()
    assert await asyncio.create_task(first()) == 1
    await generator.aclose()
