"""Addresses: an id is an id and nothing else, and an address that cannot be served never breaks a commit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    MailboxPolicy,
    Payload,
    Reason,
    Request,
    TurnError,
    UnknownAgent,
    handles,
)


class Ping(Request[str]):
    seconds: float = 0.0


class Note(Payload):
    text: str = ""


class Listener(Agent):
    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.heard: list[str] = []

    @handles
    async def on_ping(self, message: Ping) -> str:
        await asyncio.sleep(message.seconds)
        return self.id

    @handles
    def on_note(self, message: Note) -> None:
        if message.text == "fail":
            raise ValueError
        self.heard.append(message.text)


class Reader(Listener):
    topics = ("news",)


class Sender(Agent):
    """Sends to the listener, to an address, and to the listener again."""

    def __init__(self, agent_id: str, address: str) -> None:
        super().__init__(agent_id)
        self.address = address

    @handles
    def on_ping(self, message: Ping, ctx: AgentContext) -> str:
        ctx.send("listener", Note("before"))
        ctx.send(self.address, Note("to the address"))
        ctx.send("listener", Note("after"))
        return "sent"


@pytest.mark.parametrize(
    "agent_id", ["a" * 10_000, "ünï-cödé ✓", "a/b/c", "/", " ", "a:b", "1", "None", "\n", "\ud800"]
)
async def test_any_text_is_an_id(agent_id: str) -> None:
    class Named(Listener):
        @handles
        async def on_ping(self, message: Ping) -> str:
            return ascii(self.id)

    async with AgentManager() as manager:
        await manager.register(Named(agent_id))

        assert await manager.ask(agent_id, Ping()) == ascii(agent_id)
        with pytest.raises(UnknownAgent):
            await manager.ask(agent_id + "x", Ping())


@pytest.mark.parametrize("agent_id", ["", "capability:x", "topic:news", None, 5, b"bytes"])
async def test_what_would_be_another_kind_of_address_is_no_id(agent_id: Any) -> None:
    async with AgentManager() as manager:
        with pytest.raises(ValueError, match="id"):
            await manager.register(Listener(agent_id))


async def test_an_agent_without_an_id_is_refused_with_a_reason() -> None:
    class Nameless(Listener):
        def __init__(self) -> None:
            pass

    async with AgentManager() as manager:
        with pytest.raises(ValueError, match=r"super\(\).__init__"):
            await manager.register(Nameless())


@pytest.mark.parametrize("fault", ["raises", "other id", "no handlers", "no agent"])
async def test_a_hosted_agent_that_cannot_be_made_breaks_no_commit(fault: str) -> None:
    class Empty(Agent):
        pass

    def make(agent_id: str) -> Any:
        match fault:
            case "raises":
                raise ValueError("cannot be made")
            case "other id":
                return Listener("listener")
            case "no handlers":
                return Empty(agent_id)
        return None

    async with AgentManager() as manager:
        listener = Listener("listener")
        await manager.register(listener)
        await manager.register(Sender("sender", "room/kitchen"))
        manager.host(make, domain="room")

        assert await manager.ask("sender", Ping()) == "sent"
        await manager.settle()

        assert listener.heard == ["before", "after"]
        assert manager.dead_letters.counts == {Reason.UNKNOWN_AGENT: 1}
        with pytest.raises(UnknownAgent, match="could not be made"):
            await manager.tell("room/attic", Note())
        assert "room/attic" not in manager.directory


async def test_a_publication_that_a_subscriber_lost_can_be_sent_to_it_again() -> None:
    async with AgentManager() as manager:
        full, other = Reader("full"), Reader("other")
        await manager.register(full, mailbox=MailboxPolicy(capacity=1))
        await manager.register(other)
        await manager.tell("full", Ping(seconds=5))
        await asyncio.sleep(1)
        await manager.publish("news", Note("one"))
        await manager.publish("news", Note("two"))
        await manager.settle()
        (letter,) = manager.dead_letters

        assert letter.message.to == "full"
        await manager.requeue(letter.id)
        await manager.settle()

        assert (full.heard, other.heard) == (["one", "two"], ["one", "two"])


async def test_a_publication_that_failed_says_where_and_can_be_sent_there_again() -> None:
    async with AgentManager() as manager:
        await manager.register(Reader("reader"))
        await manager.publish("news", Note("fail"))
        await manager.settle()
        (letter,) = manager.dead_letters

        assert letter.message.to == "reader"
        await manager.requeue(letter.id)


async def test_the_asker_of_a_message_forwarded_to_nobody_is_told_at_once() -> None:
    class Desk(Agent):
        @handles
        def on_ping(self, message: Ping, ctx: AgentContext) -> None:
            ctx.forward("nobody")

    async with AgentManager() as manager:
        await manager.register(Desk("desk"))

        with pytest.raises(UnknownAgent):
            await manager.ask("desk", Ping(), timeout=20)


async def test_the_asks_of_a_turn_to_a_capability_are_shared_out_and_a_run_again_meets_the_same_agents() -> None:
    met: list[list[str]] = []

    class Able(Listener):
        capabilities = ("work",)

        @handles(Ping)
        async def on_work(self, message: Ping) -> str:
            met[-1].append(self.id)
            if len(met) == 1 and message.seconds == 1:
                raise ValueError
            return self.id

    class Boss(Agent):
        @handles
        async def on_ping(self, message: Ping, ctx: AgentContext) -> str:
            met.append([])
            answers = []
            for number in range(3):
                try:
                    answers.append(await ctx.ask("capability:work", Ping(seconds=number)))
                except TurnError as error:
                    failed = error.agent_id
            if ctx.attempt == 1:
                raise OSError(failed)
            return " ".join(answers)

    async with AgentManager() as manager:
        for name in "abc":
            await manager.register(Able(name))
        await manager.register(Boss("boss"))

        answers = (await manager.ask("boss", Ping())).split()

        assert sorted(answers) == ["a", "b", "c"]
        assert met == [answers, [answers[1]]]


async def test_two_managers_in_one_process_do_not_see_each_other() -> None:
    class Bridge(Agent):
        @handles
        async def on_ping(self, message: Ping) -> str:
            return "through the bridge: " + await two.ask("far", Ping(seconds=1))

    async with AgentManager(seed=1) as one, AgentManager(seed=2) as two:
        await one.register(Bridge("bridge"))
        await two.register(Listener("far"))

        assert await one.ask("bridge", Ping()) == "through the bridge: far"
        with pytest.raises(UnknownAgent):
            await one.ask("far", Ping())
        await two.stop(drain=False)
        with pytest.raises(TurnError):
            await one.ask("bridge", Ping())
