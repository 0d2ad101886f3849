"""Eight boids that are agents find an order, and a flock on disk flies as one that was never interrupted.

One boid hangs, one crashes again and again, one tells rubbish; the others are none the worse for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
from collections.abc import Sequence
from typing import Any

from moot import Agent, AgentContext, DeliveryError, handles
from moot.patterns.swarm import (
    AdvanceTo,
    Boids,
    Box,
    Flock,
    FlockAgent,
    Fly,
    GetFlock,
    GetPositions,
    Neighbourhood,
    PositionUpdate,
    SwarmAgent,
    polar_order,
    swarm_of,
)
from tests.patterns.suite import CLIENT, Begin, plainly

N, TICKS = 8, 18
RULES, BOX = Boids(r=1.9, alignment=0.5), Box.cube(4.0)
NOISY = Boids(noise=0.4)
MOVES = (3, 7, 7, 10)
FORGET_AFTER = 3


def start() -> Flock:
    return Flock(N, RULES, box=BOX, seed=3)


class Hanging(SwarmAgent):
    @handles
    async def see(self, message: Neighbourhood, ctx: AgentContext[PositionUpdate]) -> None:
        if message.tick == 6:
            await asyncio.sleep(3)
        await super().see(message, ctx)


class Rubbish(SwarmAgent):
    @handles
    async def see(self, message: Neighbourhood, ctx: AgentContext[PositionUpdate]) -> None:
        if message.tick % 4 == 1:
            ctx.send(self.swarm, PositionUpdate(message.tick + 1, (math.nan, 1e308), (0.0, 0.0)))
        else:
            await super().see(message, ctx)


class Crashing(SwarmAgent):
    @handles
    async def see(self, message: Neighbourhood, ctx: AgentContext[PositionUpdate]) -> None:
        await super().see(message, ctx)
        if message.tick % 5 == 4:
            raise LookupError("a boid has crashed")


class Client(Agent):
    @handles
    async def begin(self, message: Begin, ctx: AgentContext) -> None:
        for tick in range(TICKS // 3, TICKS + 1, TICKS // 3):
            await self.patiently(ctx, "swarm", Fly(tick))
        for tick in MOVES:
            await self.patiently(ctx, "flock", AdvanceTo(tick))
        heard = await self.patiently(ctx, "swarm", GetPositions())
        state = await self.patiently(ctx, "flock", GetFlock())
        places = [(update.tick, update.position, update.velocity) for update in heard.values()]
        await ctx.shared_state.set("outcome", plainly({"boids": places, "flock": digest(state)}))

    async def patiently(self, ctx: AgentContext, to: str, request: Any) -> Any:
        for _ in range(20):
            with contextlib.suppress(DeliveryError):
                return await ctx.ask(to, request, timeout=100)
        return await ctx.ask(to, request, timeout=100)


def digest(state: Any) -> tuple[int, str]:
    return state.tick, hashlib.sha256(state.positions + state.velocities).hexdigest()


def flying() -> FlockAgent:
    return FlockAgent("flock", 20, NOISY, box=Box.cube(3.0, 3), seed=9, engine="kdtree")


def agents() -> Sequence[Agent[Any]]:
    swarm, *boids = swarm_of(start(), patience=0.3, forget_after=FORGET_AFTER)
    unwell = {0: Hanging, 1: Rubbish, 2: Crashing}
    for number, kind in unwell.items():
        boid: Any = boids[number]
        boids[number] = kind(boid.id, "swarm", (boid.begins.position, boid.begins.velocity), RULES, BOX)
    return [Client(CLIENT), swarm, *boids, flying()]


def judge(state: dict[str, Any]) -> list[str]:
    outcome = state["outcome"]
    places = [(tick, tuple(position), tuple(velocity)) for tick, position, velocity in outcome["boids"]]
    wrong = [f"a boid is at {position}" for _, position, _ in places if not BOX.contains(position)]
    wrong += [f"a boid flies at {v}" for _, _, v in places if not math.isclose(math.hypot(*v), RULES.speed)]
    wrong += [f"a boid is at tick {tick}" for tick, _, _ in places if not 0 <= tick <= TICKS]
    if len(places) < N - 3:
        wrong.append(f"{len(places)} boids were heard of")
    order = polar_order([velocity for tick, _, velocity in places if tick >= TICKS - FORGET_AFTER])
    if order < 0.5:  # by chance 0.35; those that are far behind see nobody
        wrong.append(f"order {order:.2f} after {TICKS} ticks, {start().order():.2f} at first")
    wanted = digest(Flock(20, NOISY, box=Box.cube(3.0, 3), seed=9, engine="kdtree").step(MOVES[-1]).state())
    if tuple(outcome["flock"]) != wanted:
        wrong.append(f"the flock is {outcome['flock']}, not {wanted}")
    return wrong
