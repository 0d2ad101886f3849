"""A full mailbox does what its policy says: who is lost is a dead letter, its asker knows at once, order is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    AgentMessage,
    MailboxFull,
    MailboxPolicy,
    Payload,
    Reason,
    Request,
    handles,
)
from moot.messaging.mailbox import Mailbox
from moot.messaging.overflow import displacement

CAPACITY = 3


class Reading(Payload):
    sensor: str
    value: int


class Question(Request[str]):
    text: str


def by_sensor(content: Any) -> str:
    return str(content.sensor)


# the policies against models that are obviously right


class Displacing(RuleBasedStateMachine):
    """A list in which the policy is written down in the plainest way; and the law that no pair's order changes."""

    policy: MailboxPolicy

    def __init__(self) -> None:
        super().__init__()
        self.mailbox = Mailbox(CAPACITY)
        self.displace = displacement(self.policy)
        self.model: list[AgentMessage] = []
        self.last_taken: dict[str, int] = {}
        self.sent = 0

    def model_loses(self, message: AgentMessage) -> AgentMessage | None:
        raise NotImplementedError

    @rule(sender=st.sampled_from("ab"), priority=st.integers(0, 2), sensor=st.sampled_from("xy"))
    def send(self, sender: str, priority: int, sensor: str) -> None:
        self.sent += 1
        message = AgentMessage(sender, "c", Reading(sensor, self.sent), "reading", self.sent, priority=priority)
        fits = len(self.model) < CAPACITY
        assert self.mailbox.offer(message) is fits
        if fits:
            self.model.append(message)
            return
        assert self.displace is not None

        expected = self.model_loses(message)
        lost = self.displace(self.mailbox, message)

        assert lost is expected

    @rule()
    def take(self) -> None:
        if self.model:
            message = self.mailbox.take()
            assert message is self.model.pop(0)
            assert message.sequence > self.last_taken.get(message.sender, 0)
            self.last_taken[message.sender] = message.sequence

    @invariant()
    def agrees(self) -> None:
        assert list(self.mailbox.items or ()) == self.model
        for sender in "ab":
            sequences = [message.sequence for message in self.model if message.sender == sender]
            assert sequences == sorted(sequences)


class DropNewest(Displacing):
    policy = MailboxPolicy(CAPACITY, "drop_newest")

    def model_loses(self, message: AgentMessage) -> AgentMessage:
        return message


class DropOldest(Displacing):
    policy = MailboxPolicy(CAPACITY, "drop_oldest")

    def model_loses(self, message: AgentMessage) -> AgentMessage:
        self.model.append(message)
        return self.model.pop(0)


class DropLowest(Displacing):
    policy = MailboxPolicy(CAPACITY, "drop_lowest")

    def model_loses(self, message: AgentMessage) -> AgentMessage:
        self.model.append(message)
        lost = min(self.model, key=lambda one: (one.priority, -one.sequence))
        self.model.remove(lost)
        return lost


class Coalesce(Displacing):
    policy = MailboxPolicy(CAPACITY, "coalesce", key=by_sensor)

    def model_loses(self, message: AgentMessage) -> AgentMessage | None:
        alike = [one for one in self.model if one.content.sensor == message.content.sensor]
        if not alike:
            return None
        index = self.model.index(alike[-1])
        behind = [one for one in self.model[index + 1 :] if one.sender == message.sender]
        lost = self.model.pop(index)
        self.model.insert(len(self.model) if behind else index, message)
        return lost


TestDropNewest = DropNewest.TestCase
TestDropOldest = DropOldest.TestCase
TestDropLowest = DropLowest.TestCase
TestCoalesce = Coalesce.TestCase


@pytest.mark.parametrize("overflow", ["block", "fail"])
def test_who_loses_nothing_has_nothing_to_choose(overflow: Any) -> None:
    assert displacement(MailboxPolicy(overflow=overflow)) is None


def test_a_key_that_fails_coalesces_nothing_and_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    displace = displacement(MailboxPolicy(1, "coalesce", key=by_sensor))
    mailbox = Mailbox(1)
    mailbox.offer(AgentMessage("a", "b", {"no": "sensor"}, "reading", 1))

    assert displace is not None
    assert displace(mailbox, AgentMessage("a", "b", {"no": "sensor"}, "reading", 2)) is None
    assert displace(mailbox, AgentMessage("a", "b", {"no": "sensor"}, "reading", 3)) is None
    assert [record.message.partition(" on ")[0] for record in caplog.records] == ["a mailbox's key= failed"]


# every way in


class Sink(Agent):
    """Handles nothing before it is let go."""

    topics = ("readings",)

    def __init__(self, agent_id: str = "sink") -> None:
        super().__init__(agent_id)
        self.seen: list[Any] = []

    @handles
    async def reading(self, message: Reading, ctx: AgentContext) -> None:
        if message.value == 0:
            await ctx.ask("gate", Question("may I?"), timeout=1000)
        else:
            self.seen.append(message.value)

    @handles
    async def question(self, message: Question) -> str:
        self.seen.append(message.text)
        return message.text


class Gate(Agent):
    @handles
    async def hold(self, message: Question, ctx: AgentContext) -> None:
        self.reply_to = ctx.defer()

    @handles
    async def open(self, message: Reading, ctx: AgentContext) -> None:
        ctx.send(self.reply_to, "go on")


class Source(Agent):
    """Sends in one turn what it was told to."""

    def __init__(self, agent_id: str, way: Callable[[AgentContext, int], object]) -> None:
        super().__init__(agent_id)
        self.way = way

    @handles
    async def reading(self, message: Reading, ctx: AgentContext) -> None:
        for value in range(1, message.value + 1):
            self.way(ctx, value)


def reading(value: int) -> Reading:
    return Reading("x" if value % 2 else "y", value)


WAYS: dict[str, Callable[[AgentContext, int], object]] = {
    "sent": lambda ctx, value: ctx.send("sink", reading(value), priority=value % 3),
    "published": lambda ctx, value: ctx.publish("readings", reading(value)),
    "scheduled": lambda ctx, value: ctx.schedule(value, reading(value), to="sink"),
    "at once": lambda ctx, value: ctx.progress("sink", reading(value)),
}

KEPT: dict[str, list[int]] = {
    "drop_newest": [1, 2],
    "drop_oldest": [5, 6],
    "coalesce": [5, 6],
}


@pytest.mark.parametrize("policy", KEPT)
@pytest.mark.parametrize("way", WAYS)
async def test_the_policy_holds_for_what_a_turn_sends_in_any_way(way: str, policy: Any) -> None:
    async with AgentManager() as manager:
        sink = Sink()
        key = by_sensor if policy == "coalesce" else None
        await manager.register(sink, mailbox=MailboxPolicy(2, policy, key=key))
        await manager.register(Gate("gate"))
        await manager.register(Source("source", WAYS[way]))
        await manager.tell("sink", Reading("x", 0))
        await manager.tell("source", Reading("x", 6))

        await asyncio.sleep(20)
        await manager.tell("gate", Reading("x", 1))
        await manager.settle()

        assert sink.seen == KEPT[policy]
        assert manager.dead_letters.counts[Reason.OVERFLOW] == manager.directory.cells["sink"].lost == 4
        assert all(letter.message.to == "sink" for letter in manager.dead_letters)
        assert manager.directory.cells["source"].lanes is None


@pytest.mark.parametrize("policy", KEPT)
async def test_the_policy_holds_for_what_comes_from_outside(policy: Any) -> None:
    async with AgentManager() as manager:
        sink = Sink()
        key = by_sensor if policy == "coalesce" else None
        await manager.register(sink, mailbox=MailboxPolicy(2, policy, key=key))
        await manager.register(Gate("gate"))
        await manager.tell("sink", Reading("x", 0))
        await asyncio.sleep(1)

        await manager.tell("sink", reading(1))
        manager.tell_nowait("sink", reading(2))
        got = await manager.publish("readings", reading(3))
        manager.tell_nowait("sink", reading(4))
        await manager.tell("sink", reading(5))
        await manager.get_message_sender().send("sink", reading(6))
        await manager.tell("gate", Reading("x", 1))
        await manager.settle()

        assert sink.seen == KEPT[policy]
        assert manager.dead_letters.counts[Reason.OVERFLOW] == 4
        assert got == (0 if policy == "drop_newest" else 1)


@pytest.mark.parametrize(
    ("policy", "lost", "kept"), [("drop_newest", "third", "first"), ("drop_oldest", "first", "third")]
)
async def test_the_asker_of_a_lost_request_knows_at_once(policy: Any, lost: str, kept: str) -> None:
    async with AgentManager() as manager:
        sink = Sink()
        await manager.register(sink, mailbox=MailboxPolicy(2, policy))
        await manager.register(Gate("gate"))
        await manager.tell("sink", Reading("x", 0))
        await asyncio.sleep(1)
        asks = {}
        for name in ("first", "second", "third"):
            asks[name] = asyncio.ensure_future(_ask(manager, name))
            await asyncio.sleep(1)

        assert isinstance(asks[lost].exception(), MailboxFull)
        assert not asks[kept].done()
        await manager.tell("gate", Reading("x", 1))

        assert await asks[kept] == kept
        assert await asks["second"] == "second"
        assert manager.dead_letters.counts[Reason.OVERFLOW] == 1


async def _ask(manager: AgentManager, text: str) -> str:
    return await manager.ask("sink", Question(text), timeout=100)


async def test_a_turn_whose_request_is_lost_knows_at_once() -> None:
    class Asking(Agent):
        @handles
        async def question(self, message: Question, ctx: AgentContext) -> str:
            try:
                return await ctx.ask("sink", message, timeout=100)
            except MailboxFull as full:
                return f"{full.agent_id} is full at {ctx.now() - began:g}"

    async with AgentManager() as manager:
        await manager.register(Sink(), mailbox=MailboxPolicy(1, "drop_newest"))
        await manager.register(Gate("gate"))
        await manager.register(Asking("asking"))
        await manager.tell("sink", Reading("x", 0))
        await asyncio.sleep(1)
        await manager.tell("sink", reading(1))
        began = manager._running("look at the clock").now()

        assert await manager.ask("asking", Question("?"), timeout=100) == "sink is full at 0"
        await manager.tell("gate", Reading("x", 1))


async def test_what_is_like_nothing_that_waits_has_to_wait_itself() -> None:
    async with AgentManager() as manager:
        sink = Sink()
        await manager.register(sink, mailbox=MailboxPolicy(2, "coalesce", key=by_sensor))
        await manager.register(Gate("gate"))
        await manager.register(Source("source", WAYS["sent"]))
        await manager.tell("sink", Reading("x", 0))
        await asyncio.sleep(1)
        await manager.tell("sink", Reading("p", 11))
        await manager.tell("sink", Reading("q", 12))
        await manager.tell("source", Reading("x", 2))
        await asyncio.sleep(1)

        with pytest.raises(MailboxFull):
            manager.tell_nowait("sink", Reading("z", 13))
        assert manager.directory.cells["source"].lanes is not None
        await manager.tell("gate", Reading("x", 1))
        await manager.settle()

        assert sink.seen == [11, 12, 1, 2]
        assert not manager.dead_letters
