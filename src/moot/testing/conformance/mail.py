"""Cases about mail: its order, what a full mailbox does, and dead letters."""

from __future__ import annotations

import asyncio

from moot.agent.context import AgentContext
from moot.errors import (
    AgentStopped,
    AskTimeout,
    InvalidPayload,
    UnknownAgent,
    UnknownMessageType,
)
from moot.messaging.dead_letters import Reason
from moot.messaging.message import AgentMessage
from moot.policies import MailboxPolicy
from moot.testing.conformance.cast import ONCE, Add, Counter, Note, Question, Thing, acting, begin_full, refusal
from moot.testing.conformance.lives import Lives

__all__: list[str] = []


async def messages_of_a_pair_keep_their_order(lives: Lives) -> None:
    """What one agent sends another arrives in order, over turns, retries and a mailbox that has no room."""
    heard: list[str] = []

    async def hear(message: Note) -> None:
        await asyncio.sleep(0.1)
        heard.append(message.text)

    def send(message: Add, ctx: AgentContext) -> None:
        for part in range(5):
            ctx.send("listener", Note(f"{message.amount}.{part}"))
        if ctx.attempt == 1 and message.amount % 2:
            raise TimeoutError

    listener = acting(hear, "listener", mailbox=MailboxPolicy(capacity=2))
    manager = await lives.begin(listener, acting(send, "sender"))
    for number in range(4):
        await manager.tell("sender", Add(number))
    await manager.settle()

    assert heard == [f"{number}.{part}" for number in range(4) for part in range(5)]


async def mail_of_a_stopped_agent_becomes_dead_letters(lives: Lives) -> None:
    """An agent that is taken out ends its turn; the rest of its mail becomes letters, and askers are told."""
    heard: list[str] = []
    manager = await begin_full(lives, heard, MailboxPolicy())
    asked = manager.ask("slow", Question())
    asked.start()

    await manager.unregister("slow")
    await manager.settle()

    assert heard == ["0"]
    assert isinstance(asked.error, AgentStopped)
    assert [letter.reason for letter in manager.dead_letters] == [Reason.STOPPED] * 3
    await refusal(manager.tell("slow", Note("late")), UnknownAgent)


async def mail_whose_asker_lost_patience_has_expired(lives: Lives) -> None:
    """A request whose asker's time is over before it is taken is a dead letter and never handled."""
    heard: list[str] = []
    manager = await begin_full(lives, heard, MailboxPolicy())

    async def ask(message: Question, ctx: AgentContext) -> str:
        await refusal(ctx.ask("slow", Question("inside"), timeout=0.2), AskTimeout)
        return "it is late"

    await manager.register(acting(ask, "asker"))

    await refusal(manager.ask("slow", Question("outside"), timeout=0.2), AskTimeout)
    assert await manager.ask("asker", Question()) == "it is late"
    await manager.settle()
    letters = [(letter.reason, letter.message.content.text) for letter in manager.dead_letters]
    assert letters == [(Reason.EXPIRED, "outside"), (Reason.EXPIRED, "inside")]
    assert await manager.ask("slow", Question("next")) == "next"


async def mail_of_a_cancelled_ask_is_given_up(lives: Lives) -> None:
    """A turn of an agent that says ``cancel_with_asker`` ends with its asker's wait, and leaves a letter."""

    async def think(message: Question) -> None:
        await asyncio.sleep(1000)

    manager = await lives.begin(acting(think, "thinker", cancel_with_asker=True))
    waiting = manager.ask("thinker", Question())
    waiting.start()
    await asyncio.sleep(1)

    waiting.cancel()
    await manager.settle()

    assert [letter.reason for letter in manager.dead_letters] == [Reason.CANCELLED]


async def mail_that_nobody_can_handle_is_invalid(lives: Lives) -> None:
    """A type that an agent does not know, and content that is not of its type, are dead letters at once."""
    manager = await lives.begin(Counter("counter"))

    await refusal(manager.ask("counter", Thing(1)), UnknownMessageType)
    await refusal(manager.ask("counter", {"amount": "many"}, message_type="add"), InvalidPayload)
    assert await manager.ask("counter", {"amount": 3}, message_type="add") == 3

    assert [letter.reason for letter in manager.dead_letters] == [Reason.INVALID] * 2


async def a_requeued_letter_is_a_new_message(lives: Lives) -> None:
    """A dead letter that is sent again has a new id, names the old one as its cause, and is gone from the letters."""
    broken = [True]
    seen: list[AgentMessage] = []

    def handle(message: Note, ctx: AgentContext) -> None:
        seen.append(ctx.message)
        if broken:
            raise ValueError

    manager = await lives.begin(acting(handle, "worker", retry=ONCE))
    await manager.tell("worker", Note("mend me"))
    await manager.settle()
    (letter,) = manager.dead_letters
    broken.clear()

    new_id = await manager.requeue(letter.id)
    await manager.settle()

    first, second = seen
    assert (second.id, second.causation, second.content) == (new_id, first.id, Note("mend me"))
    assert new_id != first.id
    assert not list(manager.dead_letters)
    await refusal(manager.requeue(letter.id), KeyError)


async def a_dead_letter_that_cannot_be_sent_again_stays(lives: Lives) -> None:
    """A requeue that fails leaves the letter where it is."""
    manager = await lives.begin(Counter("counter"))
    await refusal(manager.ask("counter", Thing(1)), UnknownMessageType)
    await manager.unregister("counter")
    (letter,) = manager.dead_letters

    await refusal(manager.requeue(letter.id), UnknownAgent)

    assert [one.id for one in manager.dead_letters] == [letter.id]


async def a_requeue_that_is_given_up_loses_nothing(lives: Lives) -> None:
    """A requeue that waits for room, and is cancelled or loses its patience, leaves the letter where it is."""
    heard: list[str] = []
    manager = await begin_full(lives, heard, MailboxPolicy(capacity=2))
    await manager.publish("none", Note("-"))
    slow = manager.directory.cells["slow"]
    manager.directory.subscribe(slow, "news")
    await manager.publish("news", Note("again"))
    (letter,) = manager.dead_letters

    requeue = asyncio.ensure_future(manager.requeue(letter.id))
    await asyncio.sleep(0.1)
    requeue.cancel()
    await asyncio.wait({requeue})

    assert [one.id for one in manager.dead_letters] == [letter.id]
    await manager.requeue(letter.id)
    await manager.settle()
    assert heard == ["0", "1", "2", "again"]
    assert not list(manager.dead_letters)


async def a_dead_letter_can_be_found_and_taken(lives: Lives) -> None:
    """Letters are listed oldest first, by reason if asked, found by their id, and gone when they are taken."""
    manager = await lives.begin(Counter("counter"))
    await manager.tell("counter", Thing(1))
    await manager.tell("counter", Thing(2))
    await manager.settle()
    letters = manager.dead_letters
    first, second = letters

    assert [one.message.content for one in letters.list(Reason.INVALID)] == [Thing(1), Thing(2)]
    assert letters.list(Reason.FAILED) == []
    assert letters.get(second.id) is second
    assert letters.take(first.id) is first
    assert letters.list() == [second]
    assert first.id < second.id
