"""Cases about turns: all or nothing, retries in place, own state, what is done once."""

from __future__ import annotations

import asyncio

from moot.agent.agent import Agent
from moot.agent.context import AgentContext
from moot.agent.handlers import handles
from moot.errors import Retry, TurnError
from moot.messaging.dead_letters import Reason
from moot.messaging.message import ReplyTo
from moot.policies import BatchPolicy, Supervision
from moot.testing.conformance.cast import (
    AT_ONCE,
    ONCE,
    Add,
    Counter,
    Listener,
    Note,
    Question,
    Tally,
    acting,
    refusal,
)
from moot.testing.conformance.lives import Lives

__all__: list[str] = []


class _Actor(Agent[Tally]):
    """Does all that a turn can hold back, and fails if it is told to."""

    retry = ONCE
    waiting: ReplyTo

    @handles
    def wait(self, message: Question, ctx: AgentContext[Tally]) -> None:
        """Answer later."""
        self.waiting = ctx.defer()

    @handles
    async def act(self, message: Add, ctx: AgentContext[Tally]) -> int:
        """Do all of it; the answer is the new state."""
        ctx.send("listener", Note("sent"))
        ctx.publish("news", Note("published"))
        ctx.schedule(5, Note("scheduled"), to="listener")
        ctx.send(self.waiting, "answered")
        ctx.state = Tally(ctx.state.total + message.amount)
        await ctx.shared_state.set("key", "written")
        ctx.reply(ctx.state.total)
        if message.amount < 0:
            raise ValueError("this turn fails")
        return 0

    @handles
    def look(self, message: Note, ctx: AgentContext[Tally]) -> None:
        """Tell the listener the state."""
        ctx.send("listener", Note(f"total {ctx.state.total}"))


async def _what_comes_of(lives: Lives, amount: int) -> dict[str, object]:
    """All that can be seen of a turn of the actor."""
    heard: list[str] = []
    listener = Listener("listener", heard)
    listener.topics = ("news",)  # type: ignore[misc]
    manager = await lives.begin(listener, _Actor("actor"))
    waiting = manager.ask("actor", Question())
    waiting.start()
    acting_ = manager.ask("actor", Add(amount))
    acting_.start()
    await manager.settle()
    await asyncio.sleep(10)
    await manager.tell("actor", Note("look"))
    await manager.settle()
    shared = await manager.shared_state.read("key")
    return {
        "heard": heard,
        "waiting": waiting.answer if waiting.done else "nothing",
        "answer": acting_.answer if acting_.error is None else type(acting_.error),
        "shared": (shared.value, shared.version),
        "letters": [letter.reason for letter in manager.dead_letters],
    }


async def a_turn_that_returns_does_everything(lives: Lives) -> None:
    """Messages, news, timers, late answers, state and shared state of a turn come true, and its reply."""
    assert await _what_comes_of(lives, 7) == {
        "heard": ["sent", "published", "scheduled", "total 7"],
        "waiting": "answered",
        "answer": 7,
        "shared": ("written", 1),
        "letters": [],
    }


async def a_turn_that_fails_does_nothing(lives: Lives) -> None:
    """Of all that, nothing comes true when the turn raises; its message is a dead letter, and its asker is told."""
    assert await _what_comes_of(lives, -7) == {
        "heard": ["total 0"],
        "waiting": "nothing",
        "answer": TurnError,
        "shared": (None, 0),
        "letters": [Reason.FAILED],
    }


async def a_retry_happens_in_place(lives: Lives) -> None:
    """A turn that is run again is run before what came after it."""
    runs: list[str] = []

    def handle(message: Note, ctx: AgentContext) -> None:
        runs.append(message.text)
        if message.text == "a" and ctx.attempt < 3:
            raise TimeoutError

    manager = await lives.begin(acting(handle, "worker"))
    for text in "abc":
        await manager.tell("worker", Note(text))
    await manager.settle()

    assert runs == ["a", "a", "a", "b", "c"]


async def each_run_begins_with_the_state_before(lives: Lives) -> None:
    """What a run that failed has written to its state and to shared state is not there in the next."""

    class Careless(Counter):
        retry = AT_ONCE

        @handles
        async def recite(self, message: Question, ctx: AgentContext[Tally]) -> str:
            ctx.state = Tally(ctx.state.total + 1)
            seen = await ctx.shared_state.get("seen", 0)
            await ctx.shared_state.set("seen", seen + 1)
            if ctx.attempt < 3:
                raise TimeoutError
            return f"{ctx.state.total} {seen}"

    manager = await lives.begin(Careless("careless"))

    assert await manager.ask("careless", Question()) == "1 0"
    assert await manager.ask("careless", Question()) == "2 1"


async def used_up_attempts_make_a_dead_letter(lives: Lives) -> None:
    """A turn that fails for good leaves its message, its error and its attempts, and its asker a `TurnError`."""

    def handle(message: Question, ctx: AgentContext) -> None:
        raise TimeoutError("the bank is closed")

    manager = await lives.begin(acting(handle, "worker", retry=AT_ONCE))
    error = await refusal(manager.ask("worker", Question("why")), TurnError)

    (letter,) = manager.dead_letters
    assert (error.error, error.text, error.attempts) == ("TimeoutError", "the bank is closed", 3)
    assert (letter.reason, letter.attempts, letter.error) == (Reason.FAILED, 3, "TimeoutError: the bank is closed")
    assert letter.message.content == Question("why")


async def an_effect_is_done_once_over_all_runs(lives: Lives) -> None:
    """An effect that succeeded is not repeated by a run again, and one that failed has the same key then."""
    keys: list[str] = []

    def pay(key: str) -> str:
        keys.append(key)
        return f"receipt {len(keys)}"

    def fails_first(key: str) -> str:
        keys.append(key)
        if len(keys) == 3:
            raise TimeoutError
        return "done"

    async def handle(message: Note, ctx: AgentContext) -> None:
        receipts = [await ctx.effect("pay", pay), await ctx.effect("pay", pay)]
        assert receipts == ["receipt 1", "receipt 2"]
        await ctx.effect("post", fails_first)

    manager = await lives.begin(acting(handle, "till", retry=AT_ONCE))
    await manager.tell("till", Note("pay"))
    await manager.settle()

    assert not manager.dead_letters
    assert len(keys) == 4
    assert len(set(keys)) == 3
    assert keys[2] == keys[3]


async def a_turn_has_the_same_time_numbers_and_key_in_every_run(lives: Lives) -> None:
    """``ctx.random`` and the idempotency key are those of the turn, ``ctx.now()`` that of the run."""
    runs: list[tuple[str, float, bool]] = []

    async def handle(message: Note, ctx: AgentContext) -> None:
        before = ctx.now()
        await asyncio.sleep(1)
        runs.append((ctx.idempotency_key, ctx.random.random(), ctx.now() == before))
        if ctx.attempt < 3:
            raise Retry(after=0)

    manager = await lives.begin(acting(handle, "worker"))
    await manager.tell("worker", Note("a"))
    await manager.settle()
    await manager.tell("worker", Note("b"))
    await manager.settle()

    assert runs[0] == runs[1] == runs[2] != runs[3]
    assert all(same for *_, same in runs)


async def a_restarted_agent_has_its_committed_state(lives: Lives) -> None:
    """A restart makes an agent anew, with the state of its last turn that took effect, and with its mail."""

    class Fragile(Counter):
        retry = ONCE

        @handles
        async def recite(self, message: Question, ctx: AgentContext[Tally]) -> str:
            ctx.state = Tally(1000)
            raise ValueError("broken")

    manager = await lives.begin()
    parent = acting(lambda message, ctx: ctx.spawn(Fragile("fragile")), "parent")
    parent.supervision = Supervision(directives=((ValueError, "restart"),))  # type: ignore[misc]
    await manager.register(parent)
    await manager.ask("parent", None, message_type="spawn")
    await manager.ask("fragile", Add(3))
    failing = manager.ask("fragile", Question())
    failing.start()

    assert await manager.ask("fragile", Add(4)) == 7
    assert isinstance(failing.error, TurnError)


async def a_hook_is_a_turn(lives: Lives) -> None:
    """What ``on_start`` does takes effect when it returns, before the first message."""
    heard: list[str] = []

    class Opening(Counter):
        async def on_start(self, ctx: AgentContext[Tally]) -> None:
            ctx.send("listener", Note("it opens"))
            ctx.state = Tally(10)
            await ctx.shared_state.set("open", True)

    manager = await lives.begin(Listener("listener", heard), Opening("counter"))

    assert await manager.ask("counter", Add(1)) == 11
    assert heard == ["it opens"]
    assert await manager.shared_state.get("open") is True


async def a_batch_that_fails_is_handled_message_by_message(lives: Lives) -> None:
    """Messages that come together are handled together; if that fails, each on its own, in their order."""
    batches: list[str] = []

    class Clerk(Agent):
        @handles(batch=BatchPolicy(max_size=3, max_wait=1))
        def file(self, notes: list[Note], ctx: AgentContext) -> None:
            batches.append("".join(note.text for note in notes))
            if "x" in batches[-1]:
                raise ValueError("not this one")

    manager = await lives.begin(Clerk("clerk"))
    for text in "abcdxf":
        await manager.tell("clerk", Note(text))
    await manager.settle()

    assert batches == ["abc", "dxf", "d", "x", "f"]
    assert [letter.message.content for letter in manager.dead_letters] == [Note("x")]
