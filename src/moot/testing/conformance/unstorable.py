"""Cases about what could not be read again: it is refused, and nothing happened. What runs on memory runs on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from moot.agent.agent import Agent
from moot.agent.context import AgentContext
from moot.agent.handlers import handles
from moot.errors import InvalidPayload, TurnError
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


async def _refused(send: Callable[[], Awaitable[Any]]) -> InvalidPayload:
    async def sent() -> Any:
        return await send()

    return await refusal(sent(), InvalidPayload)


async def content_from_outside_that_cannot_be_stored_is_refused(lives: Lives) -> None:
    """A message that could not be read again is refused to whoever tells it, or asks."""
    got: list[Any] = []
    manager = await lives.begin(_Collector("collector", got))
    what = object()
    envelope = AgentMessage("outside", "collector", Thing(what), "thing")

    await _refused(lambda: manager.tell("collector", Thing(what)))
    await _refused(lambda: manager.tell("collector", Thing(what), message_id="a"))
    await _refused(lambda: manager.get_message_sender()(envelope))
    await _refused(lambda: manager.ask("collector", Thing(what), message_id="b"))
    await manager.settle()

    assert got == []
    assert manager.stats().open_asks == 0
    assert not list(manager.dead_letters)
    await manager.tell("collector", Thing("plain"), message_id="a")
    assert await manager.ask("collector", Thing(1), message_id="b") == "int"
    assert got == ["plain", 1]


async def news_that_cannot_be_stored_reach_nobody(lives: Lives) -> None:
    """What is published goes to all subscribers or, if it could not be read again, to none."""
    got: list[Any] = []
    collectors = [_Collector(name, got) for name in "ab"]
    for collector in collectors:
        collector.topics = ("news",)  # type: ignore[misc]
    manager = await lives.begin(*collectors)

    await _refused(lambda: manager.publish("news", Thing(object())))
    await manager.settle()

    assert got == []


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

    assert await _fate(lives, send) == [Reason.INVALID.value]


async def a_timer_that_cannot_be_stored_fails_its_turn(lives: Lives) -> None:
    """As content that is sent, at the call."""

    async def schedule(ctx: AgentContext) -> None:
        ctx.schedule(1, Thing(object()), to="collector")

    assert await _fate(lives, schedule) == [Reason.INVALID.value]


async def an_ask_in_a_turn_is_held_to_the_same_rule(lives: Lives) -> None:
    """A request between agents is not stored, but may be passed on, and then it is: it is checked as all content is."""

    async def act(ctx: AgentContext) -> None:
        await ctx.ask("collector", Thing(object()))

    assert await _fate(lives, act) == [Reason.INVALID.value]


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
    await _refused(lambda: manager.ask("asker", Question(), message_id="a"))
    await manager.settle()

    assert (heard, answers) == ([], [])
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

    await _refused(lambda: manager.ask("odd", Thing()))
    await manager.settle()

    assert await manager.ask("odd", Add(1)) == 6
    assert heard == []


async def an_effect_whose_result_cannot_be_stored_fails(lives: Lives) -> None:
    """The result of an effect has to be stored before the handler goes on; if it cannot be, the handler is told."""

    async def effect(ctx: AgentContext) -> None:
        await ctx.effect("make", lambda key: object())

    assert await _fate(lives, effect) == [Reason.INVALID.value]


async def a_payload_of_a_wrong_type_is_refused_where_it_is_sent(lives: Lives) -> None:
    """Nothing checks a value when it is constructed, so it is checked when it is sent, by the name of its field."""
    manager = await lives.begin(Counter("counter"))

    sends: list[Callable[[], Awaitable[Any]]] = [
        lambda: manager.tell("counter", Add("3")),  # type: ignore[arg-type]
        lambda: manager.ask("counter", Add(1.5)),  # type: ignore[arg-type]
    ]
    for send in sends:
        error = await _refused(send)
        assert "amount: Expected `int`" in str(error)
    assert await manager.ask("counter", Add(1)) == 1


async def a_list_that_is_sent_and_then_changed_arrives_as_it_was_sent(lives: Lives) -> None:
    """Content is copied at the send, for each receiver: nobody changes what another holds, or will be given again."""
    got: list[Any] = []
    collectors = [_Collector(name, got) for name in "ab"]
    for collector in collectors:
        collector.topics = ("news",)  # type: ignore[misc]

    async def act(message: Note, ctx: AgentContext) -> None:
        thing = ["sent"]
        ctx.send("a", Thing(thing))
        ctx.publish("news", Thing(thing))
        thing.clear()

    manager = await lives.begin(*collectors, acting(act, "actor"))
    outside = [["told"]]
    await manager.tell("a", Thing(outside))
    outside[0].clear()
    await manager.tell("actor", Note("go"))
    await manager.settle()

    assert sorted(got, key=str) == [["sent"], ["sent"], ["sent"], [["told"]]]
    got[1].append("mine")
    assert sum("mine" in one for one in got) == 1


async def a_state_that_is_changed_in_place_fails_its_turn(lives: Lives) -> None:
    """Such a change would be lost, or kept by chance: the turn fails, and the state is what it was."""

    class Tallies(Agent[dict[str, int]]):
        @handles
        def add(self, message: Add, ctx: AgentContext[dict[str, int]]) -> int:
            ctx.state = {**ctx.state, "n": ctx.state.get("n", 0) + message.amount}
            return ctx.state["n"]

        @handles
        def spoil(self, message: Note, ctx: AgentContext[dict[str, int]]) -> None:
            ctx.state["n"] += 100
            if message.text == "raise":
                raise ValueError

    manager = await lives.begin(Tallies("tallies"))
    await manager.ask("tallies", Add(1))
    for text in ("return", "raise"):
        await refusal(manager.ask("tallies", Note(text)), TurnError)

    assert await manager.ask("tallies", Add(1)) == 2
