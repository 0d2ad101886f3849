"""A transport carries what agents send each other, and every message it carries is handled once."""

from __future__ import annotations

from typing import Any

from moot import Agent, AgentContext, AgentManager, AgentMessage, Ask, Payload, ReplyTo, Request, Transport, handles
from moot.runtime.cell import Cell
from moot.runtime.routing.delivery import Delivery


class Word(Payload):
    text: str


class Spell(Request[str]):
    text: str


class Speaker(Agent):
    topics = ("news",)

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.heard: list[str] = []

    @handles
    async def word(self, message: Word, ctx: AgentContext) -> None:
        self.heard.append(message.text)
        if ctx.sender == "outside":
            self.heard.append(await ctx.ask("other", Spell(text=message.text)))
            ctx.send("other", message)
            ctx.publish("news", Word(text="news"))

    @handles
    async def spell(self, message: Spell, ctx: AgentContext) -> str:
        return " ".join(message.text)


class Echo:
    """Carries all messages twice, at once, by the transport that is there anyway, and notes what it carries."""

    def __init__(self, delivery: Delivery) -> None:
        self.local: Transport = delivery.transport
        self.carried: list[str] = []

    def carry(self, source: Cell, target: Cell, message: AgentMessage) -> None:
        self.carried.append(f"{source.id} > {target.id}: {message.message_type}")
        self.local.carry(source, target, message)
        self.local.carry(source, target, message)

    def request(self, ask: Ask[Any], target: Cell, message: AgentMessage) -> None:
        self.carried.append(f"{message.sender} ? {target.id}: {message.message_type}")
        self.local.request(ask, target, message)

    def publish(self, target: Cell, message: AgentMessage) -> bool:
        self.carried.append(f"{message.sender} * {target.id}: {message.message_type}")
        return self.local.publish(target, message) and self.local.publish(target, message)

    def answer(self, reply_to: ReplyTo, answer: Any, error: BaseException | None) -> bool:
        self.carried.append(f"= {answer}")
        return self.local.answer(reply_to, answer, error)


async def test_it_carries_messages_requests_news_and_answers_and_none_is_handled_twice() -> None:
    made: list[Echo] = []

    def connect(delivery: Delivery) -> Echo:
        made.append(Echo(delivery))
        return made[0]

    async with AgentManager(transport=connect) as manager:
        speaker, other = Speaker("speaker"), Speaker("other")
        await manager.register(speaker)
        await manager.register(other)
        await manager.tell("speaker", Word(text="hi"))
        await manager.settle()

        assert speaker.heard == ["hi", "h i", "news"]
        assert other.heard == ["hi", "news"]
        assert made[0].carried == [
            "speaker ? other: spell",
            "= h i",
            "speaker > other: word",
            "speaker * speaker: word",
            "speaker * other: word",
        ]
