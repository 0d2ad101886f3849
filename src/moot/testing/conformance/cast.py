"""The cast: messages and agents that the cases share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from moot.agent.agent import Agent, FunctionAgent
from moot.agent.context import AgentContext
from moot.agent.handlers import handles
from moot.clock import LoopClock
from moot.manager.manager import AgentManager
from moot.messaging.message import Payload, ReplyTo, Request
from moot.policies import Backoff, MailboxPolicy, RetryPolicy
from moot.testing.conformance.lives import Lives

__all__ = [
    "AT_ONCE",
    "ONCE",
    "PATIENT",
    "Add",
    "Clockwork",
    "Counter",
    "Desk",
    "Listener",
    "Note",
    "Question",
    "Slow",
    "Stuck",
    "Tally",
    "Thing",
    "acting",
    "begin_full",
    "for_ever",
    "now",
    "refusal",
]

E = TypeVar("E", bound=BaseException)

ONCE = RetryPolicy(max_attempts=1)
PATIENT = RetryPolicy(max_attempts=100, max_deaths=100)
AT_ONCE = RetryPolicy(backoff=Backoff(first=0, limit=0))


class Note(Payload):
    """Something to be heard."""

    text: str


class Question(Request[str]):
    """Something to be answered."""

    text: str = ""


class Add(Request[int]):
    """To be added; the answer is the sum so far."""

    amount: int = 1


class Thing(Request[Any]):
    """Content of any kind."""

    thing: Any = None


class Tally(msgspec.Struct, frozen=True):
    """The state of a `Counter`."""

    total: int = 0
    notes: tuple[str, ...] = ()


class Counter(Agent[Tally]):
    """Adds up what it is sent, and keeps its notes."""

    @handles
    async def add(self, message: Add, ctx: AgentContext[Tally]) -> int:
        """Add, and say the sum."""
        ctx.state = msgspec.structs.replace(ctx.state, total=ctx.state.total + message.amount)
        return ctx.state.total

    @handles
    async def keep(self, message: Note, ctx: AgentContext[Tally]) -> None:
        """Keep a note."""
        ctx.state = msgspec.structs.replace(ctx.state, notes=(*ctx.state.notes, message.text))

    @handles
    async def recite(self, message: Question, ctx: AgentContext[Tally]) -> str:
        """All notes."""
        return " ".join(ctx.state.notes)


class Listener(Agent):
    """Puts down in ``heard`` what it hears."""

    retry = PATIENT

    def __init__(self, agent_id: str, heard: list[str]) -> None:
        super().__init__(agent_id)
        self.heard = heard

    @handles
    async def hear(self, message: Note, ctx: AgentContext) -> None:
        """Put it down."""
        self.heard.append(message.text)


class Clockwork(Agent):
    """Sets the timers of ``plan`` when it is sent `Question`, whose text says which; and notes when they are due.

    ``ticks`` are the text of a note and the seconds since ``began``.
    """

    retry = ONCE

    def __init__(self, agent_id: str, plan: dict[str, Any], ticks: list[tuple[str, int]], began: float) -> None:
        super().__init__(agent_id)
        self.plan = plan
        self.ticks = ticks
        self.began = began

    @handles
    def set(self, message: Question, ctx: AgentContext) -> str:
        """Set the timer, or cancel it; fail after that if the text ends in ``!``."""
        word = message.text.removesuffix("!")
        options = self.plan[word]
        if options is None:
            ctx.unschedule("name")
        else:
            ctx.schedule(content=Note(word), **options)
        if word != message.text:
            raise ValueError
        return word

    @handles
    def tick(self, message: Note, ctx: AgentContext) -> None:
        """Note what came, and when."""
        self.ticks.append((message.text, round(ctx.now() - self.began)))


class Stuck(Agent):
    """Handles nothing to an end."""

    retry = PATIENT

    @handles
    async def hear(self, message: Note) -> None:
        """Never done."""
        await for_ever()


class Slow(Listener):
    """Takes a second for each note and each question; a note is put down at once."""

    @handles
    async def hear(self, message: Note, ctx: AgentContext) -> None:
        """Put it down."""
        self.heard.append(message.text)
        await asyncio.sleep(1)

    @handles
    async def answer(self, message: Question) -> str:
        """Say the same."""
        await asyncio.sleep(1)
        return message.text


class Desk(Agent[tuple[ReplyTo, ...]]):
    """Defers what it is asked, and gives the answer when it is told one; whom to answer is its state."""

    def initial_state(self) -> tuple[ReplyTo, ...]:
        """Nobody waits."""
        return ()

    @handles
    def wait(self, message: Question, ctx: AgentContext[tuple[ReplyTo, ...]]) -> None:
        """Answer later."""
        ctx.state = (*ctx.state, ctx.defer())

    @handles
    def answer(self, message: Note, ctx: AgentContext[tuple[ReplyTo, ...]]) -> None:
        """Answer the first who waits."""
        first, *rest = ctx.state
        ctx.send(first, message.text)
        ctx.state = tuple(rest)

    @handles
    def count(self, message: Thing, ctx: AgentContext[tuple[ReplyTo, ...]]) -> int:
        """How many wait."""
        return len(ctx.state)


def acting(fn: Callable[..., Any], agent_id: str | None = None, **attributes: Any) -> FunctionAgent:
    """A function as an agent, with attributes such as ``retry`` that else its class would have."""
    agent = FunctionAgent(fn, agent_id)
    for name, value in attributes.items():
        setattr(agent, name, value)
    return agent


def now() -> float:
    """The time, as agents see it, in seconds since the Unix epoch."""
    return LoopClock(asyncio.get_running_loop()).now()


async def begin_full(lives: Lives, heard: list[str], mailbox: MailboxPolicy) -> AgentManager:
    """A slow listener that handles note 0 and has the notes 1 and 2 in a mailbox for two."""
    slow = Slow("slow", heard)
    slow.mailbox = mailbox  # type: ignore[misc]
    manager = await lives.begin(slow)
    for number in range(3):
        await manager.tell("slow", Note(f"{number}"))
        await asyncio.sleep(0.1)
    return manager


async def for_ever() -> None:
    """Never returns; a handler that is in the middle of its work when its process ends."""
    await asyncio.Event().wait()


async def refusal(awaitable: Awaitable[Any], kind: type[E]) -> E:
    """The error of ``kind`` that awaiting raises; it is an error if there is none."""
    try:
        answer = await awaitable
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}, and there was {answer!r}")
