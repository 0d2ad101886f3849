"""Cases about mail that outlives a life: nothing accepted is lost, nothing is handled twice, and order stays."""

from __future__ import annotations

import asyncio

from moot.agent.agent import Agent
from moot.agent.context import AgentContext
from moot.agent.handlers import handles
from moot.policies import BatchPolicy, MailboxPolicy, RetryPolicy
from moot.testing.conformance.cast import Add, Counter, Listener, Note, Question, Stuck, Tally, acting, for_ever
from moot.testing.conformance.lives import Lives

__all__: list[str] = []


async def mail_is_handled_in_the_next_life_in_order(lives: Lives) -> None:
    """What was accepted is handled in the next life: that of a turn which was under way first, each in its order."""
    heard: list[str] = []
    manager = await lives.begin(Stuck("a"), Stuck("b"))
    for number in range(5):
        await manager.tell("a", Note(f"a{number}"))
        await manager.tell("b", Note(f"b{number}"))

    manager = await lives.next(Listener("b", heard), Listener("a", heard))
    await manager.tell("a", Note("a5"))
    await manager.settle()

    for name in "ab":
        mine = [text for text in heard if text.startswith(name)]
        assert mine == [f"{name}{number}" for number in range(6 if name == "a" else 5)]
    assert not list(manager.dead_letters)


async def mail_waits_for_lives_on_end(lives: Lives) -> None:
    """Lives in which nothing comes of it change nothing, and add to it."""
    heard: list[str] = []
    await lives.begin(Stuck("a"))
    for number in range(4):
        await lives.manager.tell("a", Note(f"{number}"))
        await lives.next(Stuck("a"))
    await lives.next()
    manager = await lives.next(Listener("a", heard))
    await manager.settle()

    assert heard == ["0", "1", "2", "3"]


async def a_stop_is_no_attempt(lives: Lives) -> None:
    """A turn that a stop interrupts is run in the next life as for the first time, however often."""
    attempts: list[int] = []

    async def handle(message: Note, ctx: AgentContext) -> None:
        attempts.append(ctx.attempt)
        if len(attempts) < 5:
            await for_ever()

    await lives.begin(acting(handle, "a", retry=RetryPolicy(max_deaths=2)))
    await lives.manager.tell("a", Note("x"))
    for _ in range(4):
        await asyncio.sleep(1)
        await lives.manager.stop(drain=False)
        await lives.begin(acting(handle, "a", retry=RetryPolicy(max_deaths=2)))
    await lives.manager.settle()

    assert attempts == [1] * 5
    assert not list(lives.manager.dead_letters)


async def mail_that_was_handled_is_not_handled_again(lives: Lives) -> None:
    """A turn that took effect is over: nothing of it is repeated in the next life."""
    heard: list[str] = []
    manager = await lives.begin(Counter("counter"), Listener("listener", heard))
    for _ in range(5):
        await manager.tell("counter", Add(1))
    await manager.tell("listener", Note("once"))
    await manager.settle()

    manager = await lives.next(Counter("counter"), Listener("listener", heard))

    assert await manager.ask("counter", Add(0)) == 5
    assert heard == ["once"]


async def messages_of_two_lives_are_told_apart(lives: Lives) -> None:
    """Two lives of one seed number their messages from 1, and mistake none for another."""
    manager = await lives.begin(Stuck("a"))
    await manager.tell("a", Note("first"))
    heard: list[tuple[str, str]] = []

    def hear(message: Note, ctx: AgentContext) -> None:
        heard.append((message.text, ctx.message.id))

    await lives.next(Stuck("a"))
    await lives.manager.tell("a", Note("second"))
    manager = await lives.next(acting(hear, "a"))
    await manager.tell("a", Note("third"))
    await manager.settle()

    assert [text for text, _ in heard] == ["first", "second", "third"]
    assert len({name for _, name in heard}) == 3


async def mail_in_an_outbox_is_stored_in_order(lives: Lives) -> None:
    """What a turn sent and the receiver had no room for is stored, too, in the order of the turn."""
    heard: list[str] = []

    def send(message: Question, ctx: AgentContext) -> str:
        for number in range(6):
            ctx.send("small", Note(f"{number}"))
        return ""

    small = Stuck("small")
    small.mailbox = MailboxPolicy(capacity=2)  # type: ignore[misc]
    manager = await lives.begin(small, acting(send, "sender"))
    await manager.ask("sender", Question())

    manager = await lives.next(Listener("small", heard))
    await manager.settle()

    assert heard == ["0", "1", "2", "3", "4", "5"]


async def a_turn_that_was_interrupted_is_run_again_from_the_start(lives: Lives) -> None:
    """Nothing of a turn that had not returned is there, and in the next life it is run as if for the first time."""
    heard: list[str] = []

    class Halting(Counter):
        @handles
        async def keep(self, message: Note, ctx: AgentContext[Tally]) -> None:
            ctx.state = Tally(ctx.state.total + 100)
            ctx.send("listener", Note("half"))
            await ctx.shared_state.set("key", "half")
            ctx.schedule(1, Note("half"), to="listener")
            await for_ever()

    class Whole(Counter):
        @handles
        async def keep(self, message: Note, ctx: AgentContext[Tally]) -> None:
            ctx.state = Tally(ctx.state.total + 1)
            ctx.send("listener", Note(f"whole {ctx.state.total} {message.text}"))

    manager = await lives.begin(Listener("listener", heard), Halting("worker"))
    await manager.tell("worker", Note("x"))
    await asyncio.sleep(1)
    assert heard == []

    manager = await lives.next(Listener("listener", heard), Whole("worker"))
    assert await manager.shared_state.get("key") is None
    await asyncio.sleep(10)

    assert heard == ["whole 1 x"]


async def a_batch_that_was_interrupted_is_handled_again(lives: Lives) -> None:
    """The messages of a batch that had not returned are all there again."""
    batches: list[str] = []

    class Clerk(Agent):
        hangs = True

        @handles(batch=BatchPolicy(max_size=3, max_wait=1))
        async def file(self, notes: list[Note], ctx: AgentContext) -> None:
            if self.hangs:
                await for_ever()
            batches.append("".join(note.text for note in notes))

    manager = await lives.begin(Clerk("clerk"))
    for text in "abcd":
        await manager.tell("clerk", Note(text))
    await asyncio.sleep(3)

    clerk = Clerk("clerk")
    clerk.hangs = False
    manager = await lives.next(clerk)
    await manager.settle()

    assert batches == ["abc", "d"]


async def what_a_drained_stop_leaves_is_nothing(lives: Lives) -> None:
    """A stop that drains has handled everything; the next life begins with nothing to do."""
    heard: list[str] = []
    manager = await lives.begin(Listener("listener", heard))
    for number in range(5):
        await manager.tell("listener", Note(f"{number}"))
    await manager.stop()

    manager = await lives.begin(Listener("listener", heard))
    await manager.settle()

    assert heard == ["0", "1", "2", "3", "4"]
    assert manager.stats().turns == 0


async def what_the_last_hook_sends_is_stored(lives: Lives) -> None:
    """What ``on_stop`` sends when the whole system stops, and the state that it leaves, are there in the next life."""

    class Closing(Counter):
        async def on_stop(self, ctx: AgentContext[Tally]) -> None:
            ctx.state = Tally(ctx.state.total + 1)
            ctx.send("listener", Note("good night"))

    heard: list[str] = []
    manager = await lives.begin(Closing("counter"), Listener("listener", heard))
    await manager.stop()

    manager = await lives.begin(Counter("counter"), Listener("listener", heard))
    await manager.settle()

    assert heard == ["good night"]
    assert await manager.ask("counter", Add(0)) == 1
