"""Whatever a handler raises, cancels or returns, it hurts its own turn only: other agents and the system go on."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import math
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    AskTimeout,
    Payload,
    Reason,
    Request,
    TurnError,
    handles,
)
from moot.testing import run


class Ping(Request[Any]):
    seconds: float = 0.0


class Note(Payload):
    text: str


class Doing(Agent):
    """Does to its turn what it was given to do."""

    def __init__(self, agent_id: str, deed: Callable[[AgentContext], Any]) -> None:
        super().__init__(agent_id)
        self.deed = deed

    @handles
    async def on_ping(self, message: Ping, ctx: AgentContext) -> Any:
        done = self.deed(ctx)
        return await done if asyncio.iscoroutine(done) else done

    @handles
    def on_note(self, message: Note) -> str:
        return message.text


class Patient(Agent):
    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.handled = 0

    @handles
    async def on_ping(self, message: Ping) -> str:
        await asyncio.sleep(message.seconds)
        self.handled += 1
        return self.id


class Boom(Exception):
    def __str__(self) -> str:
        raise RuntimeError("even the text fails")


def raising(error: BaseException) -> Callable[[AgentContext], Any]:
    def deed(ctx: AgentContext) -> None:
        raise error

    return deed


@pytest.mark.parametrize(
    "error",
    [
        StopIteration("x"),
        StopAsyncIteration(),
        asyncio.CancelledError(),
        asyncio.InvalidStateError(),
        RecursionError(),
        MemoryError(),
        ExceptionGroup("several", [ValueError("a"), OSError("b")]),
        AssertionError(),
        KeyError("k"),
        Boom(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_any_error_of_a_handler_ends_its_turn_and_nothing_else(error: BaseException) -> None:
    async with AgentManager() as manager:
        await manager.register(Doing("doing", raising(error)))
        await manager.register(Patient("patient"))
        waiting = asyncio.ensure_future(_await(manager.ask("patient", Ping(seconds=5))))

        with pytest.raises(TurnError):
            await manager.ask("doing", Ping())

        assert await manager.ask("doing", Note("still here")) == "still here"
        assert await waiting == "patient"
        assert manager.dead_letters.counts == {Reason.FAILED: 1}


async def test_the_text_of_an_error_is_told_up_to_a_length_that_can_be_read_and_kept() -> None:
    async with AgentManager() as manager:
        await manager.register(Doing("doing", raising(ValueError("x" * 3_000_000))))

        with pytest.raises(TurnError, match=r"x… \(3,000,000 characters\)") as caught:
            await manager.ask("doing", Ping())

        assert len(str(caught.value)) < 11_000
        assert all(len(letter.error) < 11_000 for letter in manager.dead_letters)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("error", [GeneratorExit(), BaseExceptionGroup("several", [GeneratorExit()])])
async def test_an_error_that_is_no_exception_ends_its_runner_and_the_agent_goes_on(error: BaseException) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    async with AgentManager() as manager:
        await manager.register(Doing("doing", raising(error)))

        with pytest.raises(TurnError):
            await manager.ask("doing", Ping())

        assert await manager.ask("doing", Note("still here")) == "still here"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_a_handler_can_end_the_program(error: BaseException) -> None:
    async def main() -> None:
        async with AgentManager() as manager:
            await manager.register(Doing("doing", raising(error)))
            await manager.ask("doing", Ping())

    with pytest.raises(type(error)):
        run(main())


async def test_a_handler_that_cancels_its_own_task_hurts_nobody_else() -> None:
    def cancel(ctx: AgentContext) -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "returned"

    async with AgentManager() as manager:
        patients = [Patient(f"patient_{number}") for number in range(5)]
        await manager.register(Doing("doing", cancel))
        for patient in patients:
            await manager.register(patient)
        await manager.tell("doing", Ping())
        for patient in patients:
            await manager.tell(patient.id, Ping(seconds=1))
        await manager.settle()

        assert [patient.handled for patient in patients] == [1] * 5
        assert not manager.dead_letters
        assert await manager.ask("doing", Note("still here")) == "still here"


async def test_a_handler_that_awaits_its_own_cancellation_is_told_so_and_the_agent_goes_on() -> None:
    async def cancel(ctx: AgentContext) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    async with AgentManager() as manager:
        await manager.register(Doing("doing", cancel))
        with pytest.raises(Exception, match="doing"):
            await manager.ask("doing", Ping(), timeout=5)

        assert await manager.ask("doing", Note("still here")) == "still here"
        assert sum(manager.dead_letters.counts.values()) == 1


async def test_timeouts_and_task_groups_work_inside_a_handler() -> None:
    async def deed(ctx: AgentContext) -> list[Any]:
        got: list[Any] = []
        try:
            async with asyncio.timeout(1):
                await ctx.ask("patient", Ping(seconds=5))
        except TimeoutError:
            got.append("timeout")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_await(ctx.ask("patient", Ping(seconds=1)))) for _ in range(3)]
        got += [task.result() for task in tasks]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_await(ctx.ask("patient", Ping(seconds=100))))
                group.create_task(_await(ctx.ask("nobody", Ping())))
        except ExceptionGroup as group_error:
            got.append(len(group_error.exceptions))
        return got

    async with AgentManager() as manager:
        await manager.register(Doing("doing", deed))
        await manager.register(Patient("patient"))

        answer: Any = await manager.ask("doing", Ping(), timeout=500)
        assert answer == ["timeout", "patient", "patient", "patient", 1]
        assert manager.stats().open_asks == 0


async def test_an_ask_of_a_child_task_that_outlives_the_turn_is_withdrawn_with_it() -> None:
    outlived: list[asyncio.Task[Any]] = []

    async def deed(ctx: AgentContext) -> str:
        outlived.append(asyncio.get_running_loop().create_task(_await(ctx.ask("patient", Ping(seconds=50)))))

        async def later() -> Any:
            await asyncio.sleep(2)
            return await ctx.ask("patient", Ping())

        outlived.append(asyncio.get_running_loop().create_task(later()))
        await asyncio.sleep(1)
        return "done"

    async with AgentManager() as manager:
        await manager.register(Doing("doing", deed))
        await manager.register(Patient("patient"))

        assert await manager.ask("doing", Ping()) == "done"
        assert manager.stats().open_asks == 0
        first, second = await asyncio.gather(*outlived, return_exceptions=True)
        assert isinstance(first, asyncio.CancelledError)
        assert isinstance(second, RuntimeError)


async def test_a_task_that_outlives_its_turn_goes_on_and_can_do_nothing_in_its_name() -> None:
    left: list[asyncio.Task[None]] = []
    done: list[str] = []

    async def later(ctx: AgentContext) -> None:
        await asyncio.sleep(1)
        done.append("still here")
        ctx.send("doing", Note(text="too late"))

    def leave(ctx: AgentContext) -> None:
        left.append(asyncio.get_running_loop().create_task(later(ctx)))

    async with AgentManager() as manager:
        await manager.register(Doing("doing", leave))
        await manager.ask("doing", Ping())
        (outcome,) = await asyncio.gather(*left, return_exceptions=True)

    assert done == ["still here"]
    assert isinstance(outcome, RuntimeError)


async def test_a_plain_handler_may_return_something_to_await() -> None:
    def decorated(fn: Any) -> Any:
        @functools.wraps(fn)
        def wrapper(*args: Any) -> Any:
            return fn(*args)

        return wrapper

    class Decorated(Agent):
        @handles
        @decorated
        async def on_ping(self, message: Ping, ctx: AgentContext) -> str:
            await asyncio.sleep(message.seconds)
            return "awaited"

    async with AgentManager() as manager:
        await manager.register(Decorated("decorated"))

        assert await manager.ask("decorated", Ping(seconds=1)) == "awaited"


async def test_progress_of_a_later_run_costs_its_receiver_no_attempts() -> None:
    attempts: list[int] = []

    class Receiver(Agent):
        @handles
        def on_note(self, message: Note, ctx: AgentContext) -> None:
            attempts.append(ctx.attempt)
            raise OSError

    def deed(ctx: AgentContext) -> None:
        if ctx.attempt < 3:
            raise OSError
        ctx.progress("receiver", Note("x"))

    async with AgentManager() as manager:
        await manager.register(Receiver("receiver"))
        await manager.register(Doing("doing", deed))
        await manager.ask("doing", Ping())
        await manager.settle()

    assert attempts == [1, 2, 3]


async def test_a_turn_that_fails_for_an_ask_never_awaited_writes_no_shared_state() -> None:
    async def deed(ctx: AgentContext) -> None:
        await ctx.shared_state.set("key", 1)
        ctx.ask("patient", Ping())

    async with AgentManager() as manager:
        await manager.register(Doing("doing", deed))
        await manager.register(Patient("patient"))
        with pytest.raises(TurnError, match="never awaited"):
            await manager.ask("doing", Ping())

        assert await manager.shared_state.get("key") is None


async def test_the_same_ask_cannot_be_gathered_twice() -> None:
    async with AgentManager() as manager:
        await manager.register(Patient("patient"))
        ask = manager.ask("patient", Ping())

        with pytest.raises(ValueError, match="more than once"):
            await manager.gather([ask, ask])


@pytest.mark.parametrize("timeout", [math.inf, math.nan, 0, -1])
async def test_an_ask_needs_a_deadline(timeout: float) -> None:
    async def deed(ctx: AgentContext) -> str:
        with pytest.raises(ValueError, match="timeout"):
            await ctx.ask("doing", Ping(), timeout=timeout)
        return "refused"

    async with AgentManager() as manager:
        await manager.register(Doing("doing", deed))
        with pytest.raises(ValueError, match="timeout"):
            await manager.ask("doing", Ping(), timeout=timeout)

        assert await manager.ask("doing", Ping()) == "refused"
        assert manager.stats().open_asks == 0


class Thing(Payload, weakref=True):
    """Something that can be watched for being freed."""

    x: int


@pytest.mark.parametrize("how", ["fails", "times out", "gathered", "nobody there"])
async def test_an_ask_that_failed_frees_its_content(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """The error's traceback refers to the ask, so an ask that kept its error would never be freed."""
    caplog.set_level(logging.CRITICAL + 1, "moot")  # what pytest captures keeps tracebacks, too

    async def ask_and_fail() -> list[weakref.ref[Any]]:
        content = Thing(x=1)
        to = "nobody" if how == "nobody there" else "doing"
        ask = manager.ask(to, content, message_type="silence" if how == "times out" else "noise", timeout=1)
        if how == "gathered":
            with pytest.raises(TurnError):
                await manager.gather([ask])
        else:
            with pytest.raises((TurnError, AskTimeout, LookupError, Exception)):
                await ask
        return [weakref.ref(content)]

    class Failing(Agent):
        @handles("noise")
        def on_noise(self, message: Thing) -> None:
            raise ValueError

        @handles("silence")
        def on_silence(self, message: Thing, ctx: AgentContext) -> None:
            ctx.defer()

    async with AgentManager() as manager:
        await manager.register(Failing("doing"))
        (remembered,) = await ask_and_fail()
        while manager.dead_letters:
            manager.dead_letters.take(manager.dead_letters.list()[0].id)
        await asyncio.sleep(1)
        gc.collect()

        assert remembered() is None


async def _await(ask: Any) -> Any:
    return await ask
