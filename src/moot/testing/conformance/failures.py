"""Cases about the moment of a failure: what the world outside was told is stored, and nothing is stored by half."""

from __future__ import annotations

import asyncio

from moot.agent.agent import Agent
from moot.agent.context import AgentContext
from moot.agent.handlers import handles
from moot.messaging.dead_letters import Reason
from moot.policies import RetryPolicy
from moot.testing.conformance.cast import PATIENT, Add, Counter, Listener, Note, Question, Tally, acting, for_ever
from moot.testing.conformance.lives import Lives

__all__: list[str] = []


async def a_turn_that_kills_its_process_is_given_up(lives: Lives) -> None:
    """Lives that end in a handler are counted; a message that has taken too many is a dead letter."""
    attempts: list[int] = []
    heard: list[str] = []

    class Deadly(Listener):
        retry = RetryPolicy(max_deaths=2)

        @handles
        async def hear(self, message: Note, ctx: AgentContext) -> None:
            if message.text == "deadly":
                attempts.append(ctx.attempt)
                await for_ever()
            self.heard.append(message.text)

    manager = await lives.begin(Deadly("a", heard))
    await manager.tell("a", Note("before"))
    await manager.tell("a", Note("deadly"))
    await manager.tell("a", Note("after"))
    for _ in range(2):
        await asyncio.sleep(1)
        manager = await lives.next(Deadly("a", heard))
    await manager.settle()

    assert attempts == [1, 1]
    assert heard == ["before", "after"]
    (letter,) = manager.dead_letters
    assert (letter.reason, letter.attempts) == (Reason.FAILED, 2)


async def what_is_acknowledged_is_stored_at_that_moment(lives: Lives) -> None:
    """When ``tell`` returns the message is stored; so is a write to shared state, and what a requeue sends."""
    heard: list[str] = []
    manager = await lives.begin(acting(_hang, "a", retry=PATIENT))
    for number in range(5):
        await manager.tell("a", Note(f"{number}"))
        manager = await lives.next(acting(_hang, "a", retry=PATIENT))
        await manager.shared_state.set("key", number)
        manager = await lives.next(acting(_hang, "a", retry=PATIENT))
        assert await manager.shared_state.get("key") == number
    manager = await lives.next(Listener("a", heard))
    await manager.settle()

    assert heard == ["0", "1", "2", "3", "4"]


async def _hang(message: Note) -> None:
    await for_ever()


async def an_answer_leaves_when_all_that_led_to_it_is_stored(lives: Lives) -> None:
    """When an ask from outside returns, the state that the answer tells of is stored, with and without an id."""
    for number in range(1, 6):
        manager = await lives.begin(Counter("counter"))
        assert await manager.ask("counter", Add(1)) == 2 * number - 1
        manager = await lives.next(Counter("counter"))
        assert await manager.ask("counter", Add(1), message_id=f"{number}") == 2 * number
        await lives.end()


async def a_late_answer_leaves_when_all_that_led_to_it_is_stored(lives: Lives) -> None:
    """The same for an answer that was deferred: it leaves with the turn that gives it."""

    class Late(Counter):
        @handles
        async def add(self, message: Add, ctx: AgentContext[Tally]) -> int:
            self.waiting = ctx.defer()
            ctx.schedule(1, Note(""))
            return 0

        @handles
        async def keep(self, message: Note, ctx: AgentContext[Tally]) -> None:
            ctx.state = Tally(ctx.state.total + 1)
            ctx.send(self.waiting, ctx.state.total)

    for number in range(1, 6):
        manager = await lives.begin(Late("counter"))
        assert await manager.ask("counter", Add()) == number
        await lives.end()


async def an_effect_is_done_when_all_that_led_to_it_is_stored(lives: Lives) -> None:
    """At the moment of an effect the turns before it are stored, in a turn that was told and in one that was asked."""

    class Teller(Counter):
        @handles
        async def keep(self, message: Note, ctx: AgentContext[Tally]) -> None:
            await self.pay(ctx)

        @handles
        async def recite(self, message: Question, ctx: AgentContext[Tally]) -> str:
            await self.pay(ctx)
            return ""

        async def pay(self, ctx: AgentContext[Tally]) -> None:
            def pay(key: str) -> None:
                paid.append(ctx.state.total)
                lives.store.fail()

            await ctx.effect("pay", pay)

    paid: list[int] = []
    for number in range(1, 11):
        manager = await lives.begin(Teller("teller"))
        manager.tell_nowait("teller", Add(1))
        asking = manager.ask("teller", Question())
        if number % 2:
            asking.start()
        else:
            manager.tell_nowait("teller", Note("go"))
        await asyncio.sleep(1)
        await manager.stop(drain=False)
        assert paid, "the effect was done"

        manager = await lives.begin(Counter("teller"))
        assert await manager.ask("teller", Add(0)) == paid[-1] == number
        await lives.end()


async def an_effect_of_a_hook_is_done_when_all_that_led_to_it_is_stored(lives: Lives) -> None:
    """The same in ``on_start``: what the hook saw is stored when its effect is done."""
    seen: list[int] = []

    async def write(message: Add, ctx: AgentContext) -> None:
        await ctx.shared_state.set("key", message.amount)

    class Opening(Counter):
        async def on_start(self, ctx: AgentContext[Tally]) -> None:
            value = await ctx.shared_state.get("key")

            def announce(key: str) -> None:
                seen.append(value)
                lives.store.fail()

            await ctx.effect("announce", announce)

    for number in range(1, 6):
        manager = await lives.begin(acting(write, "writer"))
        manager.tell_nowait("writer", Add(number))
        for _ in range(10):
            await asyncio.sleep(0)
        await manager.register(Opening("opening"))
        await manager.stop(drain=False)

        manager = await lives.begin()
        assert await manager.shared_state.get("key") == seen[-1] == number
        await lives.end()


async def an_effect_that_was_not_recorded_is_repeated_under_its_key(lives: Lives) -> None:
    """A process that dies between an effect and its record does it again, with the key that it had."""
    keys: list[str] = []

    async def handle(message: Note, ctx: AgentContext) -> None:
        def pay(key: str) -> str:
            keys.append(key)
            if len(keys) == 1:
                lives.store.fail()
            return "paid"

        await ctx.effect("pay", pay)

    manager = await lives.begin(acting(handle, "till"))
    await manager.tell("till", Note("pay"))
    await asyncio.sleep(1)
    await manager.stop(drain=False)
    manager = await lives.begin(acting(handle, "till"))
    await manager.settle()
    manager = await lives.next(acting(handle, "till"))
    await manager.settle()

    assert len(keys) == 2
    assert len(set(keys)) == 1


async def a_turn_is_stored_whole_or_not_at_all(lives: Lives) -> None:
    """Two accounts that send each other money have all of it together, whenever they fail: mail and states add up."""

    class Account(Agent[Tally]):
        def initial_state(self) -> Tally:
            return Tally(100)

        @handles
        async def take(self, message: Add, ctx: AgentContext[Tally]) -> None:
            await asyncio.sleep(0.001)
            ctx.state = Tally(ctx.state.total + message.amount - 7)
            ctx.send("b" if self.id == "a" else "a", Add(7))

        @handles
        def say(self, message: Question, ctx: AgentContext[Tally]) -> str:
            return str(ctx.state.total)

    class Idle(Account):
        @handles
        async def take(self, message: Add, ctx: AgentContext[Tally]) -> None:
            ctx.state = Tally(ctx.state.total + message.amount)

    manager = await lives.begin(Account("a"), Account("b"))
    await manager.tell("a", Add(7))
    for pause in (0.001, 0.0125, 0.0501, 0.1, 0.333):
        await asyncio.sleep(pause)
        manager = await lives.next(Account("a"), Account("b"))
    await asyncio.sleep(0.07)
    manager = await lives.next(Idle("a"), Idle("b"))
    await manager.settle()

    assert int(await manager.ask("a", Question())) + int(await manager.ask("b", Question())) == 207


async def what_was_never_acknowledged_comes_in_order_as_far_as_it_goes(lives: Lives) -> None:
    """Of messages whose callers had no answer yet the first few are there, none is missing in between."""
    heard: list[str] = []
    manager = await lives.begin(acting(_hang, "a", retry=PATIENT))
    for number in range(50):
        manager.tell_nowait("a", Note(f"{number}"))
        if number % 10 == 9:
            await asyncio.sleep(0.005)

    manager = await lives.next(Listener("a", heard))
    await manager.settle()

    assert heard == [f"{number}" for number in range(len(heard))]
