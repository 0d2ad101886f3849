"""A selector chooses which of the agents behind ``capability:NAME`` gets a message, and can lose none."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from moot import Agent, AgentContext, AgentManager, Candidate, Payload, Request, Retry, handles


class Render(Request[str]):
    prompt: str


class Note(Payload):
    text: str


class Renderer(Agent):
    capabilities = ("render",)

    @handles
    async def render(self, message: Render, ctx: AgentContext) -> str:
        return self.id

    @handles
    async def note(self, message: Note, ctx: AgentContext) -> None:
        await ctx.shared_state.set(f"{self.id}/{message.text}", True)


class ByPrefix:
    """Prompts that begin alike go to the same agent, whose engine has read that beginning before."""

    def __init__(self) -> None:
        self.seen: list[Candidate] = []

    def select(self, capability: str, candidates: Sequence[Candidate], content: Any) -> Candidate:
        assert capability == "render"
        self.seen += candidates
        text = content.prompt if isinstance(content, Render) else content.text
        return sorted(candidates)[sum(text[:4].encode()) % len(candidates)]


class Broken:
    def select(self, capability: str, candidates: Sequence[Candidate], content: Any) -> Candidate:
        raise KeyError("no score")


class Stranger:
    def select(self, capability: str, candidates: Sequence[Candidate], content: Any) -> Candidate:
        return Candidate("nobody", 0, 0)


class Asker(Agent):
    asked: tuple[str, ...] = ()

    @handles
    async def ask(self, message: Note, ctx: AgentContext) -> None:
        self.asked += (await ctx.ask("capability:render", Render(prompt=message.text)),)
        ctx.send("capability:render", Note(text=message.text))
        if ctx.attempt == 1:
            raise Retry


async def test_it_sees_content_and_load_and_decides() -> None:
    selector = ByPrefix()
    async with AgentManager(selector=selector) as manager:
        await manager.register(Renderer, count=3)

        answers = [await manager.ask("capability:render", Render(prompt=f"once upon {n}")) for n in range(5)]

        assert len(set(answers)) == 1
        assert {candidate.agent_id for candidate in selector.seen} == {"renderer_1", "renderer_2", "renderer_3"}
        assert all(candidate.waiting == candidate.running == 0 for candidate in selector.seen)


async def test_messages_of_turns_and_of_callers_are_selected_and_a_turn_that_runs_again_asks_the_same() -> None:
    selector = ByPrefix()
    async with AgentManager(selector=selector) as manager:
        await manager.register(Renderer, count=3)
        asker = Asker("asker")
        await manager.register(asker)
        await manager.tell("capability:render", Note(text="abcd"))
        await manager.tell("asker", Note(text="abcd"))
        await manager.settle()

        chosen = sorted(["renderer_1", "renderer_2", "renderer_3"])[sum(b"abcd") % 3]
        assert set(asker.asked) == {chosen}
        assert await manager.shared_state.keys() == [f"{chosen}/abcd"]


@pytest.mark.parametrize("selector", [Broken(), Stranger()])
async def test_one_that_fails_is_logged_and_the_least_busy_gets_the_message(
    selector: Broken | Stranger, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    async with AgentManager(selector=selector) as manager:
        await manager.register(Renderer, count=2)
        asker = Asker("asker")
        await manager.register(asker)

        answers = {await manager.ask("capability:render", Render(prompt="?")) for _ in range(4)}
        await manager.tell("asker", Note(text="?"))
        await manager.settle()

        assert answers == {"renderer_1", "renderer_2"}
        assert len(await manager.shared_state.keys()) == 1
        assert not manager.dead_letters.list()
        assert "the selector failed for 'render'" in caplog.text
