"""Pipeline: a value passes through stages in order, each a different agent's work.

The answer of one stage is what the next is asked with. Several values are under way at once, so that all stages work
though each handles one value at a time; as many as the pipeline's ``concurrency`` says, and no more, which is its
back-pressure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from moot import Agent, AgentContext, Payload, Request, handles

__all__ = ["PipelineAgent", "RunPipeline", "Stage", "StageDone", "pipeline"]


class Stage(msgspec.Struct, frozen=True):
    """One step: ``request`` makes of the value what ``to`` is asked; a `Request` class with one field will do.

    ``to`` is an agent or ``capability:NAME``. ``timeout`` is in seconds.
    """

    to: str
    request: Callable[[Any], Request[Any]]
    timeout: float = 30.0


class RunPipeline(Request[Any]):
    """Pass ``value`` through the stages; the answer is that of the last."""

    value: Any


class StageDone(Payload):
    """Progress: ``to`` has answered, as stage ``number`` of ``stages``."""

    number: int
    stages: int
    to: str


async def pipeline(ctx: AgentContext[Any], value: Any, stages: Sequence[Stage]) -> Any:
    """Pass ``value`` through ``stages``; the answer of the last. Whoever streams is told of each stage.

    Raises:
        TurnError, DeliveryError: a stage failed; those after it are not asked.
        ValueError: there is no stage.
    """
    if not stages:
        raise ValueError("a pipeline needs a stage or more; pass stages=[Stage(agent, Request)]")
    for number, stage in enumerate(stages, 1):
        value = await ctx.ask(stage.to, stage.request(value), timeout=stage.timeout)
        ctx.progress(None, StageDone(number, len(stages), stage.to))
    return value


class PipelineAgent(Agent):
    """Passes what it is asked with through its stages, several values at once."""

    concurrency = 16
    cancel_with_asker = True

    def __init__(self, agent_id: str, stages: Sequence[Stage]) -> None:
        super().__init__(agent_id)
        self.stages = tuple(stages)

    @handles
    async def run(self, message: RunPipeline, ctx: AgentContext) -> Any:
        return await pipeline(ctx, message.value, self.stages)
