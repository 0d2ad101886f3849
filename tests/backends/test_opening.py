"""What an earlier life has left begins when all agents are there, and a kept turn waits for whom it asks.

Agents are registered one after the other inside the ``async with`` block, and only the program knows the last of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from moot import Agent, AgentContext, AgentManager, Payload, Request, handles
from moot.errors import UnknownAgent
from moot.testing import SimulatedBackend


class Go(Payload):
    number: int = 0


class Tick(Payload):
    pass


class Question(Request[str]):
    pass


class Asker(Agent):
    """Asks another agent; in its first life it gets no answer."""

    topics = ("news",)

    def __init__(self, agent_id: str, log: list[str], to: str = "asked") -> None:
        super().__init__(agent_id)
        self.log = log
        self.to = to

    @handles
    async def go(self, message: Go, ctx: AgentContext) -> None:
        if not self.log:
            self.log.append("first life")
            ctx.schedule(1, Tick())
            return
        if message.number == 1:
            self.log.append(f"{message.number} asks")
            self.log.append(await ctx.ask(self.to, Question()))
        else:
            self.log.append(str(message.number))

    @handles
    async def tick(self, message: Tick) -> None:
        self.log.append("tick")

    @handles
    async def question(self, message: Question) -> str:
        return "here"


class SlowStart(Agent):
    async def on_start(self, ctx: AgentContext) -> None:
        await asyncio.sleep(5)


class Asked(Agent):
    capabilities = ("answering",)

    @handles
    async def answer(self, message: Question) -> str:
        return "answered"


async def first_life() -> SimulatedBackend:
    """A life that left a timer, and two messages that were not handled."""
    disk = SimulatedBackend()
    async with AgentManager(disk) as manager:
        await manager.register(Asker("asker", []))
        await manager.tell("asker", Go(), message_id="begin")
        await manager.settle()
        manager.tell_nowait("asker", Go(1))
        manager.tell_nowait("asker", Go(2))
        await manager.stop(drain=False)
    return disk


async def test_a_kept_turn_finds_the_agents_that_are_registered_after_it() -> None:
    disk, log = await first_life(), ["second life"]

    async with AgentManager(disk) as manager:
        await manager.register(Asker("asker", log))
        await manager.register(SlowStart("slow"))
        await manager.register(Asked("asked"))

    assert log == ["second life", "1 asks", "answered", "2", "tick"]
    assert not list(manager.dead_letters)


Sign = Callable[[AgentManager], Awaitable[object]]

SIGNS: dict[str, Sign] = {
    "ready": lambda manager: _awaited(manager.ready()),
    "ask": lambda manager: manager.ask("asked", Question()),
    "tell": lambda manager: manager.tell("other", Go(7)),
    "tell what was told before": lambda manager: manager.tell("asker", Go(), message_id="begin"),
    "tell_nowait": lambda manager: _plain(lambda: manager.tell_nowait("other", Go(7))),
    "publish": lambda manager: manager.publish("news", Go(8)),
    "settle": lambda manager: manager.settle(),
    "sender": lambda manager: manager.get_message_sender("me").send("other", Go(7)),
}


@pytest.mark.parametrize("sign", SIGNS)
async def test_what_a_program_does_only_with_all_its_agents_opens_the_system(sign: str) -> None:
    disk, log = await first_life(), ["second life"]

    async with AgentManager(disk) as manager:
        await manager.register(Asker("asker", log))
        await manager.register(Asked("asked"))
        await manager.register(Asker("other", ["another's"]))
        await asyncio.sleep(10)
        before = list(log)
        await SIGNS[sign](manager)
        await asyncio.sleep(1)
        after = list(log)

    assert before == ["second life"]
    assert after[:4] == ["second life", "1 asks", "answered", "2"]


async def test_what_comes_meanwhile_waits_behind_what_was_kept() -> None:
    disk, log = await first_life(), ["second life"]

    class Starting(Agent):
        async def on_start(self, ctx: AgentContext) -> None:
            ctx.send("asker", Go(3))

    async with AgentManager(disk) as manager:
        await manager.register(Asker("asker", log))
        await manager.register(Starting("starting"))
        await manager.register(Asked("asked"))
        await asyncio.sleep(10)

    assert [entry for entry in log if entry != "tick"] == ["second life", "1 asks", "answered", "2", "3"]


@pytest.mark.parametrize("to", ["asked", "capability:answering", "answers/1"])
async def test_a_kept_turn_waits_for_an_agent_that_comes_after_the_opening(to: str) -> None:
    disk, log = await first_life(), ["second life"]

    async with AgentManager(disk) as manager:
        await manager.register(Asker("asker", log, to))
        await manager.ready()
        await asyncio.sleep(20)
        before = list(log)
        manager.host(Asked, domain="answers")
        await manager.register(Asked("asked"))

    assert before == ["second life", "1 asks"]
    assert [entry for entry in log if entry != "tick"] == ["second life", "1 asks", "answered", "2"]
    assert not list(manager.dead_letters)


async def test_the_patience_with_an_absent_agent_ends() -> None:
    disk, log = await first_life(), ["second life"]

    async with AgentManager(disk, patience=15) as manager:
        await manager.register(Asker("asker", log))
        await manager.ready()
        await asyncio.sleep(14)
        before = list(manager.dead_letters)
        await asyncio.sleep(2)
        (letter,) = manager.dead_letters
        with pytest.raises(UnknownAgent):
            await manager.ask("asked", Question())

    assert before == []
    assert "UnknownAgent" in letter.error
    assert [entry for entry in log if entry != "tick"] == ["second life", *["1 asks"] * 3, "2"]


async def test_a_new_turn_that_asks_nobody_fails_at_once() -> None:
    disk, log = await first_life(), ["second life"]

    async with AgentManager(disk) as manager:
        await manager.register(Asker("asker", log))
        await manager.register(Asked("asked"))
        await manager.register(Asker("other", log, "nobody"))
        await manager.tell("other", Go(1))
        await asyncio.sleep(5)

        assert ["UnknownAgent" in letter.error for letter in manager.dead_letters] == [True]


async def test_a_system_of_which_nothing_more_is_heard_opens_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    disk, log = await first_life(), ["second life"]

    async with AgentManager(disk, patience=5) as manager:
        await manager.register(Asker("asker", log))
        await asyncio.sleep(4)
        await manager.register(Asked("asked"))
        await asyncio.sleep(4)
        before = list(log)
        await asyncio.sleep(2)
        after = list(log)

    assert before == ["second life"]
    assert after[:4] == ["second life", "1 asks", "answered", "2"]
    assert "call 'await manager.ready()'" in caplog.text


async def test_agents_registered_before_the_start_wait_for_nobody() -> None:
    disk, log = await first_life(), ["second life"]
    manager = AgentManager(disk)
    for agent in (Asker("asker", log), SlowStart("slow"), Asked("asked")):
        await manager.register(agent)

    await manager.start()
    await asyncio.sleep(2)
    await manager.stop()

    assert log == ["second life", "1 asks", "answered", "2", "tick"]


async def test_an_agent_that_is_taken_out_before_the_opening_leaves_nothing() -> None:
    disk, log = await first_life(), ["second life"]

    async with AgentManager(disk) as manager:
        await manager.register(Asker("asker", log))
        await manager.unregister("asker")
        await manager.ready()
        reasons = [letter.reason for letter in manager.dead_letters]

    assert log == ["second life"]
    assert reasons == ["stopped"] * 3


async def test_a_first_life_and_a_system_in_memory_wait_for_nothing() -> None:
    for url in (SimulatedBackend(), "memory://"):
        log = ["a life"]

        class Starting(Agent):
            async def on_start(self, ctx: AgentContext) -> None:
                ctx.send("asker", Go(3))

        async with AgentManager(url) as manager:
            await manager.register(Asker("asker", log))
            await manager.register(Starting("starting"))
            await asyncio.sleep(1)
            assert log == ["a life", "3"]
            manager.ready()


async def _awaited(done: Awaitable[None]) -> None:
    await done


async def _plain(call: Callable[[], None]) -> None:
    call()
