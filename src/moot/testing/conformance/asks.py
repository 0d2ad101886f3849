"""Cases about asks between agents, and about the addresses that messages go to."""

from __future__ import annotations

import asyncio
from typing import Any

from moot.agent.agent import Agent
from moot.agent.context import AgentContext
from moot.agent.handlers import handles
from moot.errors import AskTimeout, Retry, TurnError, UnknownAgent
from moot.messaging.message import ReplyTo
from moot.runtime.routing.death_watch import Terminated
from moot.testing.conformance.cast import AT_ONCE, Add, Counter, Listener, Note, Question, Thing, acting, refusal
from moot.testing.conformance.lives import Lives

__all__: list[str] = []


async def asks_of_a_pair_keep_their_order(lives: Lives) -> None:
    """Asks of one agent to another are handled in the order in which they were made."""
    asked: list[str] = []

    def answer(message: Question) -> str:
        asked.append(message.text)
        return message.text.upper()

    async def ask(message: Note, ctx: AgentContext) -> None:
        first = [ctx.ask("answerer", Question(text)) for text in "abcd"]
        assert await ctx.gather(first) == ["A", "B", "C", "D"]
        await ctx.ask("answerer", Question("e"))

    manager = await lives.begin(acting(answer, "answerer"), acting(ask, "asker"))
    await manager.tell("asker", Note("go"))
    await manager.settle()

    assert asked == list("abcde")


async def answers_stay_when_the_asker_rolls_back(lives: Lives) -> None:
    """An ask is the other agent's own turn: it stays, and a run again has its answer without asking twice."""
    got: list[tuple[int, int]] = []

    async def ask(message: Note, ctx: AgentContext) -> None:
        got.append((await ctx.ask("counter", Add(1)), await ctx.ask("counter", Add(1))))
        if ctx.attempt < 3:
            raise TimeoutError

    manager = await lives.begin(Counter("counter"), acting(ask, "asker", retry=AT_ONCE))
    await manager.tell("asker", Note("go"))
    await manager.settle()

    assert got == [(1, 2)] * 3
    assert await manager.ask("counter", Add(0)) == 2


async def a_fresh_retry_asks_again(lives: Lives) -> None:
    """``Retry(fresh=True)`` forgets what the turn was answered."""
    got: list[int] = []

    async def ask(message: Note, ctx: AgentContext) -> None:
        got.append(await ctx.ask("counter", Add(1)))
        if ctx.attempt == 1:
            raise Retry(fresh=True, after=0)

    manager = await lives.begin(Counter("counter"), acting(ask, "asker"))
    await manager.tell("asker", Note("go"))
    await manager.settle()

    assert got == [1, 2]


async def an_ask_ends_with_its_deadline(lives: Lives) -> None:
    """An ask that nobody answers ends when its time is over, for an agent and for a caller from outside."""

    def defer(message: Question, ctx: AgentContext) -> None:
        ctx.defer()

    async def ask(message: Question, ctx: AgentContext) -> str:
        return type(await refusal(ctx.ask("silent", Question(), timeout=2), AskTimeout)).__name__

    manager = await lives.begin(acting(defer, "silent"), acting(ask, "asker"))
    began = asyncio.get_running_loop().time()

    assert await manager.ask("asker", Question()) == "AskTimeout"
    await refusal(manager.ask("silent", Question(), timeout=5), AskTimeout)
    assert 7 <= asyncio.get_running_loop().time() - began < 8
    assert manager.stats().open_asks == 0


class _Secretary(Agent):
    """Keeps questions until somebody tells it the answer."""

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.waiting: list[ReplyTo] = []

    @handles
    def wait(self, message: Question, ctx: AgentContext) -> None:
        self.waiting.append(ctx.defer())

    @handles
    def answer(self, message: Note, ctx: AgentContext) -> None:
        ctx.send(self.waiting.pop(0), message.text)


async def a_deferred_ask_is_answered_by_a_later_turn(lives: Lives) -> None:
    """An agent that defers an answer handles other mail, and answers when it can: agents and callers from outside."""
    heard: list[str] = []

    async def ask(message: Note, ctx: AgentContext) -> None:
        heard.append(await ctx.ask("secretary", Question()))

    manager = await lives.begin(_Secretary("secretary"), acting(ask, "asker"))
    await manager.tell("asker", Note("go"))
    await asyncio.sleep(1)
    outside = manager.ask("secretary", Question())
    outside.start()
    await asyncio.sleep(1)
    await manager.tell("secretary", Note("first"))
    await manager.tell("secretary", Note("second"))

    assert await outside == "second"
    await manager.settle()
    assert heard == ["first"]


async def a_forwarded_ask_is_answered_by_whoever_handles_it(lives: Lives) -> None:
    """A message that is passed on is handled and answered elsewhere; the asker sees no difference."""

    def pass_on(message: Add, ctx: AgentContext) -> None:
        ctx.forward("counter")

    async def ask(message: Question, ctx: AgentContext) -> str:
        return str(await ctx.ask("desk", Add(5)))

    manager = await lives.begin(acting(pass_on, "desk"), Counter("counter"), acting(ask, "asker"))

    assert await manager.ask("desk", Add(1)) == 1
    assert await manager.ask("asker", Question()) == "6"
    await manager.tell("desk", Add(10))
    await manager.settle()
    assert await manager.ask("counter", Add(0)) == 16


async def a_published_message_reaches_every_subscriber(lives: Lives) -> None:
    """News reach those who are subscribed then, by their class or by a turn, in order; nobody is no error."""
    heard: dict[str, list[str]] = {"born": [], "bred": []}
    born = Listener("born", heard["born"])
    born.topics = ("news",)  # type: ignore[misc]

    class Late(Listener):
        @handles
        def subscribe(self, message: Question, ctx: AgentContext) -> str:
            (ctx.unsubscribe if message.text else ctx.subscribe)("news")
            return ""

    manager = await lives.begin(born, Late("bred", heard["bred"]))

    assert await manager.publish("nothing", Note("-")) == 0
    assert await manager.publish("news", Note("1")) == 1
    await manager.ask("bred", Question())
    assert await manager.publish("news", Note("2")) == 2
    assert await manager.publish("news", Note("3")) == 2
    await manager.ask("bred", Question("enough"))
    assert await manager.publish("news", Note("4")) == 1
    await manager.settle()
    assert heard == {"born": ["1", "2", "3", "4"], "bred": ["2", "3"]}


async def a_capability_is_shared_by_those_who_have_it(lives: Lives) -> None:
    """``capability:NAME`` reaches one of those who can do it; they take turns, and a run again asks the same one."""
    asked: list[str] = []

    class Adder(Agent):
        capabilities = ("adding",)

        @handles
        async def add(self, message: Add) -> int:
            asked.append(self.id)
            return message.amount

    async def ask(message: Note, ctx: AgentContext) -> None:
        await ctx.ask("capability:adding", Add(2))
        if ctx.attempt < 3:
            raise TimeoutError

    manager = await lives.begin(Adder("a"), Adder("b"), acting(ask, "asker", retry=AT_ONCE))
    for number in range(4):
        assert await manager.ask("capability:adding", Add(number)) == number

    assert sorted(asked) == ["a", "a", "b", "b"]
    await manager.tell("capability:adding", Add(1))
    await manager.tell("asker", Note("go"))
    await manager.settle()
    assert len(asked) == 6
    await refusal(manager.tell("capability:flying", Note("x")), UnknownAgent)


async def a_hosted_agent_is_made_when_it_is_addressed(lives: Lives) -> None:
    """Agents of a hosted domain come to be with their first message, from outside or from a turn."""

    def send(message: Note, ctx: AgentContext) -> None:
        ctx.send("counter/b", Add(5))

    manager = await lives.begin(acting(send, "sender"), host={"counter": Counter})
    assert manager.stats().agents == 1

    assert await manager.ask("counter/a", Add(3)) == 3
    await manager.tell("sender", Note("go"))
    await manager.settle()
    assert await manager.ask("counter/b", Add(1)) == 6
    assert manager.stats().agents == 3


async def a_child_of_a_turn_that_fails_is_stopped(lives: Lives) -> None:
    """A child starts at once, and stops when the turn that made it rolls back."""

    async def make(message: Question, ctx: AgentContext) -> str:
        child = await ctx.spawn(Counter(message.text))
        total = await ctx.ask(child, Add(1))
        if message.text == "bad":
            raise ValueError
        return f"{child} {total}"

    manager = await lives.begin(acting(make, "parent"))

    assert await manager.ask("parent", Question("good")) == "good 1"
    await refusal(manager.ask("parent", Question("bad")), TurnError)
    assert await manager.ask("good", Add(1)) == 2
    await refusal(manager.ask("bad", Add(1)), UnknownAgent)


async def a_watcher_is_told_of_an_end(lives: Lives) -> None:
    """Whoever watches an agent is sent `Terminated` when it is out for good."""
    news: list[Terminated] = []

    class Watcher(Agent):
        @handles
        def begin(self, message: Note, ctx: AgentContext) -> None:
            ctx.watch(message.text)

        @handles
        def ended(self, message: Terminated) -> None:
            news.append(message)

    manager = await lives.begin(Watcher("watcher"), Counter("counter"))
    await manager.tell("watcher", Note("counter"))
    await manager.settle()
    await manager.unregister("counter")
    await manager.settle()

    assert [(one.agent_id, one.reason) for one in news] == [("counter", "stopped")]
    await refusal(manager.ask("counter", Add(1)), UnknownAgent)


async def a_stream_brings_pieces_before_the_answer(lives: Lives) -> None:
    """What a handler passes to ``ctx.progress`` arrives as it is made, and the answer after it."""

    async def count(message: Thing, ctx: AgentContext) -> Any:
        for number in range(message.thing):
            ctx.progress(None, number)
            await asyncio.sleep(1)
        return "done"

    manager = await lives.begin(acting(count, "counter"))
    began = asyncio.get_running_loop().time()

    async with manager.stream(manager.ask("counter", Thing(3))) as stream:
        pieces = [(piece, asyncio.get_running_loop().time() - began) async for piece in stream]
        assert await stream.reply() == "done"

    assert [piece for piece, _ in pieces] == [0, 1, 2]
    assert pieces[0][1] < 1 <= pieces[1][1] < 2 <= pieces[2][1]
