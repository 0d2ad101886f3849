"""Cases about what arrives in another life: for whom, and as what; and about what had been refused or lost."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
from decimal import Decimal
from typing import Any

from moot.agent.agent import Agent
from moot.agent.context import AgentContext
from moot.agent.handlers import handles
from moot.backends.errors import BackendError
from moot.errors import MailboxFull, UnknownAgent
from moot.messaging.dead_letters import Reason
from moot.messaging.message import Payload
from moot.policies import MailboxPolicy
from moot.testing.conformance.cast import (
    Add,
    Counter,
    Listener,
    Note,
    Question,
    Stuck,
    Tally,
    acting,
    for_ever,
    refusal,
)
from moot.testing.conformance.lives import Lives

__all__: list[str] = []


async def mail_for_an_agent_that_is_not_there_waits_for_it(lives: Lives) -> None:
    """What an agent sends to one that is not registered is stored until it is, in this life or another."""
    heard: list[str] = []

    def send(message: Question, ctx: AgentContext) -> str:
        ctx.send("late", Note(message.text))
        return ""

    manager = await lives.begin(acting(send, "sender"))
    await manager.ask("sender", Question("1"))
    await manager.register(Stuck("late"))
    await manager.ask("sender", Question("2"))
    manager = await lives.next(acting(send, "sender"))
    await manager.ask("sender", Question("3"))
    manager = await lives.next(acting(send, "sender"))
    await manager.ask("sender", Question("4"))
    assert not list(manager.dead_letters)
    await manager.register(Listener("late", heard))
    await manager.ask("sender", Question("5"))
    await manager.settle()

    assert heard == ["1", "2", "3", "4", "5"]


async def hosted_agents_with_mail_are_made_at_the_start(lives: Lives) -> None:
    """An agent of a hosted domain that has mail, or a timer, needs nobody to address it in the next life."""
    heard: list[str] = []

    class Planner(Agent):
        @handles
        def plan(self, message: Question, ctx: AgentContext) -> str:
            ctx.schedule(60, Note(f"{self.id} planned"))
            return ""

    manager = await lives.begin(host={"stuck": Stuck, "planner": Planner})
    await manager.tell("stuck/1", Note("1"))
    await manager.tell("stuck/2", Note("2"))
    await manager.ask("planner/3", Question())

    manager = await lives.next(host={name: lambda agent_id: Listener(agent_id, heard) for name in ("stuck", "planner")})
    await asyncio.sleep(100)

    assert sorted(heard) == ["1", "2", "planner/3 planned"]


async def a_subscriber_keeps_its_own_copy_of_news(lives: Lives) -> None:
    """What was published is each subscriber's own mail: one has handled it, and the other handles it later."""
    heard: list[str] = []
    quick, slow = Listener("quick", heard), Stuck("slow")
    quick.topics = slow.topics = ("news",)  # type: ignore[misc]
    manager = await lives.begin(quick, slow)
    await manager.publish("news", Note("news"))
    await asyncio.sleep(1)
    assert heard == ["news"]
    heard.clear()
    others: list[str] = []

    manager = await lives.next(Listener("quick", heard), Listener("slow", others))
    await manager.settle()

    assert (heard, others) == ([], ["news"])


async def a_message_that_was_refused_is_not_there_in_the_next_life(lives: Lives) -> None:
    """A caller who was told that there is no room has sent nothing, whichever way it tried."""
    heard: list[str] = []
    full = Stuck("full")
    full.mailbox = MailboxPolicy(capacity=1)  # type: ignore[misc]
    fails = Stuck("fails")
    fails.mailbox = MailboxPolicy(capacity=1, overflow="fail")  # type: ignore[misc]
    manager = await lives.begin(full, fails)
    for name in ("full", "fails"):
        await manager.tell(name, Note("under way"))
        await asyncio.sleep(1)
        await manager.tell(name, Note("waiting"))

    await refusal(manager.tell("full", Note("no"), timeout=0.1), MailboxFull)
    await refusal(manager.tell("full", Note("no"), timeout=0.1, message_id="a"), MailboxFull)
    await refusal(manager.tell("fails", Note("no")), MailboxFull)
    await refusal(manager.tell("fails", Note("no"), message_id="a"), MailboxFull)
    await refusal(manager.ask("fails", Note("no"), message_id="b"), MailboxFull)
    await manager.shared_state.set("all is", "synced")

    manager = await lives.next(Listener("full", heard), Listener("fails", heard))
    await manager.settle()
    assert heard == ["under way", "waiting"] * 2
    for name, given in (("full", "a"), ("fails", "a"), ("fails", "b")):
        await manager.tell(name, Note(f"yes, {name} {given}"), message_id=given)
        await manager.settle()
    assert heard[4:] == ["yes, full a", "yes, fails a", "yes, fails b"]


async def mail_that_was_lost_to_a_full_mailbox_stays_lost(lives: Lives) -> None:
    """What a full mailbox dropped is a dead letter in the next life, too, and not mail."""
    heard: list[str] = []
    small = Stuck("small")
    small.mailbox = MailboxPolicy(capacity=2, overflow="drop_oldest")  # type: ignore[misc]
    manager = await lives.begin(small)
    for number in range(5):
        await manager.tell("small", Note(f"{number}"))
        await asyncio.sleep(0.1)

    manager = await lives.next(Listener("small", heard))
    await manager.settle()

    assert heard == ["0", "3", "4"]
    assert [letter.reason for letter in manager.dead_letters] == [Reason.OVERFLOW] * 2


class Colour(enum.Enum):
    """A value of `Rich`."""

    RED = "red"


class Rich(Payload):
    """Content of many types."""

    when: dt.datetime
    price: Decimal
    colour: Colour
    data: bytes
    pair: tuple[int, str]
    names: frozenset[str]
    by_number: dict[int, float]
    tally: Tally
    anything: Any = None


async def content_comes_back_as_its_type(lives: Lives) -> None:
    """A handler is given in the next life what it would have been given in this one."""
    rich = Rich(
        when=dt.datetime(2024, 2, 29, 12, 30, 0, 125, tzinfo=dt.UTC),
        price=Decimal("19.90"),
        colour=Colour.RED,
        data=b"\x00\xff",
        pair=(1, "é"),
        names=frozenset({"a", "b"}),
        by_number={-1: 0.1, 2**60: 1e300},
        tally=Tally(3, ("x",)),
        anything={"list": [1, None, True]},
    )
    got: list[Rich] = []

    async def hang(message: Rich) -> None:
        await for_ever()

    def take(message: Rich) -> None:
        got.append(message)

    manager = await lives.begin(acting(hang, "taker"))
    await manager.tell("taker", rich)
    manager = await lives.next(acting(take, "taker"))
    await manager.settle()

    assert got == [rich]


async def a_store_in_use_is_refused_to_another_manager(lives: Lives) -> None:
    """While one manager has a store no other can begin on it; it says so, and the first goes on undisturbed."""
    manager = await lives.begin(Counter("counter"))
    await manager.ask("counter", Add(1))

    await refusal(lives.begin(Counter("counter")), BackendError)

    assert await manager.ask("counter", Add(1)) == 2
    await refusal(manager.ask("nobody", Add(1)), UnknownAgent)
    manager = await lives.next(Counter("counter"))
    assert await manager.ask("counter", Add(0)) == 2
