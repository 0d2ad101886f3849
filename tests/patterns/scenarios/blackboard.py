"""Numbers are squared and summed by sources that hang, fail, post rubbish, or post lies when their claim has lapsed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from moot import Agent, AgentContext, TimeoutPolicy, handles
from moot.patterns.blackboard import BlackboardAgent, Entry, Hypothesis, Interest, KnowledgeSource, Limits, Solve
from tests.patterns.suite import CLIENT, Begin

NUMBERS = (1, 2, 3, 4)
LIMITS = Limits(parallel=3, lease=3.0, attempts=80, failures=8, quiet=15.0)


class Squarer(KnowledgeSource):
    kind = "squarer"
    interests = (Interest("number"),)
    timeouts = TimeoutPolicy(run_timeout=4.0)

    def __init__(self, agent_id: str, mood: str) -> None:
        super().__init__(agent_id, "board", announce_every=3.0)
        self.mood = mood

    async def contribute(self, entry: Entry, ctx: AgentContext) -> Any:
        if self.mood == "hangs":
            await asyncio.sleep(1000)
        if self.mood == "fails" and ctx.random.random() < 0.7:
            raise ValueError("not in the mood")
        if self.mood == "rubbish":
            return [Hypothesis("square", entry.key, 0, float("nan")), "rubbish"]
        if self.mood == "lies late":
            await asyncio.sleep(3.2)
            return [Hypothesis("square", f"square of {entry.key}", -1, 1.0)]
        return [Hypothesis("square", f"square of {entry.key}", entry.content**2, 0.9)]


class Adder(KnowledgeSource):
    kind = "adder"
    interests = (Interest("square", priority=1),)

    async def contribute(self, entry: Entry, ctx: AgentContext) -> list[Hypothesis]:
        squares = [one.content for one in await self.read(ctx, "square")]
        return [Hypothesis("sum", "the sum", sum(squares))] if len(squares) == len(NUMBERS) else []


class Client(Agent):
    @handles
    async def begin(self, message: Begin, ctx: AgentContext) -> None:
        numbers = tuple(Hypothesis("number", str(number), number) for number in NUMBERS)
        solution = await ctx.ask("board", Solve("squares", numbers, budget=500, seconds=400), timeout=500)
        await ctx.shared_state.set("outcome", solution)


def agents() -> Sequence[Agent[Any]]:
    moods = ("hangs", "fails", "rubbish", "lies late", "works")
    return [
        BlackboardAgent("board", ["number", "square", "sum"], limits=LIMITS),
        *(Squarer(f"squarer_{number}", mood) for number, mood in enumerate(moods)),
        *(Adder(f"adder_{number}", "board", announce_every=3.0) for number in range(2)),
        Client(CLIENT),
    ]


def judge(state: dict[str, Any]) -> list[str]:
    outcome = state["outcome"]
    reason, goal = (outcome["reason"], outcome["goal"]) if isinstance(outcome, dict) else (outcome.reason, outcome.goal)
    found = goal["content"] if isinstance(goal, dict) else getattr(goal, "content", None)
    return [] if (reason, found) == ("solved", 30) else [f"{reason} with {found}: {outcome}"]
