"""A flood at a slow agent: memory stays bounded, and handled + dead-lettered = sent, exactly, under each policy.

The agent needs far longer for a message than its senders do. Half of the flood comes from turns, whose outboxes may
have to wait, the rest from outside and by publishing. The dead letters that are kept are bounded, too; all are counted.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from moot import Agent, AgentContext, AgentManager, MailboxFull, MailboxPolicy, Payload, Reason, handles
from moot.testing import run

POLICIES = ("block", "fail", "drop_newest", "drop_oldest", "drop_lowest", "coalesce")
CAPACITY = 32
AT_ONCE = 50
SOURCES = 4
DEAD_LETTERS_KEPT = 10_000


class Drop(Payload):
    source: str
    number: int
    turn: int


class Pour(Payload):
    turn: int


class Source(Agent):
    """Sends so much in each turn, and goes on at once."""

    def __init__(self, agent_id: str, turns: int) -> None:
        super().__init__(agent_id)
        self.turns = turns
        self.sent = 0

    @handles
    async def pour(self, message: Pour, ctx: AgentContext) -> None:
        for number in range(AT_ONCE):
            self.sent += 1
            ctx.send("slow", Drop(self.id, self.sent, message.turn), priority=number % 5)
        if message.turn + 1 < self.turns:
            ctx.send(self.id, Pour(message.turn + 1))


class Slow(Agent):
    topics = ("rain",)

    def __init__(self) -> None:
        super().__init__("slow")
        self.handled = 0
        self.longest = 0
        self.newest: dict[str, int] = {}
        self.manager: AgentManager | None = None

    @handles
    async def drop(self, message: Drop, ctx: AgentContext) -> None:
        assert message.number > self.newest.get(message.source, 0), "FIFO per pair"
        self.newest[message.source] = message.number
        self.handled += 1
        if self.manager is not None and self.handled % 16 == 0:
            cells = self.manager.directory.cells
            undelivered = sum(len(lane.messages) for cell in cells.values() for lane in (cell.lanes or {}).values())
            self.longest = max(self.longest, len(cells["slow"].mailbox) + undelivered)
            await asyncio.sleep(0.016)


def like(content: Any) -> int:
    number: int = content.number % 61  # more than there is room for: some find their like, and some have to wait
    return number


async def flood(policy: Any, messages: int) -> None:
    key = like if policy == "coalesce" else None
    async with AgentManager() as manager:
        slow = Slow()
        slow.manager = manager
        await manager.register(slow, mailbox=MailboxPolicy(CAPACITY, policy, key=key))
        sources = [Source(f"source_{number}", messages // 2 // SOURCES // AT_ONCE) for number in range(SOURCES)]
        for source in sources:
            await manager.register(source)
            await manager.tell(source.id, Pour(0))

        accepted = refused = 0
        for number in range(1, messages // 2 + 1):
            content = Drop("outside", number, 0)
            if number % 10 == 0:
                await manager.publish("rain", content)
                accepted += 1
                continue
            try:
                manager.tell_nowait("slow", content)
                accepted += 1
            except MailboxFull:
                refused += 1
            if number % AT_ONCE == 0:
                await asyncio.sleep(0.001)
        await manager.settle()

        sent = accepted + sum(source.sent for source in sources)
        assert accepted + refused == messages // 2
        assert sent + refused >= messages - SOURCES * AT_ONCE
        lost = manager.dead_letters.counts
        assert slow.handled + lost[Reason.OVERFLOW] == sent
        assert manager.directory.cells["slow"].lost == lost[Reason.OVERFLOW] == sum(lost.values())
        assert len(manager.dead_letters) <= DEAD_LETTERS_KEPT
        assert slow.longest <= 2 * CAPACITY + SOURCES * AT_ONCE
        assert slow.handled > CAPACITY
        assert (refused == 0) == policy.startswith("drop")
        assert all(cell.lanes is None and not cell.mailbox for cell in manager.directory.cells.values())


@pytest.mark.parametrize("policy", POLICIES)
def test_a_flood_of_a_hundred_thousand_messages_is_accounted_for(policy: str) -> None:
    run(flood(policy, 100_000))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("policy", POLICIES)
def test_a_flood_of_a_million_messages_is_accounted_for(policy: str) -> None:
    run(flood(policy, 1_000_000))
