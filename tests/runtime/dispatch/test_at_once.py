"""Asks at once: an awaited ask of an idle agent is handled in its asker's step; only passes of the loop tell it."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import sys
import time
from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import pytest

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    AgentMessage,
    AgentStopped,
    Ask,
    AskTimeout,
    BatchPolicy,
    DeadlockError,
    MailboxPolicy,
    Payload,
    RateLimit,
    Request,
    Retry,
    RetryPolicy,
    TimeoutPolicy,
    TurnError,
    handles,
)
from moot.runtime.cell import Cell
from moot.runtime.dispatch import at_once as module
from moot.runtime.dispatch.at_once import AtOnce
from moot.runtime.routing.delivery import Delivery
from moot.runtime.routing.transport import LocalTransport
from moot.runtime.stack import is_deep
from moot.runtime.system import System

VARIABLE: contextvars.ContextVar[int] = contextvars.ContextVar("VARIABLE", default=0)
both_ways = pytest.mark.parametrize("at_once", [True, False], ids=["at once", "queued"])


class Value(Request[int]):
    number: int = 0


class Do(Request[Any]):
    """Do what the agent was given to do."""


class Note(Payload):
    number: int


class Counter(Agent):
    """Answers with the number; keeps the order in which its mail came."""

    def __init__(self, agent_id: str = "counter") -> None:
        super().__init__(agent_id)
        self.seen: list[int] = []

    @handles
    async def on_value(self, message: Value) -> int:
        self.seen.append(message.number)
        return message.number

    @handles
    async def on_note(self, message: Note) -> None:
        self.seen.append(message.number)


Deed = Callable[[AgentContext], Coroutine[Any, Any, Any]]


class Doer(Agent):
    """Does what the test gives it."""

    def __init__(self, agent_id: str, deed: Deed) -> None:
        super().__init__(agent_id)
        self.deed = deed

    @handles
    async def on_do(self, message: Do, ctx: AgentContext) -> Any:
        return await self.deed(ctx)


class Considerate(Doer):
    cancel_with_asker = True


class Answering(Doer):
    @handles
    async def on_value(self, message: Value) -> int:
        return message.number


class Passes:
    """Counts passes of the loop: at each a callback runs, as long as somebody looks."""

    def __init__(self) -> None:
        self.count = 0
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_soon(self._pass)

    def _pass(self) -> None:
        self.count += 1
        self._handle = self._loop.call_soon(self._pass)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.cancel()


async def warmed(manager: AgentManager) -> None:
    """Let there be parked runners."""
    await manager.register(Counter("warm"))
    for _ in range(3):
        await manager.ask("warm", Value())
        await asyncio.sleep(0)
    await manager.settle()


async def passes_of_an_ask(manager: AgentManager, to: str = "counter") -> int:
    with Passes() as passes:
        assert await manager.ask(to, Value(number=7), timeout=5) == 7
        return passes.count


# when it is done
async def test_an_ask_of_an_idle_agent_takes_no_pass_of_the_loop() -> None:
    async with AgentManager(at_once=True) as manager:
        await warmed(manager)
        await manager.register(Counter())

        assert await passes_of_an_ask(manager) == 0


async def test_an_ask_in_a_turn_takes_no_pass_of_the_loop_either() -> None:
    async def deed(ctx: AgentContext) -> int:
        with Passes() as passes:
            for number in range(10):
                assert await ctx.ask("counter", Value(number=number)) == number
            return passes.count

    async with AgentManager(at_once=True) as manager:
        await warmed(manager)
        await manager.register(Counter())
        await manager.register(Doer("doer", deed))

        assert await manager.ask("doer", Do()) == 0


async def test_it_is_on_where_nobody_says_anything(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--queued"):
        pytest.skip("in this run the default is another")
    async with AgentManager() as manager:
        await warmed(manager)
        await manager.register(Counter())

        assert await passes_of_an_ask(manager) == 0


async def test_it_can_be_switched_off() -> None:
    async with AgentManager(at_once=False) as manager:
        await warmed(manager)
        await manager.register(Counter())

        assert await passes_of_an_ask(manager) > 0


@pytest.mark.parametrize("wrong", [None, 1, "yes"])
def test_what_is_neither_true_nor_false_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="at_once is True or False"):
        AgentManager(at_once=wrong)


class Limited(Counter):
    rate_limit = RateLimit(1000, burst=1000)


class Batched(Agent):
    @handles(batch=BatchPolicy(max_size=3, max_wait=0.0))
    async def on_values(self, messages: list[Value]) -> list[int]:
        return [message.number for message in messages]


class Beginning(Counter):
    async def on_start(self, ctx: AgentContext) -> None:
        await asyncio.sleep(0)


@pytest.mark.parametrize("agent", [Limited("counter"), Batched("counter")], ids=["rate limit", "batch"])
async def test_an_agent_that_may_have_to_wait_takes_the_queue(agent: Agent) -> None:
    async with AgentManager(at_once=True) as manager:
        await warmed(manager)
        await manager.register(agent)

        assert await passes_of_an_ask(manager) > 0


async def test_an_agent_with_mail_is_not_overtaken() -> None:
    counter = Counter()
    async with AgentManager(at_once=True) as manager:
        await warmed(manager)
        await manager.register(counter)
        for number in range(3):
            await manager.tell("counter", Note(number=number))

        assert await passes_of_an_ask(manager) > 0
        assert counter.seen == [0, 1, 2, 7]


async def test_an_agent_in_a_turn_finishes_it_first() -> None:
    order: list[str] = []

    async def slow(ctx: AgentContext) -> None:
        order.append("begun")
        await asyncio.sleep(1)
        order.append("ended")

    async with AgentManager(at_once=True) as manager:
        await warmed(manager)
        await manager.register(Doer("doer", slow))
        first = asyncio.create_task(_awaited(manager.ask("doer", Do())))
        await asyncio.sleep(0)
        await manager.ask("doer", Do())
        await first

    assert order == ["begun", "ended"] * 2


async def test_an_agent_whose_output_waits_for_room_takes_the_queue() -> None:
    order: list[str] = []

    async def fills(ctx: AgentContext) -> None:
        order.append("turn")
        for number in range(3):
            ctx.send("slow", Note(number=number))

    class Slow(Agent):
        @handles
        async def on_note(self, message: Note) -> None:
            await asyncio.sleep(1)
            order.append(f"note {message.number}")

    async with AgentManager(at_once=True) as manager:
        await warmed(manager)
        await manager.register(Slow("slow"), mailbox=MailboxPolicy(capacity=1))
        await manager.register(Doer("fills", fills))
        await manager.ask("fills", Do())
        await manager.ask("fills", Do())

    assert order.index("turn") == 0
    assert order.index("turn", 1) >= 2  # when all that the first turn has sent is in the mailbox, or was handled


async def test_an_asker_without_a_task_takes_the_queue() -> None:
    """Somebody drives a coroutine by hand, from a plain callback of the loop."""
    async with AgentManager(at_once=True) as manager:
        await warmed(manager)
        await manager.register(Counter())
        ask = manager.ask("counter", Value(number=3))
        steps = ask.__await__()
        began = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(lambda: began.set_result((next(steps), ask.done)))
        assert await began == (None, False)
        await manager.settle()
        assert ask.answer == 3
        steps.close()


async def test_a_visit_at_once_is_one_turn() -> None:
    """What the agent gets meanwhile waits for a visit of its own, so that its asker goes on first."""
    order: list[str] = []

    async def tells(ctx: AgentContext) -> None:
        order.append("asked")
        await manager.tell("doer", Note(number=1))

    class Both(Doer):
        @handles
        async def on_note(self, message: Note) -> None:
            order.append("told")

    async with AgentManager(at_once=True) as manager:
        await warmed(manager)
        await manager.register(Both("doer", tells))
        await manager.ask("doer", Do())
        order.append("answered")

    assert order == ["asked", "answered", "told"]


async def test_an_agent_that_has_not_started_takes_the_queue() -> None:
    async with AgentManager(at_once=True) as manager:
        await warmed(manager)
        starting = asyncio.create_task(manager.register(Beginning("counter")))
        await asyncio.sleep(0)

        assert await passes_of_an_ask(manager) > 0
        await starting


async def test_an_ask_that_may_be_repeated_takes_the_queue() -> None:
    async with AgentManager(at_once=True) as manager:
        await warmed(manager)
        await manager.register(Counter())
        with Passes() as passes:
            assert await manager.ask("counter", Value(number=7), message_id="seven") == 7
            assert passes.count > 0


def test_an_ask_from_outside_of_a_durable_system_takes_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those in its turns do not."""
    handled: list[str] = []
    handle = AtOnce.handle

    def handling(at_once: AtOnce, ask: Ask[Any], cell: Cell, message: AgentMessage) -> bool:
        is_handled = handle(at_once, ask, cell, message)
        handled.extend([message.sender] if is_handled else [])
        return is_handled

    async def asks(ctx: AgentContext) -> int:
        return await ctx.ask("counter", Value(number=7))

    async def main() -> None:
        async with AgentManager(f"sqlite:///{tmp_path}/moot.db", at_once=True) as manager:
            await manager.register(Counter())
            await manager.register(Doer("doer", asks))
            for _ in range(5):
                assert await manager.ask("doer", Do()) == 7

    monkeypatch.setattr(AtOnce, "handle", handling)
    asyncio.run(main())

    assert set(handled) == {"doer"}


async def test_what_a_transport_carries_takes_the_queue() -> None:
    def connect(delivery: Delivery) -> LocalTransport:
        return LocalTransport(delivery.flow, delivery.asks)

    async with AgentManager(at_once=True, transport=connect) as manager:
        await warmed(manager)
        await manager.register(Counter())

        assert await passes_of_an_ask(manager) > 0


async def test_asks_that_are_gathered_take_the_queue() -> None:
    async def deed(ctx: AgentContext) -> int:
        with Passes() as passes:
            assert await ctx.gather([ctx.ask("counter", Value(number=n)) for n in range(3)]) == [0, 1, 2]
            return passes.count

    async with AgentManager(at_once=True) as manager:
        await warmed(manager)
        await manager.register(Counter())
        await manager.register(Doer("doer", deed))

        assert await manager.ask("doer", Do()) > 0


async def test_asks_go_only_so_deep_in_each_other() -> None:
    """A chain of 40 agents, each of which asks the next."""
    depths: list[int] = []
    async with AgentManager(at_once=True) as manager:
        await warmed(manager)
        handle = _system(manager).delivery.handle_at_once
        at_once: AtOnce = handle.__self__  # type: ignore[union-attr]

        def link(number: int) -> Deed:
            async def deed(ctx: AgentContext) -> int:
                depths.append(at_once._nested)
                return 1 + (await ctx.ask(f"link_{number + 1}", Do()) if number < 39 else 0)

            return deed

        for number in range(40):
            await manager.register(Doer(f"link_{number}", link(number)))
        for _ in range(40):
            assert await manager.ask("link_0", Do()) == 40

    assert max(depths) == 16


async def test_one_runner_at_a_time_is_made_to_be_lent() -> None:
    async with AgentManager(at_once=True) as manager:
        asks = []
        for number in range(10):
            await manager.register(Counter(f"counter_{number}"))
            asks.append(manager.ask(f"counter_{number}", Value(number=number)).__await__())
        for steps in asks:
            next(steps)
        assert len(_system(manager).pool.runners) <= 2
        await manager.settle()
        assert await passes_of_an_ask(manager, "counter_7") == 0
        for steps in asks:
            steps.close()


# what it may cost others
async def test_after_so_many_asks_the_loop_makes_a_pass() -> None:
    async with AgentManager(at_once=True) as manager:
        await warmed(manager)
        await manager.register(Counter())
        with Passes() as passes:
            for number in range(1000):
                await manager.ask("counter", Value(number=number))

            assert 1000 // 65 <= passes.count <= 1000 // 16


async def test_after_a_millisecond_the_loop_makes_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that computes for 0.4 ms: two or three of them, then others have their turn."""
    now = 0.0

    async def compute(ctx: AgentContext) -> None:
        nonlocal now
        now += 0.0004

    monkeypatch.setattr(module, "stopwatch", lambda loop: lambda: now)
    async with AgentManager(at_once=True) as manager:
        await warmed(manager)
        await manager.register(Doer("doer", compute))
        with Passes() as passes:
            for _ in range(100):
                await manager.ask("doer", Do())

            assert passes.count >= 25


def test_a_timer_is_not_starved_by_asks() -> None:
    """On the machine's own clock: an asker that never waits for anything else lets a timer fire."""

    async def main() -> int:
        async with AgentManager(at_once=True) as manager:
            await manager.register(Counter())
            fired: list[int] = []
            asyncio.get_running_loop().call_later(0.001, fired.append, 1)
            asked = 0
            while not fired:
                await manager.ask("counter", Value(number=asked))
                asked += 1
            return asked

    assert asyncio.run(main()) > 0


@pytest.mark.parametrize("seconds", [0.0, 0.00002, 0.0004])
async def test_several_askers_share_what_there_is(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each asks an agent of its own as often as it can, for some passes of the loop; an answer takes some time."""
    answered = [0] * 5
    now = 0.0

    async def asks(number: int) -> None:
        nonlocal now
        while True:
            await manager.ask(f"counter_{number}", Value())
            answered[number] += 1
            now += seconds

    monkeypatch.setattr(module, "stopwatch", lambda loop: lambda: now)
    async with AgentManager(at_once=True) as manager:
        await warmed(manager)
        for number in range(5):
            await manager.register(Counter(f"counter_{number}"))
        askers = [asyncio.create_task(asks(number)) for number in range(5)]
        for _ in range(200):
            await asyncio.sleep(0)
        for asker in askers:
            asker.cancel()
        await asyncio.wait(askers)

    assert max(answered) <= 3 * min(answered)


# the task and the context of a turn
@both_ways
async def test_a_turn_has_a_task_and_keeps_it(at_once: bool) -> None:
    tasks: list[asyncio.Task[Any] | None] = []

    async def deed(ctx: AgentContext) -> None:
        tasks.append(asyncio.current_task())
        await asyncio.sleep(1)
        tasks.append(asyncio.current_task())
        await asyncio.sleep(0)
        tasks.append(asyncio.current_task())

    async with AgentManager(at_once=at_once) as manager:
        await warmed(manager)
        await manager.register(Doer("doer", deed))
        await manager.ask("doer", Do())

    assert len(set(tasks)) == 1
    assert tasks[0] is not None
    assert tasks[0].get_name().startswith("moot runner")
    assert tasks[0] is not asyncio.current_task()


@both_ways
async def test_what_needs_a_task_works_in_a_handler(at_once: bool) -> None:
    async def deed(ctx: AgentContext) -> list[str]:
        seen = []
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await asyncio.sleep(5)
        seen.append("timeout")

        async def fails() -> None:
            await asyncio.sleep(0.1)
            raise ValueError

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fails())
                group.create_task(asyncio.sleep(5))
        except* ValueError:
            seen.append("failed")
        seen.append("group")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.1)
        return [*seen, "wait_for"]

    async with AgentManager(at_once=at_once) as manager:
        await warmed(manager)
        await manager.register(Doer("doer", deed))

        assert await manager.ask("doer", Do()) == ["timeout", "failed", "group", "wait_for"]
        assert await manager.ask("doer", Do()) == ["timeout", "failed", "group", "wait_for"]


@both_ways
async def test_context_variables_of_asker_and_handler_are_apart(at_once: bool) -> None:
    async def deed(ctx: AgentContext) -> int:
        before = VARIABLE.get()
        VARIABLE.set(before + 1)
        return before

    VARIABLE.set(10)
    async with AgentManager(at_once=at_once) as manager:
        await warmed(manager)
        await manager.register(Doer("doer", deed))
        VARIABLE.set(20)
        seen = [await manager.ask("doer", Do()) for _ in range(5)]
        await asyncio.wait_for(manager.settle(), 1)
        assert len(_system(manager).pool.runners) <= 3  # those whose context was changed have ended

    assert seen == [10] * 5  # what the manager was started with, each time
    assert VARIABLE.get() == 20


@both_ways
async def test_a_handler_that_cancels_its_own_task_harms_nobody_else(at_once: bool) -> None:
    async def cancels(ctx: AgentContext) -> int:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return 1

    async def cancels_and_waits(ctx: AgentContext) -> None:
        await cancels(ctx)
        await asyncio.sleep(1)

    async with AgentManager(at_once=at_once) as manager:
        await warmed(manager)
        await manager.register(Doer("cancels", cancels))
        await manager.register(Doer("waits", cancels_and_waits))
        await manager.register(Counter())
        for _ in range(3):
            assert await manager.ask("cancels", Do()) == 1
            with pytest.raises(TurnError, match="CancelledError"):
                await manager.ask("waits", Do())
            assert await manager.ask("counter", Value(number=1)) == 1
        await manager.settle()
        assert manager.stats().open_asks == 0


@both_ways
async def test_a_task_that_a_handler_cancels_learns_of_it_where_it_asked(at_once: bool) -> None:
    reached: list[str] = []
    async with AgentManager(at_once=at_once) as manager:

        async def cancels(ctx: AgentContext) -> str:
            asker.cancel("enough")
            return "answered"

        async def asks() -> None:
            reached.append(await manager.ask("doer", Do()))

        await warmed(manager)
        await manager.register(Doer("doer", cancels))
        asker = asyncio.create_task(asks())
        with pytest.raises(asyncio.CancelledError):
            await asker
        assert reached == []
        await manager.settle()
        assert manager.stats().open_asks == 0


class Incomparable:
    """A value that cannot be compared, as arrays and expressions are."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth of this is unknown")

    __hash__ = None  # type: ignore[assignment]


@both_ways
async def test_a_context_variable_whose_value_cannot_be_compared_harms_nobody(at_once: bool) -> None:
    variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable")

    async def deed(ctx: AgentContext) -> int:
        variable.set(Incomparable())
        return 1

    variable.set(Incomparable())
    async with AgentManager(at_once=at_once) as manager:
        await warmed(manager)
        await manager.register(Doer("doer", deed))
        assert [await manager.ask("doer", Do()) for _ in range(5)] == [1] * 5
        await asyncio.wait_for(manager.settle(), 1)


@both_ways
async def test_a_task_in_the_context_of_a_runner_may_ask(at_once: bool) -> None:
    """No two tasks can be in one context, so the runner to which it belongs cannot be lent to that task."""
    children: list[asyncio.Task[Any]] = []

    async def child() -> list[int]:
        await asyncio.sleep(1)
        return [await manager.ask("counter", Value(number=number), timeout=5) for number in range(4)]

    async def deed(ctx: AgentContext) -> None:
        runner = _system(manager).pool.runners[asyncio.current_task()]  # type: ignore[index]
        children.append(asyncio.get_running_loop().create_task(child(), context=runner.context))

    counter = Counter()
    async with AgentManager(at_once=at_once) as manager:
        await warmed(manager)
        await manager.register(counter)
        await manager.register(Doer("doer", deed))
        await manager.ask("doer", Do())
        assert await children[0] == [0, 1, 2, 3]
        await asyncio.wait_for(manager.settle(), 1)

    assert counter.seen == [0, 1, 2, 3]


class Ends(BaseException):
    """What ends a program."""


@both_ways
async def test_what_ends_a_program_ends_the_runner_and_not_the_asker(at_once: bool) -> None:
    async def deed(ctx: AgentContext) -> None:
        raise Ends

    raised: list[BaseException | None] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: raised.append(context.get("exception")))
    async with AgentManager(at_once=at_once) as manager:
        await warmed(manager)
        await manager.register(Doer("doer", deed))
        await manager.register(Counter())
        with pytest.raises(TurnError, match="Ends"):
            await manager.ask("doer", Do())
        assert await manager.ask("counter", Value(number=1)) == 1
        await manager.settle()
        assert manager.stats().open_asks == 0


def test_a_keyboard_interrupt_in_a_handler_ends_the_program() -> None:
    async def deed(ctx: AgentContext) -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        async with AgentManager(at_once=True) as manager:
            await warmed(manager)
            await manager.register(Doer("doer", deed))
            with pytest.raises(TurnError):
                await manager.ask("doer", Do())
            await asyncio.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    gc.collect()  # asyncio logs that nobody asked the runner's task for its exception: here, and not in another test


# turns that wait
@both_ways
async def test_a_turn_that_waits_is_cancelled_with_its_asker(at_once: bool) -> None:
    ended: list[str] = []

    async def deed(ctx: AgentContext) -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async with AgentManager(at_once=at_once) as manager:
        await warmed(manager)
        await manager.register(Considerate("doer", deed))
        for pause in (0, 1):
            asker = asyncio.create_task(_awaited(manager.ask("doer", Do())))
            for _ in range(3):
                await asyncio.sleep(pause)
            asker.cancel()
            await asyncio.wait({asker})
            await manager.settle()

    assert ended == ["cancelled"] * 2


@both_ways
async def test_a_turn_that_is_cancelled_before_its_runner_has_it_gets_the_cancellation(at_once: bool) -> None:
    """Its asker gives up in the very step in which the turn began to wait."""
    ended: list[str] = []
    waiting = asyncio.get_running_loop().create_future()

    async def deed(ctx: AgentContext) -> None:
        try:
            await waiting
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async with AgentManager(at_once=at_once) as manager:
        await warmed(manager)
        await manager.register(Considerate("doer", deed))
        ask = manager.ask("doer", Do())
        steps = ask.__await__()
        next(steps)  # the first step: the request is posted
        if not at_once:
            await asyncio.sleep(0)  # a runner takes it
        steps.close()
        await manager.settle()

    assert ended == ["cancelled"]
    assert waiting.cancelled()


@both_ways
async def test_deadlines_and_run_timeouts_hold(at_once: bool) -> None:
    async def deed(ctx: AgentContext) -> None:
        await asyncio.sleep(100)

    async with AgentManager(at_once=at_once) as manager:
        await warmed(manager)
        await manager.register(Doer("slow", deed), timeouts=TimeoutPolicy(run_timeout=3))
        with pytest.raises(AskTimeout):
            await manager.ask("slow", Do(), timeout=1)
        await manager.settle()
        with pytest.raises(TurnError, match="TurnTimeout"):
            await manager.ask("slow", Do(), timeout=50)


@both_ways
async def test_a_failed_turn_is_run_again_in_place(at_once: bool) -> None:
    attempts: list[int] = []

    async def deed(ctx: AgentContext) -> int:
        attempts.append(ctx.attempt)
        if ctx.attempt < 3:
            raise Retry
        return await ctx.ask("counter", Value(number=5))

    async with AgentManager(at_once=at_once) as manager:
        await warmed(manager)
        await manager.register(Counter())
        await manager.register(Doer("doer", deed), retry=RetryPolicy(max_attempts=3))

        assert await manager.ask("doer", Do()) == 5
    assert attempts == [1, 2, 3]


@both_ways
async def test_a_circle_of_asks_is_found(at_once: bool) -> None:
    async def ask_b(ctx: AgentContext) -> Any:
        return await ctx.ask("b", Do())

    async def ask_a(ctx: AgentContext) -> Any:
        return await ctx.ask("a", Do())

    async with AgentManager(at_once=at_once) as manager:
        await warmed(manager)
        await manager.register(Doer("a", ask_b), retry=RetryPolicy(max_attempts=1))
        await manager.register(Doer("b", ask_a), retry=RetryPolicy(max_attempts=1))
        with pytest.raises(TurnError, match="DeadlockError"):
            await manager.ask("a", Do(), timeout=20)
        assert manager.stats().deadlocks == 1
        await manager.settle()
        assert manager.stats().open_asks == 0


@both_ways
async def test_a_circle_through_a_task_of_the_turn_is_found(at_once: bool) -> None:
    """The asker is known to wait before the task begins, which the asked turn waits for."""

    async def ask_b(ctx: AgentContext) -> Any:
        return await ctx.ask("b", Do(), timeout=50)

    async def ask_a_beside(ctx: AgentContext) -> Any:
        async with asyncio.TaskGroup() as group:
            group.create_task(_awaited(ctx.ask("a", Do(), timeout=50)))

    async with AgentManager(at_once=at_once) as manager:
        await warmed(manager)
        await manager.register(Doer("a", ask_b), retry=RetryPolicy(max_attempts=1))
        await manager.register(Doer("b", ask_a_beside), retry=RetryPolicy(max_attempts=1))
        began = asyncio.get_running_loop().time()
        with pytest.raises(TurnError, match="DeadlockError"):
            await manager.ask("a", Do(), timeout=100)
        assert asyncio.get_running_loop().time() - began < 1


@both_ways
async def test_a_quorum_that_can_be_had_without_the_circle_is_no_deadlock(at_once: bool) -> None:
    async def quorum(ctx: AgentContext) -> list[Any]:
        return await ctx.gather([ctx.ask("back", Do()), ctx.ask("counter", Value(number=3))], 1)

    async def back(ctx: AgentContext) -> Any:
        try:
            return await ctx.ask("quorum", Value(number=4), timeout=1)
        except (AskTimeout, DeadlockError) as error:
            return type(error).__name__

    async with AgentManager(at_once=at_once) as manager:
        await warmed(manager)
        await manager.register(Counter())
        await manager.register(Answering("quorum", quorum))
        await manager.register(Doer("back", back))

        assert await manager.ask("quorum", Do()) == [3]
        assert manager.stats().deadlocks == 0


@both_ways
async def test_an_agent_that_waits_is_seen_to_wait(at_once: bool) -> None:
    async def waits(ctx: AgentContext) -> None:
        await ctx.ask("slow", Do(), timeout=500)

    async def slow(ctx: AgentContext) -> None:
        await asyncio.sleep(100)

    async with AgentManager(at_once=at_once) as manager:
        await warmed(manager)
        await manager.register(Doer("slow", slow))
        await manager.register(Doer("waits", waits))
        await asyncio.sleep(100)  # nobody watches a system that is idle
        asker = asyncio.create_task(_awaited(manager.ask("waits", Do(), timeout=500)))
        await asyncio.sleep(10)
        agents = manager.health().agents
        assert "waits for 'slow' to answer 'do'" in agents["waits"].doing
        assert agents["slow"].running_for >= 8
        await asker


@both_ways
async def test_a_stopped_manager_ends_what_was_begun(at_once: bool) -> None:
    async def deed(ctx: AgentContext) -> None:
        await asyncio.sleep(100)

    async with AgentManager(at_once=at_once) as manager:
        await warmed(manager)
        await manager.register(Doer("doer", deed))
        asker = asyncio.create_task(_awaited(manager.ask("doer", Do())))
        await asyncio.sleep(0)
        await manager.stop(drain=False)
        with pytest.raises(AgentStopped):
            await asker

    assert asyncio.all_tasks() == {asyncio.current_task()}


@both_ways
async def test_effects_of_a_turn_are_there_before_its_answer(at_once: bool) -> None:
    counter = Counter()

    async def deed(ctx: AgentContext) -> str:
        await ctx.shared_state.set("key", "value")
        ctx.send("counter", Note(number=1))
        return "done"

    async with AgentManager(at_once=at_once) as manager:
        await warmed(manager)
        await manager.register(counter)
        await manager.register(Doer("doer", deed))
        await manager.ask("doer", Do())
        assert await manager.shared_state.get("key") == "value"
        assert await manager.ask("counter", Value(number=2)) == 2

    assert counter.seen == [1, 2]


@both_ways
async def test_a_plain_handler_that_fails_is_retried_and_reported(at_once: bool) -> None:
    """A handler without a context has none made for it, unless it is wanted."""
    runs = []

    class Plain(Agent):
        @handles
        def on_do(self, message: Do) -> None:
            runs.append(1)
            raise OSError("no luck")

    async with AgentManager(at_once=at_once) as manager:
        await warmed(manager)
        await manager.register(Plain("plain"), retry=RetryPolicy(max_attempts=2))
        with pytest.raises(TurnError, match="no luck"):
            await manager.ask("plain", Do())
        assert [letter.attempts for letter in manager.dead_letters] == [2]
    assert len(runs) == 2


@both_ways
async def test_an_error_that_the_asker_handles_is_none_of_the_handlers(at_once: bool) -> None:
    async def deed(ctx: AgentContext) -> str:
        return repr(sys.exception())

    async with AgentManager(at_once=at_once) as manager:
        await warmed(manager)
        await manager.register(Doer("doer", deed))
        try:
            raise ValueError("of the asker")
        except ValueError:
            assert await manager.ask("doer", Do()) == "None"


# the stack
async def _levels_to_the_limit() -> range:
    """So many awaits within awaits just fit from here on, or just do not. Who watches the test takes some, too."""

    async def down(levels: int) -> None:
        if levels:
            await down(levels - 1)

    most = 0
    for step in (512, 256, 128, 64, 32, 16, 8, 4, 2, 1):
        try:
            await down(most + step)
        except RecursionError:
            continue
        most += step
    return range(most - 120, most + 10)


@both_ways
def test_an_asker_that_runs_out_of_stack_leaves_nothing_half_done(at_once: bool) -> None:
    """Whatever its depth, its own ask succeeds or fails, and the agent goes on serving others."""

    async def main() -> None:
        async with AgentManager(at_once=at_once) as manager:
            await warmed(manager)
            sink = Counter("sink")
            await manager.register(sink)

            async def sends(ctx: AgentContext) -> str:
                ctx.send("sink", Note(number=1))
                return "sent"

            doer = Doer("doer", sends)
            await manager.register(doer)

            async def deep(levels: int) -> str:
                if levels:
                    return await deep(levels - 1)
                return str(await manager.ask("doer", Do(), timeout=5))

            outcomes = []
            for levels in await _levels_to_the_limit():
                await manager.settle()
                for _ in range(3):  # until the last runner has parked, and has to be woken
                    await asyncio.sleep(0)
                try:
                    outcomes.append(await deep(levels))
                except RecursionError:
                    outcomes.append("too deep")
                assert await manager.ask("doer", Do(), timeout=5) == "sent", levels
                assert manager.stats().open_asks == 0, levels
            await asyncio.wait_for(manager.settle(), 5)
            assert set(outcomes) == {"sent", "too deep"}
            assert len(sink.seen) == outcomes.count("sent") + len(outcomes)

    asyncio.run(main())


@both_ways
def test_a_teller_that_runs_out_of_stack_has_told_nothing(at_once: bool) -> None:
    async def main() -> None:
        async with AgentManager(at_once=at_once) as manager:
            counter = Counter()
            await manager.register(counter)
            told: list[int] = []

            async def deep(levels: int) -> None:
                if levels:
                    await deep(levels - 1)
                else:
                    await manager.tell("counter", Note(number=len(told)))

            for levels in await _levels_to_the_limit():
                try:
                    await deep(levels)
                except RecursionError:
                    assert len(_system(manager).directory.cells["counter"].mailbox) == 0, levels
                else:
                    told.append(levels)
                await asyncio.wait_for(manager.settle(), 5)
            assert 0 < len(counter.seen) == len(told) < 130
            assert manager.health().agents == {}  # whoever watches the agents goes on

    asyncio.run(main())


async def test_a_turn_has_most_of_the_stack_for_itself() -> None:
    deepest: list[bool] = []

    async def deed(ctx: AgentContext) -> None:
        deepest.append(is_deep())

    async with AgentManager(at_once=True) as manager:
        await warmed(manager)
        await manager.register(Doer("doer", deed))

        async def deep(levels: int) -> None:
            await (deep(levels - 1) if levels else manager.ask("doer", Do()))

        await deep(300)
        await deep(100)

    assert deepest == [False, False]


# asyncio's hooks
@pytest.mark.parametrize("hooks", [None, lambda loop, task: None], ids=["missing", "changed"])
async def test_where_asyncio_has_no_hooks_for_it_asks_take_the_queue(
    hooks: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_enter_task", hooks)
    if hooks is not None:
        monkeypatch.setattr(module, "_leave_task", hooks)
    with caplog.at_level(logging.WARNING):
        async with AgentManager(at_once=True) as manager:
            await warmed(manager)
            await manager.register(Counter())

            assert await passes_of_an_ask(manager) > 0

    assert [record.name for record in caplog.records] == ["moot.runtime.dispatch.at_once"]
    assert asyncio.current_task() is not None


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are of Python 3.12")
@both_ways
async def test_eager_tasks_change_nothing(at_once: bool) -> None:
    """A task factory that begins tasks inside `create_task`, as some frameworks set it."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    seen: list[str] = []

    class Family(Doer):
        async def on_start(self, ctx: AgentContext) -> None:
            await ctx.spawn(Beginning(f"child of {self.id}"))

        async def on_stop(self, ctx: AgentContext) -> None:
            seen.append(self.id)

    async def fails(ctx: AgentContext) -> None:
        raise ValueError

    async with AgentManager(at_once=at_once) as manager:
        await manager.register(Family("doer", fails))
        await manager.register(Counter())
        for number in range(100):
            assert await manager.ask("counter", Value(number=number)) == number
        answers = await asyncio.gather(*(_awaited(manager.ask("counter", Value(number=n))) for n in range(10)))
        assert answers == list(range(10))
        with pytest.raises(TurnError):
            await manager.ask("doer", Do())
        await manager.unregister("doer")
        await manager.settle()

    assert seen == ["doer"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed")
def test_on_uvloop_it_is_the_same_and_time_passes_within_a_pass() -> None:
    """Its `loop.time()` stands still until the next pass; the budget of a millisecond must not."""
    import uvloop

    async def compute(ctx: AgentContext) -> None:
        until = time.monotonic() + 0.001
        while time.monotonic() < until:
            pass

    async def waits(ctx: AgentContext) -> str:
        async with asyncio.timeout(5):
            await asyncio.sleep(0.001)
        return await ctx.ask("waits too", Do())

    async def waits_too(ctx: AgentContext) -> str:
        await asyncio.sleep(0)
        return "done"

    async def main() -> None:
        async with AgentManager(at_once=True) as manager:
            await warmed(manager)
            await manager.register(Counter())
            await manager.register(Doer("computes", compute))
            await manager.register(Doer("waits", waits))
            await manager.register(Doer("waits too", waits_too))
            assert await passes_of_an_ask(manager) == 0
            assert await asyncio.gather(*(_awaited(manager.ask("waits", Do())) for _ in range(5))) == ["done"] * 5
            with Passes() as passes:
                for _ in range(20):
                    await manager.ask("computes", Do())
                assert passes.count >= 5

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def _system(manager: AgentManager) -> System:
    assert manager._system is not None
    return manager._system


async def _awaited(ask: Any) -> Any:
    return await ask
