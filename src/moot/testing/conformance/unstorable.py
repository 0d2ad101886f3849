"""Cases about what cannot be stored: memory takes any object, a durable backend refuses it, and nothing happened."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from moot.agent.agent import Agent
from moot.agent.context import AgentContext
from moot.agent.handlers import handles
from moot.errors import InvalidPayload
from moot.messaging.dead_letters import Reason
from moot.messaging.message import AgentMessage
from moot.testing.conformance.cast import Add, Counter, Listener, Note, Question, Thing, acting, refusal
from moot.testing.conformance.lives import Lives

__all__: list[str] = []


class _Collector(Agent):
    """Collects whatever it is sent; ``got`` is that."""

    def __init__(self, agent_id: str, got: list[Any]) -> None:
        super().__init__(agent_id)
        self.got = got

    @handles
    def collect(self, message: Thing) -> str:
        """Take it."""
        self.got.append(message.thing)
        return type(message.thing).__name__


async def _refused(lives: Lives, sending: Awaitable[Any]) -> None:
    """On a durable backend it is refused; on one that keeps nothing it is not."""
    if lives.is_durable:
        await refusal(sending, InvalidPayload)
    else:
        await sending


async def content_from_outside_that_cannot_be_stored_is_refused(lives: Lives) -> None:
    """A message that a durable backend cannot keep is refused to whoever tells it, or asks under an id."""
    got: list[Any] = []
    manager = await lives.begin(_Collector("collector", got))
    what = object()
    envelope = AgentMessage("outside", "collector", Thing(what), "thing")

    await _refused(lives, manager.tell("collector", Thing(what)))
    await _refused(lives, manager.tell("collector", Thing(what), message_id="a"))
    await _refused(lives, manager.get_message_sender()(envelope))
    await _refused(lives, manager.ask("collector", Thing(what), message_id="b"))
    await manager.settle()

    assert got == ([] if lives.is_durable else [what] * 4)
    assert manager.stats().open_asks == 0
    assert not list(manager.dead_letters)
    await manager.tell("collector", Thing("plain"), message_id="a" if lives.is_durable else "c")
    assert await manager.ask("collector", Thing(1), message_id="b" if lives.is_durable else "d") == "int"
    assert got[-2:] == ["plain", 1]


async def news_that_cannot_be_stored_reach_nobody(lives: Lives) -> None:
    """What is published goes to all subscribers or, if it cannot be stored, to none."""
    got: list[Any] = []
    collectors = [_Collector(name, got) for name in "ab"]
    for collector in collectors:
        collector.topics = ("news",)  # type: ignore[misc]
    manager = await lives.begin(*collectors)

    await _refused(lives, manager.publish("news", Thing(object())))
    await manager.settle()

    assert len(got) == (0 if lives.is_durable else 2)


async def _fate(lives: Lives, fn: Any) -> list[str]:
    """What is heard, and what becomes of the message, when a turn does something and sends a note besides."""
    heard: list[str] = []
    got: list[Any] = []

    async def act(message: Note, ctx: AgentContext) -> Any:
        ctx.send("listener", Note("also sent"))
        return await fn(ctx)

    manager = await lives.begin(Listener("listener", heard), _Collector("collector", got), acting(act, "actor"))
    await manager.tell("actor", Note("go"))
    await manager.settle()
    await asyncio.sleep(10)
    return [*heard, *(type(thing).__name__ for thing in got), *(letter.reason.value for letter in manager.dead_letters)]


async def content_from_a_turn_that_cannot_be_stored_fails_it(lives: Lives) -> None:
    """A turn that sends, publishes or schedules what cannot be stored fails as a whole: its message is invalid."""

    async def send(ctx: AgentContext) -> None:
        ctx.send("collector", Thing(object()))
        ctx.schedule(1, Thing(object()), to="collector")

    expected = [Reason.INVALID.value] if lives.is_durable else ["also sent", "object", "object"]
    assert await _fate(lives, send) == expected


async def an_ask_in_a_turn_may_hold_anything(lives: Lives) -> None:
    """The request of an ask between agents is not stored, because the turn asks again: it may hold any object."""
    got: list[Any] = []

    async def act(message: Note, ctx: AgentContext) -> None:
        assert await ctx.ask("collector", Thing(object())) == "object"

    manager = await lives.begin(_Collector("collector", got), acting(act, "actor"))
    await manager.tell("actor", Note("go"))
    await manager.settle()

    assert len(got) == 1
    assert not list(manager.dead_letters)


async def an_answer_that_cannot_be_stored_fails_its_turn(lives: Lives) -> None:
    """An answer that an asking turn could not be given again is none: the turn that gave it fails as a whole."""
    heard: list[str] = []
    answers: list[Any] = []

    def answer(message: Thing, ctx: AgentContext) -> Any:
        ctx.send("listener", Note("answered"))
        return object()

    async def ask(message: Question, ctx: AgentContext) -> str:
        answers.append(await ctx.ask("answerer", Thing()))
        return "got it"

    manager = await lives.begin(Listener("listener", heard), acting(answer, "answerer"), acting(ask, "asker"))
    await _refused(lives, manager.ask("asker", Question(), message_id="a"))
    await manager.settle()

    assert (heard, len(answers)) == ([], 0) if lives.is_durable else (["answered"], 1)
    assert manager.stats().open_asks == 0


async def state_that_cannot_be_stored_fails_its_turn(lives: Lives) -> None:
    """A turn that leaves a state which cannot be stored fails as a whole, and the state is the one before."""

    class Odd(Counter):
        @handles
        def odd(self, message: Thing, ctx: AgentContext[Any]) -> None:
            ctx.send("listener", Note("sent"))
            ctx.state = Odd

    heard: list[str] = []
    manager = await lives.begin(Odd("odd"), Listener("listener", heard))
    await manager.ask("odd", Add(5))

    await _refused(lives, manager.ask("odd", Thing()))
    await manager.settle()

    if lives.is_durable:
        assert await manager.ask("odd", Add(1)) == 6
    assert heard == ([] if lives.is_durable else ["sent"])


async def an_effect_whose_result_cannot_be_stored_fails(lives: Lives) -> None:
    """The result of an effect has to be stored before the handler goes on; if it cannot be, the handler is told."""

    async def effect(ctx: AgentContext) -> None:
        await ctx.effect("make", lambda key: object())

    assert await _fate(lives, effect) == ([Reason.INVALID.value] if lives.is_durable else ["also sent"])
