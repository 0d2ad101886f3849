"""Three values pass through three stages at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moot import Agent, AgentContext, Request, handles
from moot.patterns.pipeline import PipelineAgent, RunPipeline, Stage
from tests.patterns.suite import CLIENT, Begin


class Step(Request[list[str]]):
    done: list[str]


class Stepper(Agent):
    @handles
    async def step(self, message: Step) -> list[str]:
        return [*message.done, self.id]


class Client(Agent):
    @handles
    async def begin(self, message: Begin, ctx: AgentContext) -> None:
        found = await ctx.gather([ctx.ask("line", RunPipeline([str(n)]), timeout=60) for n in range(3)])
        await ctx.shared_state.set("outcome", found)


def agents() -> Sequence[Agent[Any]]:
    stages = [Stage(f"stage_{n}", Step, timeout=5) for n in range(3)]
    return [Client(CLIENT), PipelineAgent("line", stages), *(Stepper(f"stage_{n}") for n in range(3))]


def judge(state: dict[str, Any]) -> list[str]:
    wanted = [[str(n), "stage_0", "stage_1", "stage_2"] for n in range(3)]
    return [] if state["outcome"] == wanted else [f"{state['outcome']} instead of {wanted}"]
