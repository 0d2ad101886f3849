"""Cases about turns that a life interrupts: they are not answered twice, and what they did outside is not repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from moot.agent.agent import Agent
from moot.agent.context import AgentContext
from moot.agent.handlers import handles
from moot.engine.base import ChatMessage, EngineRequest
from moot.engine.scripted import ScriptedEngine
from moot.errors import Retry
from moot.testing.conformance.cast import (
    AT_ONCE,
    Add,
    Counter,
    Desk,
    Note,
    Question,
    Tally,
    Thing,
    acting,
    for_ever,
)
from moot.testing.conformance.lives import Lives

__all__: list[str] = []


class _Asker(Agent):
    """Handles a note with ``work`` and, in the life that it is not to survive, hangs after that."""

    retry = AT_ONCE

    def __init__(self, agent_id: str, work: Callable[[AgentContext], Any], *, hangs: bool, heard: list[Any]) -> None:
        super().__init__(agent_id)
        self.work = work
        self.hangs = hangs
        self.heard = heard

    @handles
    async def go(self, message: Note, ctx: AgentContext) -> None:
        """Work, and hang or say what came of it."""
        result = await self.work(ctx)
        if self.hangs:
            await for_ever()
        self.heard.append(result)


async def _in_two_lives(lives: Lives, work: Callable[[AgentContext], Any], *others: Agent[Any], **options: Any) -> Any:
    """What comes of ``work`` in the second life, if the first ended after it and before its turn did."""
    heard: list[Any] = []
    manager = await lives.begin(*others, _Asker("asker", work, hangs=True, heard=heard), **options)
    await manager.tell("asker", Note("go"))
    await asyncio.sleep(1)
    assert heard == []
    again = [other.construct_again() for other in others]
    manager = await lives.next(*again, _Asker("asker", work, hangs=False, heard=heard), **options)
    await manager.settle()
    (result,) = heard
    return result


async def an_ask_that_was_answered_is_not_asked_again(lives: Lives) -> None:
    """The asked agent's turn stays, and the asker has its answer in the next life without asking."""

    async def ask(ctx: AgentContext) -> int:
        return await ctx.ask("counter", Add(1))

    assert await _in_two_lives(lives, ask, Counter("counter")) == 1
    assert await lives.manager.ask("counter", Add(0)) == 1


async def asks_of_one_content_are_told_apart(lives: Lives) -> None:
    """The same request made twice in a turn is two requests, in whatever order they are answered."""

    async def ask(ctx: AgentContext) -> list[int]:
        first = await ctx.gather([ctx.ask("counter", Add(1)), ctx.ask("counter", Add(1))])
        return [*first, await ctx.ask("counter", Add(1)), await ctx.ask("other", Add(1))]

    assert await _in_two_lives(lives, ask, Counter("counter"), Counter("other")) == [1, 2, 3, 1]
    assert await lives.manager.ask("counter", Add(0)) == 3


async def an_answer_comes_back_as_its_type(lives: Lives) -> None:
    """A stored answer is of the type that its request declares; an effect's of the type that was named."""

    async def work(ctx: AgentContext) -> list[Any]:
        made = await ctx.effect("make", lambda key: Tally(4), type=Tally)
        plain = await ctx.effect("plain", lambda key: [1, "a"])
        return [made.total, plain, await ctx.ask("counter", Add(2))]

    assert await _in_two_lives(lives, work, Counter("counter")) == [4, [1, "a"], 2]


async def nested_asks_are_not_asked_again(lives: Lives) -> None:
    """An agent that was asked and had asked another is, in the next life, asked again and does not ask again."""

    class Middle(Agent):
        runs = 0

        @handles
        async def pass_on(self, message: Question, ctx: AgentContext) -> str:
            total = await ctx.ask("counter", Add(1))
            paid = await ctx.effect("pay", pay)
            Middle.runs += 1
            if Middle.runs == 1:
                await for_ever()
            return f"{total} {paid}"

    done: list[str] = []

    def pay(key: str) -> int:
        done.append(key)
        return len(done)

    async def ask(ctx: AgentContext) -> str:
        return await ctx.ask("middle", Question())

    assert await _in_two_lives(lives, ask, Counter("counter"), Middle("middle")) == "1 1"
    assert await lives.manager.ask("counter", Add(0)) == 1
    assert len(done) == 1
    assert Middle.runs == 2


async def an_effect_is_not_repeated_in_the_next_life(lives: Lives) -> None:
    """An effect whose result was recorded is not done again; its key is that of the turn."""
    keys: list[str] = []

    async def work(ctx: AgentContext) -> list[int]:
        def pay(key: str) -> int:
            keys.append(key)
            return len(keys)

        return [await ctx.effect("pay", pay), await ctx.effect("pay", pay), await ctx.effect("post", pay)]

    assert await _in_two_lives(lives, work) == [1, 2, 3]
    assert len(set(keys)) == len(keys) == 3


async def an_engine_is_not_called_again(lives: Lives) -> None:
    """An answer of the engine that was paid for is there in the next life."""
    engine = ScriptedEngine(["first", "second", "third"])

    async def think(ctx: AgentContext) -> list[str]:
        prompt = EngineRequest(messages=(ChatMessage("user", "go on"),))
        texts = [(await ctx.engine.generate(prompt)).text for _ in range(2)]
        other = EngineRequest(messages=(ChatMessage("user", "stop"),))
        return [*texts, (await ctx.engine.generate(other)).text]

    assert await _in_two_lives(lives, think, engine=engine) == ["first", "second", "third"]
    engine.assert_exhausted()


async def a_fresh_retry_forgets_what_an_earlier_life_was_answered(lives: Lives) -> None:
    """``Retry(fresh=True)`` asks anew for what another life has recorded, too."""

    async def ask(ctx: AgentContext) -> int:
        total = await ctx.ask("counter", Add(1))
        if total == 1 and len(begun) == 1:
            begun.append("fresh")
            raise Retry(fresh=True, after=0)
        begun.append("a life")
        return total

    begun: list[str] = []
    assert await _in_two_lives(lives, ask, Counter("counter")) == 2
    assert await lives.manager.ask("counter", Add(0)) == 2


async def _ask_desk(ctx: AgentContext) -> str:
    return await ctx.ask("desk", Question(), timeout=1000)


async def a_deferred_ask_is_answered_in_another_life(lives: Lives) -> None:
    """An agent that deferred an answer is not asked again: it answers in its own time, and the asker has it."""
    heard: list[Any] = []
    manager = await lives.begin(Desk("desk"), _Asker("asker", _ask_desk, hangs=False, heard=heard))
    await manager.tell("asker", Note("go"))
    await asyncio.sleep(1)
    await lives.next(Desk("desk"), _Asker("asker", _ask_desk, hangs=False, heard=heard))
    await asyncio.sleep(1)

    manager = await lives.next(_Asker("asker", _ask_desk, hangs=False, heard=heard), Desk("desk"))
    await asyncio.sleep(1)
    assert await manager.ask("desk", Thing()) == 1
    assert heard == []
    await manager.tell("desk", Note("at last"))
    await manager.settle()

    assert heard == ["at last"]


async def a_deferred_answer_may_come_before_its_asker(lives: Lives) -> None:
    """An answer that is given before the asker is there again waits for it."""
    heard: list[Any] = []
    manager = await lives.begin(Desk("desk"), _Asker("asker", _ask_desk, hangs=False, heard=heard))
    await manager.tell("asker", Note("go"))
    await asyncio.sleep(1)

    manager = await lives.next(Desk("desk"))
    await manager.tell("desk", Note("early"))
    await manager.settle()
    manager = await lives.next(Desk("desk"))
    await manager.register(_Asker("asker", _ask_desk, hangs=False, heard=heard))
    await manager.settle()

    assert heard == ["early"]
    assert await manager.ask("desk", Thing()) == 0


async def a_forwarded_ask_is_answered_in_another_life(lives: Lives) -> None:
    """A request that was passed on is the mail of whom it was passed to, who answers it once."""
    runs: list[str] = []

    def pass_on(message: Add, ctx: AgentContext) -> None:
        runs.append("passed on")
        ctx.forward("counter")

    async def hang(message: Add) -> None:
        await for_ever()

    async def ask(ctx: AgentContext) -> int:
        return await ctx.ask("desk", Add(1))

    heard: list[Any] = []
    asker = _Asker("asker", ask, hangs=False, heard=heard)
    manager = await lives.begin(acting(pass_on, "desk"), acting(hang, "counter"), asker)
    await manager.tell("asker", Note("go"))
    await asyncio.sleep(1)
    manager = await lives.next(acting(pass_on, "desk"), Counter("counter"), asker.construct_again())
    await manager.settle()

    assert heard == [1]
    assert runs == ["passed on"]
    assert await manager.ask("counter", Add(0)) == 1


async def a_request_that_was_not_taken_is_not_made_twice(lives: Lives) -> None:
    """A request that still waited is not stored on its own: the turn that made it makes it again, and it is one."""
    heard: list[Any] = []

    async def ask(ctx: AgentContext) -> int:
        return await ctx.ask("counter", Add(1))

    class Busy(Counter):
        @handles
        async def keep(self, message: Note, ctx: AgentContext[Tally]) -> None:
            await for_ever()

    manager = await lives.begin(Busy("counter"), _Asker("asker", ask, hangs=False, heard=heard))
    await manager.tell("counter", Note("busy"))
    await asyncio.sleep(1)
    await manager.tell("asker", Note("go"))
    await asyncio.sleep(1)
    manager = await lives.next(Counter("counter"), _Asker("asker", ask, hangs=False, heard=heard))
    await manager.settle()

    assert heard == [1]
    assert await manager.ask("counter", Add(0)) == 1
    assert not list(manager.dead_letters)


async def a_cancelled_thinker_does_not_think_again(lives: Lives) -> None:
    """An agent that ends with its asker's wait has stored what the engine answered when its process ends first."""
    engine = ScriptedEngine(["thought"])

    class Thinker(Agent):
        cancel_with_asker = True
        runs = 0

        @handles
        async def think(self, message: Question, ctx: AgentContext) -> str:
            answer = await ctx.engine.generate(EngineRequest(messages=(ChatMessage("user", "think"),)))
            Thinker.runs += 1
            if Thinker.runs == 1:
                await for_ever()
            return answer.text

    async def ask(ctx: AgentContext) -> str:
        return await ctx.ask("thinker", Question(), timeout=1000)

    assert await _in_two_lives(lives, ask, Thinker("thinker"), engine=engine) == "thought"
    assert not list(lives.manager.dead_letters)
