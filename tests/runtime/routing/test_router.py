"""The router: each kind of address reaches whom it says, and says clearly when it reaches nobody."""

from __future__ import annotations

import asyncio

import pytest

from moot import Agent, AgentContext, AgentManager, AgentStopped, Payload, Request, UnknownAgent, handles


class Who(Request[str]):
    pass


class Poll(Request[list[str]]):
    size: int
    fails: int = 0


class Note(Payload):
    text: str


class Worker(Agent):
    capabilities = ("work",)

    @handles
    async def who(self, message: Who) -> str:
        return self.id


class Poller(Agent):
    """Asks whoever can work, several at once; each run of its turn is kept."""

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.runs: list[list[str]] = []

    @handles
    async def poll(self, message: Poll, ctx: AgentContext) -> list[str]:
        first = await ctx.gather([ctx.ask("capability:work", Who()) for _ in range(message.size)])
        self.runs.append(first)
        if ctx.attempt <= message.fails:
            raise OSError("again")
        return first


async def team(manager: AgentManager, size: int) -> Poller:
    poller = Poller("poller")
    await manager.register(Worker, size)
    await manager.register(poller)
    return poller


async def test_a_capability_is_shared_among_those_who_have_it() -> None:
    async with AgentManager() as manager:
        await team(manager, 3)

        asked = await manager.ask("poller", Poll(size=9))

    assert sorted(asked) == ["worker_1"] * 3 + ["worker_2"] * 3 + ["worker_3"] * 3


async def test_callers_from_outside_take_turns_too() -> None:
    async with AgentManager() as manager:
        await team(manager, 3)

        asked = [await manager.ask("capability:work", Who()) for _ in range(6)]

    assert sorted(asked) == ["worker_1"] * 2 + ["worker_2"] * 2 + ["worker_3"] * 2


async def test_a_turn_that_is_run_again_has_the_same_answers_of_the_same_agents() -> None:
    async with AgentManager() as manager:
        poller = await team(manager, 3)

        await manager.ask("poller", Poll(size=3, fails=2))

    assert len(poller.runs) == 3
    assert poller.runs[0] == poller.runs[1] == poller.runs[2]


async def test_what_failed_is_asked_of_the_same_agent_again() -> None:
    asked: list[str] = []

    class Moody(Agent):
        capabilities = ("work",)

        @handles
        async def who(self, message: Who) -> str:
            asked.append(self.id)
            if len(asked) <= 2:
                raise ValueError("not in the mood")
            return self.id

    class Persistent(Poller):
        retry = Agent.retry

        @handles
        async def poll(self, message: Poll, ctx: AgentContext) -> list[str]:
            try:
                return [await ctx.ask("capability:work", Who())]
            except Exception as error:
                raise OSError("once more") from error

    async with AgentManager() as manager:
        await manager.register(Moody, 4)
        await manager.register(Persistent("poller"))

        (answered,) = await manager.ask("poller", Poll(size=1))

    assert asked == [answered] * 3


async def test_a_hosted_agent_is_made_when_it_is_first_addressed() -> None:
    async with AgentManager() as manager:
        manager.host(Worker, domain="desk")

        assert await manager.ask("desk/7", Who()) == "desk/7"
        assert await manager.ask("desk/7", Who()) == "desk/7"
        assert manager.stats().agents == 1


async def test_a_topic_reaches_all_who_listen_and_nobody_is_fine() -> None:
    class Listener(Agent):
        topics = ("news",)

        def __init__(self, agent_id: str) -> None:
            super().__init__(agent_id)
            self.heard: list[str] = []

        @handles
        async def note(self, message: Note) -> None:
            self.heard.append(message.text)

    listeners = [Listener("one"), Listener("two")]
    async with AgentManager() as manager:
        for listener in listeners:
            await manager.register(listener)

        reached = await manager.publish("news", Note(text="hello"))
        unheard = await manager.publish("sports", Note(text="goal"))
        await manager.settle()

    assert (reached, unheard) == (2, 0)
    assert [listener.heard for listener in listeners] == [["hello"], ["hello"]]
    assert len(manager.dead_letters) == 0


async def test_nobody_at_an_address_is_an_error_with_the_nearest_name() -> None:
    async with AgentManager() as manager:
        await team(manager, 1)

        with pytest.raises(UnknownAgent, match="did you mean 'worker_1'"):
            await manager.ask("worker1", Who())
        with pytest.raises(UnknownAgent, match="capability:play"):
            await manager.ask("capability:play", Who())
        with pytest.raises(UnknownAgent, match="desk/7"):
            await manager.tell("desk/7", Who())


async def test_an_agent_that_is_stopping_takes_no_more() -> None:
    class Slow(Agent):
        @handles
        async def who(self, message: Who, ctx: AgentContext) -> str:
            await ctx.ask("never", Who(), timeout=60)
            return self.id

    async def never(message: Who, ctx: AgentContext) -> None:
        ctx.defer()

    async with AgentManager() as manager:
        await manager.register(Slow("slow"))
        await manager.register(never)
        await manager.tell("slow", Who())
        leaving = asyncio.ensure_future(manager.unregister("slow"))
        await asyncio.sleep(1)  # virtual; its turn goes on for a minute
        assert not leaving.done()

        with pytest.raises((AgentStopped, UnknownAgent)):
            await manager.tell("slow", Who())

        await leaving
