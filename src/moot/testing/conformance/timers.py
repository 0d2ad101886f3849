"""Cases about what is sent later."""

from __future__ import annotations

import asyncio
from typing import Any

from moot.agent.context import AgentContext
from moot.errors import TurnError
from moot.messaging.dead_letters import Reason
from moot.testing.conformance.cast import Clockwork, Listener, Note, Question, acting, now, refusal
from moot.testing.conformance.lives import Lives

__all__: list[str] = []


async def _ticks_of(lives: Lives, plan: dict[str, Any], *questions: str, seconds: float = 100) -> list[tuple[str, int]]:
    """What a clockwork is sent in so many seconds, if it is asked a question every second."""
    ticks: list[tuple[str, int]] = []
    manager = await lives.begin()
    await manager.register(Clockwork("clock", plan, ticks, now()))
    for question in questions:
        if question.endswith("!"):
            await refusal(manager.ask("clock", Question(question)), TurnError)
        else:
            await manager.ask("clock", Question(question))
        await asyncio.sleep(1)
    await asyncio.sleep(seconds)
    return ticks


async def a_message_is_sent_later(lives: Lives) -> None:
    """What is scheduled is sent once, when its delay is over, to the agent itself or to another."""
    heard: list[str] = []

    def plan(message: Question, ctx: AgentContext) -> str:
        ctx.schedule(10, Note("late"), to="listener")
        ctx.schedule(5, Note("early"), to="listener")
        return ""

    manager = await lives.begin(Listener("listener", heard), acting(plan, "planner"))
    await manager.ask("planner", Question())
    await asyncio.sleep(4)
    assert heard == []
    await asyncio.sleep(2)
    assert heard == ["early"]
    await asyncio.sleep(90)
    assert heard == ["early", "late"]


async def a_repeated_message_keeps_its_beat(lives: Lives) -> None:
    """``every`` sends again and again, at the times that the first one set."""
    ticks = await _ticks_of(lives, {"tick": {"delay": 5, "every": 10}}, "tick", seconds=37)

    assert ticks == [("tick", 5), ("tick", 15), ("tick", 25), ("tick", 35)]


async def a_timer_can_be_cancelled(lives: Lives) -> None:
    """``unschedule`` ends a timer of that name, one that repeats too; where there is none nothing happens."""
    plan = {"tick": {"delay": 3, "every": 3, "name": "name"}, "other": {"delay": 20}, "off": None}

    assert await _ticks_of(lives, plan, "off", "tick", "other", "other", "other", "off") == [
        ("tick", 4),
        ("other", 22),
        ("other", 23),
        ("other", 24),
    ]


async def a_timer_of_a_name_takes_the_place_of_the_one_before(lives: Lives) -> None:
    """Of the timers of one agent and name only the last set is there."""
    plan = {"a": {"delay": 10, "name": "name"}, "b": {"delay": 20, "name": "name"}, "c": {"delay": 5}}

    assert await _ticks_of(lives, plan, "a", "b", "c") == [("c", 7), ("b", 21)]


async def a_turn_that_fails_leaves_the_timers_as_they_were(lives: Lives) -> None:
    """A turn that raises sets no timer, replaces none and cancels none."""
    plan = {"a": {"delay": 10, "name": "name"}, "b": {"delay": 20, "name": "name"}, "off": None}

    assert await _ticks_of(lives, plan, "a", "b!", "off!") == [("a", 10)]


async def a_timer_ends_with_its_agent(lives: Lives) -> None:
    """What an agent had scheduled is not sent when it has been taken out for good, to nobody."""
    heard: list[str] = []

    def plan(message: Question, ctx: AgentContext) -> str:
        ctx.schedule(10, Note("late"), to="listener")
        ctx.schedule(1, Note("again"), every=5, to="listener")
        return ""

    manager = await lives.begin(Listener("listener", heard), acting(plan, "planner"))
    await manager.ask("planner", Question())
    await asyncio.sleep(2)
    await manager.unregister("planner")
    await asyncio.sleep(60)

    assert heard == ["again"]
    assert [letter.reason for letter in manager.dead_letters] == [Reason.STOPPED] * 2
