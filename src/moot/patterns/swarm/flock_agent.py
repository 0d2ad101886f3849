"""FlockAgent: one agent that holds a whole flock, advanced by messages.

Its state is the flock as a value, so a tick is part of a turn: it has happened when the turn has, and on a durable
backend a flock whose process is killed goes on from the last tick that was answered, to the same bit.
"""

from __future__ import annotations

from moot import Agent, AgentContext, handles
from moot.patterns.swarm.flock import EngineName, Flock, FlockState
from moot.patterns.swarm.messages import Advance, AdvanceTo, GetFlock, Report
from moot.patterns.swarm.rules import Box, Rules

__all__ = ["MAX_BOIDS", "MAX_STEPS", "FlockAgent"]

MAX_BOIDS = 100_000
"""A state is written with each turn; this many boids are 3.2 MB in 2 dimensions."""
MAX_STEPS = 10_000
"""Ticks that one message may ask for."""


class FlockAgent(Agent[FlockState]):
    """Holds a flock of ``n`` boids; the arguments are those of `Flock`."""

    def __init__(
        self,
        agent_id: str,
        n: int,
        rules: Rules | None = None,
        *,
        box: Box | None = None,
        seed: int = 0,
        engine: EngineName = "auto",
    ) -> None:
        super().__init__(agent_id)
        if n > MAX_BOIDS:
            raise ValueError(f"an agent holds up to {MAX_BOIDS} boids, not {n}; use a Flock for more")
        self.engine: EngineName = engine
        self.begins = Flock(n, rules, box=box, seed=seed, engine=engine).state()

    def initial_state(self) -> FlockState:
        """The flock at tick 0."""
        return self.begins

    @handles
    async def advance_to(self, message: AdvanceTo, ctx: AgentContext[FlockState]) -> Report:
        return await self._advance(message.tick - ctx.state.tick, ctx)

    @handles
    async def advance(self, message: Advance, ctx: AgentContext[FlockState]) -> Report:
        return await self._advance(message.steps, ctx)

    @handles
    def get_flock(self, message: GetFlock, ctx: AgentContext[FlockState]) -> FlockState:
        return ctx.state

    async def _advance(self, steps: int, ctx: AgentContext[FlockState]) -> Report:
        if steps > MAX_STEPS:
            raise ValueError(f"a message advances a flock by up to {MAX_STEPS} ticks, not {steps}; send several")
        flock = Flock.restore(ctx.state, engine=self.engine)
        if steps > 0:
            await ctx.run_sync(flock.step, steps)
            ctx.state = flock.state()
        return Report(flock.tick, flock.order())
