"""Cases about full mailboxes: who waits, who is refused, and what is lost, which leaves a letter."""

from __future__ import annotations

import asyncio

from moot.agent.context import AgentContext
from moot.errors import (
    MailboxFull,
)
from moot.manager.manager import AgentManager
from moot.messaging.dead_letters import Reason
from moot.messaging.message import AgentMessage
from moot.policies import MailboxPolicy
from moot.testing.conformance.cast import (
    Listener,
    Note,
    Question,
    acting,
    begin_full,
    refusal,
)
from moot.testing.conformance.lives import Lives

__all__: list[str] = []


def _lost(manager: AgentManager) -> list[str]:
    assert {letter.reason for letter in manager.dead_letters} <= {Reason.OVERFLOW}
    return [letter.message.content.text for letter in manager.dead_letters]


async def a_full_mailbox_lets_senders_wait(lives: Lives) -> None:
    """``block``: a caller waits for room, for as long as it said; one that gave up has sent nothing."""
    heard: list[str] = []
    manager = await begin_full(lives, heard, MailboxPolicy(capacity=2))

    await refusal(manager.tell("slow", Note("impatient"), timeout=0.2), MailboxFull)
    await manager.tell("slow", Note("patient"))
    await manager.settle()

    assert heard == ["0", "1", "2", "patient"]
    assert _lost(manager) == []


async def a_full_mailbox_refuses(lives: Lives) -> None:
    """``fail``: a caller is told at once, and so is an asker; nothing of it is handled."""
    heard: list[str] = []
    manager = await begin_full(lives, heard, MailboxPolicy(capacity=2, overflow="fail"))

    await refusal(manager.tell("slow", Note("told")), MailboxFull)
    await refusal(manager.ask("slow", Question("asked")), MailboxFull)
    await refusal(manager.ask("slow", Question("asked"), message_id="id"), MailboxFull)
    assert manager.stats().open_asks == 0
    await manager.settle()

    assert heard == ["0", "1", "2"]
    assert await manager.ask("slow", Question("asked"), message_id="id") == "asked"
    assert _lost(manager) == []


async def a_full_mailbox_drops_the_newest(lives: Lives) -> None:
    """``drop_newest``: what comes is lost, and an asker of it is told."""
    heard: list[str] = []
    manager = await begin_full(lives, heard, MailboxPolicy(capacity=2, overflow="drop_newest"))

    await manager.tell("slow", Note("3"))
    await refusal(manager.ask("slow", Question("4")), MailboxFull)
    await manager.settle()

    assert heard == ["0", "1", "2"]
    assert _lost(manager) == ["3", "4"]


async def a_full_mailbox_drops_the_oldest(lives: Lives) -> None:
    """``drop_oldest``: what waits longest is lost."""
    heard: list[str] = []
    manager = await begin_full(lives, heard, MailboxPolicy(capacity=2, overflow="drop_oldest"))

    await manager.tell("slow", Note("3"))
    await manager.settle()

    assert heard == ["0", "2", "3"]
    assert _lost(manager) == ["1"]


async def a_full_mailbox_drops_the_lowest(lives: Lives) -> None:
    """``drop_lowest``: the newest of the lowest priority is lost, and the others keep their order."""
    heard: list[str] = []
    manager = await begin_full(lives, heard, MailboxPolicy(capacity=2, overflow="drop_lowest"))
    sender = manager.get_message_sender()

    await sender(AgentMessage("outside", "slow", Note("3"), "note", priority=1))
    await sender(AgentMessage("outside", "slow", Note("4"), "note"))
    await manager.settle()

    assert heard == ["0", "1", "3"]
    assert _lost(manager) == ["2", "4"]


async def a_full_mailbox_coalesces(lives: Lives) -> None:
    """``coalesce``: what is like the newest takes its place; what is like none waits."""
    heard: list[str] = []
    policy = MailboxPolicy(capacity=2, overflow="coalesce", key=lambda content: content.text[0])
    manager = await begin_full(lives, heard, policy)

    await manager.tell("slow", Note("2 again"))
    await manager.tell("slow", Note("3"))
    await manager.settle()

    assert heard == ["0", "1", "2 again", "3"]
    assert _lost(manager) == ["2"]


async def a_full_subscriber_loses_news(lives: Lives) -> None:
    """Publishing waits for nobody: one who has no room loses the message, with a letter that names it."""
    heard: list[str] = []
    manager = await begin_full(lives, heard, MailboxPolicy(capacity=2))
    eager: list[str] = []
    listener = Listener("eager", eager)
    listener.topics = ("news",)  # type: ignore[misc]
    await manager.register(listener)
    manager.directory.subscribe(manager.directory.cells["slow"], "news")

    assert await manager.publish("news", Note("news")) == 1
    await manager.settle()

    assert (heard, eager) == (["0", "1", "2"], ["news"])
    assert [letter.message.to for letter in manager.dead_letters] == ["slow"]


async def output_that_finds_no_room_for_long_is_lost_with_a_letter(lives: Lives) -> None:
    """What an agent sent and cannot get rid of for 30 s is a dead letter, and the agent goes on."""

    async def sleep(message: Note) -> None:
        await asyncio.sleep(1000)

    def send(message: Question, ctx: AgentContext) -> str:
        ctx.send("sleeper", Note("a"))
        ctx.send("sleeper", Note("b"))
        ctx.send("sleeper", Note("c"))
        return "sent"

    sleeper = acting(sleep, "sleeper", mailbox=MailboxPolicy(capacity=1))
    manager = await lives.begin(sleeper, acting(send, "sender"))
    await manager.tell("sleeper", Note("first"))
    await asyncio.sleep(0.1)
    await manager.ask("sender", Question())

    assert await manager.ask("sender", Question(), timeout=60) == "sent"
    assert [letter.reason for letter in manager.dead_letters][:2] == [Reason.OVERFLOW, Reason.OVERFLOW]
