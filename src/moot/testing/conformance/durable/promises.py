"""Cases about what was promised to somebody: acknowledged messages, answers under an id, dead letters."""

from __future__ import annotations

import asyncio
from typing import Any

from moot.agent.context import AgentContext
from moot.agent.handlers import handles
from moot.errors import MootError, TurnError
from moot.testing.conformance.cast import (
    ONCE,
    Add,
    Counter,
    Desk,
    Note,
    Question,
    Tally,
    Thing,
    acting,
    for_ever,
    refusal,
)
from moot.testing.conformance.lives import Lives

__all__: list[str] = []


async def an_id_that_was_told_is_known_in_another_life(lives: Lives) -> None:
    """A message told again under its id is not handled again, whether the first has been handled yet or not."""
    manager = await lives.begin(Counter("counter"), acting(_hang, "hanging"))
    await manager.tell("counter", Add(1), message_id="a")
    await manager.tell("hanging", Add(5), message_id="a")
    await asyncio.sleep(1)

    manager = await lives.next(Counter("counter"), Counter("hanging"))
    await manager.tell("counter", Add(1), message_id="a")
    await manager.tell("hanging", Add(5), message_id="a")
    await manager.tell("counter", Add(10), message_id="b")
    await manager.settle()

    assert await manager.ask("counter", Add(0)) == 11
    assert await manager.ask("hanging", Add(0)) == 5


async def an_id_is_remembered_for_a_week(lives: Lives) -> None:
    """An id is known for 7 days from when it was given, answers included; then it is one like any other."""
    day = 24 * 3600.0
    await lives.begin(Counter("counter"))
    for days, total in ((0, 2), (6, 2), (2, 4)):
        await lives.end()
        await asyncio.sleep(days * day)
        manager = await lives.begin(Counter("counter"))
        await manager.tell("counter", Add(1), message_id="a")
        await manager.settle()
        assert await manager.ask("counter", Add(1), message_id="b") == total


async def _hang(message: Add) -> None:
    await for_ever()


async def an_answer_is_recalled_in_another_life(lives: Lives) -> None:
    """Who asks again under an id has the answer of the life before, as the type that the request declares."""
    manager = await lives.begin(Counter("counter"), Desk("desk"))
    assert await manager.ask("counter", Add(3), message_id="a") == 3

    manager = await lives.next(Counter("counter"))
    assert await manager.ask("counter", Add(3), message_id="a") == 3
    assert await manager.ask("counter", Add(3), message_id="b") == 6
    manager = await lives.next(Counter("counter"))
    assert await manager.ask("counter", Add(3), message_id="a") == 3
    assert await manager.ask("counter", Add(0)) == 6


async def who_asks_again_in_another_life_joins_what_is_under_way(lives: Lives) -> None:
    """A request under an id is stored: it is handled in the next life once, and who asks again has its answer."""
    asked: list[str] = []

    async def hang(message: Question) -> str:
        asked.append("hangs")
        await for_ever()
        return ""

    async def answer(message: Question) -> str:
        asked.append("answers")
        await asyncio.sleep(5)
        return message.text

    manager = await lives.begin(acting(hang, "answerer"))
    first = manager.ask("answerer", Question("the answer"), message_id="a", timeout=1000)
    second = manager.ask("answerer", Question("waits"), message_id="b", timeout=1000)
    first.start()
    second.start()
    await asyncio.sleep(1)

    manager = await lives.next(acting(answer, "answerer"))
    assert isinstance(first.error, MootError)
    again = [manager.ask("answerer", Question("the answer"), message_id="a") for _ in range(2)]
    assert await asyncio.gather(*again) == ["the answer"] * 2
    assert await manager.ask("answerer", Question("waits"), message_id="b") == "waits"
    assert asked == ["hangs", "answers", "answers"]
    assert manager.stats().open_asks == 0


async def who_asks_again_joins_a_deferred_answer(lives: Lives) -> None:
    """An answer to a caller from outside that was deferred is given in another life to whoever asks again."""
    manager = await lives.begin(Desk("desk"))
    waiting = manager.ask("desk", Question(), message_id="a", timeout=1000)
    waiting.start()
    await asyncio.sleep(1)

    manager = await lives.next(Desk("desk"))
    again = manager.ask("desk", Question(), message_id="a", timeout=1000)
    again.start()
    await asyncio.sleep(1)
    assert await manager.ask("desk", Thing()) == 1
    await manager.tell("desk", Note("at last"))
    assert await again == "at last"
    manager = await lives.next(Desk("desk"))
    assert await manager.ask("desk", Question(), message_id="a") == "at last"


async def an_ask_that_failed_may_be_made_again_in_another_life(lives: Lives) -> None:
    """A failure is not recorded: under the same id the request goes out anew, and all of it is done again."""
    keys: list[str] = []

    async def fail(message: Question, ctx: AgentContext) -> str:
        await ctx.effect("pay", keys.append)
        raise ValueError

    async def answer(message: Question, ctx: AgentContext) -> str:
        await ctx.effect("pay", keys.append)
        return "now"

    manager = await lives.begin(acting(fail, "answerer", retry=ONCE))
    await refusal(manager.ask("answerer", Question(), message_id="a"), MootError)
    await manager.settle()

    manager = await lives.next(acting(answer, "answerer"))
    assert await manager.ask("answerer", Question(), message_id="a") == "now"
    assert len(keys) == 2
    assert len(manager.dead_letters) == 1


async def an_ask_that_was_passed_on_and_failed_may_be_made_again(lives: Lives) -> None:
    """A deferred answer that cannot come any more is not waited for: who asks again is answered anew."""

    async def pass_on(message: Question, ctx: AgentContext) -> None:
        ctx.forward("answerer")

    async def fail(message: Question) -> str:
        raise ValueError

    async def answer(message: Question) -> str:
        return "now"

    manager = await lives.begin(acting(pass_on, "desk"), acting(fail, "answerer", retry=ONCE))
    await refusal(manager.ask("desk", Question(), message_id="a"), MootError)
    await manager.settle()
    await refusal(manager.ask("desk", Question(), message_id="a", timeout=5), TurnError)
    await manager.settle()

    manager = await lives.next(acting(pass_on, "desk"), acting(answer, "answerer"))
    assert await manager.ask("desk", Question(), message_id="a", timeout=5) == "now"


async def a_dead_letter_is_there_in_the_next_life(lives: Lives) -> None:
    """A dead letter is stored whole, under its id, in its place."""
    manager = await lives.begin(Counter("counter"))
    for number in range(3):
        await manager.tell("counter", Thing(number))
    await manager.settle()
    before = list(manager.dead_letters)
    assert len(before) == 3

    manager = await lives.next(Counter("counter"))

    after = list(manager.dead_letters)
    for old, new in zip(before, after, strict=True):
        assert (new.id, new.reason, new.error, new.attempts, new.at) == (
            *(old.id, old.reason, old.error, old.attempts, old.at),
        )
        assert (new.message.id, new.message.to, new.message.sender) == (old.message.id, "counter", "outside")
    assert [letter.message.content["thing"] for letter in after] == [0, 1, 2]


async def new_dead_letters_get_new_ids(lives: Lives) -> None:
    """The id of a letter that is there is not given to another in the next life."""
    manager = await lives.begin(Counter("counter"))
    await manager.tell("counter", Thing(1))
    await manager.tell("counter", Thing(2))
    await manager.settle()

    manager = await lives.next(Counter("counter"))
    await manager.tell("counter", Thing(3))
    await manager.settle()

    ids = [letter.id for letter in manager.dead_letters]
    assert len(set(ids)) == 3
    assert ids == sorted(ids)


async def a_dead_letter_that_was_taken_is_gone(lives: Lives) -> None:
    """What was taken or sent again is no letter in the next life either, and its message has been handled once."""

    class Mended(Counter):
        @handles
        async def take(self, message: Thing, ctx: AgentContext[Tally]) -> None:
            ctx.state = Tally(ctx.state.total + int(message.thing))

    manager = await lives.begin(Counter("counter"))
    for number in range(3):
        await manager.tell("counter", Thing(10**number))
    await manager.settle()
    first, second, third = manager.dead_letters
    manager.dead_letters.take(first.id)
    await manager.unregister("counter")
    await manager.register(Mended("counter"))
    await manager.requeue(second.id)
    await manager.settle()

    manager = await lives.next(Mended("counter"))
    assert [letter.id for letter in manager.dead_letters] == [third.id]
    assert await manager.ask("counter", Add(0)) == 10


async def a_letter_requeued_in_another_life_is_handled(lives: Lives) -> None:
    """A dead letter can be sent again in another life: its content is what it was, and its cause is named."""
    got: list[tuple[Any, str | None]] = []

    def take(message: Note, ctx: AgentContext) -> None:
        got.append((message, ctx.message.causation))

    def fail(message: Note) -> None:
        raise ValueError

    manager = await lives.begin(acting(fail, "worker", retry=ONCE))
    await manager.tell("worker", Note("mend me"))
    await manager.settle()
    (letter,) = manager.dead_letters

    manager = await lives.next(acting(take, "worker"))
    await manager.requeue(letter.id)
    await manager.settle()
    await lives.next(acting(take, "worker"))
    await lives.manager.settle()

    assert got == [(Note("mend me"), letter.message.id)]
    assert not list(lives.manager.dead_letters)
