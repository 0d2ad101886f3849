"""The tools for testing agents: a handler as a function, a clock that jumps, and an end to wait for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from moot import Agent, AgentContext, AgentManager, Payload, ReplyTo, Request, UnknownAgent, handles
from moot.testing import Crashed, FakeContext, ScriptedEngine, Stalled, run, settle
from moot.testing.simulation.turn_faults import _crashing


class Word(Request[str]):
    text: str


class Go(Request[str]):
    pass


class Note(Payload):
    text: str


class Busy(Agent[int]):
    @handles
    async def on_go(self, message: Go, ctx: AgentContext[int]) -> str:
        ctx.send("friend", Note("sent"))
        ctx.publish("news", Note("published"))
        ctx.send(ReplyTo("x", 1), "answered")
        ctx.schedule(5, Note("later"))
        ctx.progress(None, "piece")
        ctx.reply("replied")
        ctx.state += 1
        await ctx.shared_state.set("key", 1)
        assert await ctx.shared_state.get("key") == 1
        assert await ctx.spawn(Busy("child")) == "child"
        assert await ctx.run_sync(len, "four") == 4
        return await ctx.ask("expert", Word("hello"))


async def test_a_fake_context_shows_what_a_handler_did() -> None:
    ctx = FakeContext.of(message=Go(), agent_id="busy", sender="me", answers={"expert": "hi"}, state=3)

    returned = await ctx.handle(Busy("busy"))

    assert returned == "hi"
    assert ctx.sent == [
        ("friend", Note("sent")),
        ("topic:news", Note("published")),
        (ReplyTo("x", 1), "answered"),
    ]
    assert ctx.replied == "replied"
    assert ctx.scheduled == [(5, Note("later"))]
    assert ctx.progressed == ["piece"]
    assert ctx.state == 4
    assert (ctx.agent_id, ctx.sender) == ("busy", "me")


async def test_a_fake_context_of_a_handler_that_does_nothing_is_empty() -> None:
    def nothing(message: Go) -> str:
        return "nothing"

    class Silent(Agent):
        @handles
        def on_go(self, message: Go) -> str:
            return nothing(message)

    ctx = FakeContext.of(message=Go())

    assert await ctx.handle(Silent("silent")) == "nothing"
    assert (ctx.sent, ctx.replied, ctx.scheduled, ctx.progressed, ctx.state) == ([], None, [], [], None)


async def test_answers_are_values_functions_or_errors() -> None:
    class Asking(Agent):
        @handles
        async def on_go(self, message: Go, ctx: AgentContext) -> Any:
            return await ctx.gather([ctx.ask(name, Word("x"), timeout=1) for name in ("value", "function")])

        @handles
        async def on_word(self, message: Word, ctx: AgentContext) -> Any:
            return await ctx.ask(message.text, Go())

    answers = {"value": 1, "function": lambda word: word.text * 2, "error": KeyError("on purpose")}

    assert await FakeContext.of(message=Go(), answers=answers).handle(Asking("a")) == [1, "xx"]
    with pytest.raises(KeyError, match="on purpose"):
        await FakeContext.of(message=Word("error"), answers=answers).handle(Asking("a"))
    with pytest.raises(UnknownAgent, match="did you mean 'value'"):
        await FakeContext.of(message=Word("valu"), answers=answers).handle(Asking("a"))


async def test_a_fake_context_has_the_engine_it_is_given() -> None:
    ctx = FakeContext.of(message=Go(), engine=ScriptedEngine(["hello"]))

    assert ctx.engine.name == "scripted"
    with pytest.raises(RuntimeError, match="give it one"):
        _ = FakeContext.of(message=Go()).engine


def test_the_virtual_clock_jumps_to_the_next_timer() -> None:
    async def main() -> list[str]:
        done: list[str] = []

        async def after(seconds: float) -> None:
            await asyncio.sleep(seconds)
            done.append(f"{seconds:g} at {asyncio.get_running_loop().time():g}")

        await asyncio.gather(after(86_400 * 400), after(1), after(0.25))
        return done

    assert run(main()) == ["0.25 at 0.25", "1 at 1", "3.456e+07 at 3.456e+07"]


def test_a_system_in_which_nothing_can_happen_any_more_says_so() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stalled, match="every task waits and no timer is set"):
        run(main())


def test_what_would_run_in_a_thread_runs_in_place() -> None:
    def fail() -> None:
        raise ValueError("on purpose")

    async def main() -> tuple[bool, str]:
        loop = asyncio.get_running_loop()
        here = await loop.run_in_executor(None, threading.current_thread) is threading.main_thread()
        with pytest.raises(ValueError, match="on purpose"):
            await asyncio.to_thread(fail)
        return here, "went on"

    assert run(main()) == (True, "went on")


async def test_settle_returns_when_nothing_is_left_to_do() -> None:
    handled: list[str] = []

    class Chain(Agent):
        @handles
        async def on_note(self, message: Note, ctx: AgentContext) -> None:
            await asyncio.sleep(1)
            handled.append(message.text)
            if len(message.text) < 5:
                ctx.send(self.id, Note(message.text + "x"))

    async with AgentManager() as manager:
        await settle(manager)
        await manager.register(Chain("chain"))
        await manager.tell("chain", Note(""))
        assert handled == []

        await settle(manager)

        assert len(handled) == 6


async def _with_a_group_that_fails() -> None:
    async def fails() -> None:
        raise ValueError

    async def takes_its_time_to_end() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(1)

    await asyncio.sleep(1)
    async with asyncio.TaskGroup() as group:
        group.create_task(takes_its_time_to_end())
        group.create_task(fails())


async def _cancellations_after(handler: Coroutine[Any, Any, None]) -> int:
    """How many cancellations a task counts that has run it; up to Python 3.12 a group may leave one behind."""
    with contextlib.suppress(Crashed, ExceptionGroup):
        await handler
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


@pytest.mark.parametrize("suspension", range(6))
async def test_a_simulated_crash_in_a_task_group_leaves_no_more_cancellations_than_the_group_does(
    suspension: int,
) -> None:
    usual = await asyncio.create_task(_cancellations_after(_with_a_group_that_fails()))

    async def crashing() -> None:
        await _crashing(_with_a_group_that_fails(), "agent", suspension)

    crashed = await asyncio.create_task(_cancellations_after(crashing()))

    assert crashed <= usual
