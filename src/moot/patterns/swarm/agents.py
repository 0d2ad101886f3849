"""A swarm of agents: `SwarmAgent` is one boid, `Swarm` is the air between them.

A boid knows nothing but where it is, and moves by what it hears. It tells the swarm, which tells each boid of those
near it: two messages a boid and tick, where boids that told each other would send N². The environment that mediates
what agents perceive is D. Weyns, A. Omicini, J. Odell, "Environment as a first class abstraction in multiagent
systems", JAAMAS 14, 2007.

A tick is over when all have told where they are, or when ``patience`` is. Who is silent then is seen where it was last;
after ``forget_after`` ticks it is not seen, nor waited for, and shown where it is only every so many ticks, until it
is heard again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from moot import Agent, AgentContext, BatchPolicy, MailboxPolicy, Payload, ReplyTo, TimeoutPolicy, handles
from moot.patterns.swarm.boid import moved
from moot.patterns.swarm.flock import Flock, polar_order
from moot.patterns.swarm.kdtree import neighbours
from moot.patterns.swarm.messages import Fly, GetPositions, Neighbourhood, PositionUpdate, SwarmReport
from moot.patterns.swarm.neighbours import is_news, joined, missing, silent
from moot.patterns.swarm.rules import Box, Rules, Vector
from moot.patterns.swarm.sums import Floats

__all__ = ["MAX_BOIDS", "MAX_TICKS", "Swarm", "SwarmAgent", "SwarmState", "swarm_of"]

MAX_BOIDS = 1_000
"""Boids that are agents; a `Flock` in a `FlockAgent` holds more."""
MAX_TICKS = 100_000
"""How far ahead a swarm may be asked to fly; nobody can call it back."""
_MAX_WAITING = 100


class SwarmAgent(Agent[PositionUpdate]):
    """One boid, which moves when its ``swarm`` shows it its neighbourhood. Where it is is its state.

    ``place`` is the position and the velocity that it begins with. Of neighbourhoods that wait the newest is enough, so
    nobody waits for a boid that hangs.
    """

    mailbox = MailboxPolicy(capacity=2, overflow="drop_oldest")

    def __init__(self, agent_id: str, swarm: str, place: tuple[Vector, Vector], rules: Rules, box: Box) -> None:
        super().__init__(agent_id)
        box.check_fits(rules)
        self.swarm, self.rules, self.box = swarm, rules, box
        self.begins = PositionUpdate(0, *place)
        if not is_news(self.begins, None, 0, rules, box):
            raise ValueError(f"{agent_id!r} begins in the box {box.sides}, at speed {rules.speed:g}, not with {place}")

    def initial_state(self) -> PositionUpdate:
        """Where it begins, at tick 0."""
        return self.begins

    @handles
    async def see(self, message: Neighbourhood, ctx: AgentContext[PositionUpdate]) -> None:
        if ctx.sender != self.swarm:
            return
        here = ctx.state
        if here.tick <= message.tick:
            random = ctx.random if self.rules.noise else None
            place = moved(self.rules, self.box, here.position, here.velocity, message.others, random)
            here = ctx.state = PositionUpdate(message.tick + 1, *place)
        ctx.send(self.swarm, here)


class SwarmState(msgspec.Struct, frozen=True):
    """The tick that is over (-1 before the first), the one to reach, what was heard, and who waits for which tick."""

    tick: int = -1
    until: int = -1
    heard: dict[str, PositionUpdate] = {}
    waiting: tuple[tuple[int, ReplyTo], ...] = ()


class Overdue(Payload):
    """The swarm to itself: who has not told where it is after ``tick`` is no longer waited for."""

    message_type = "swarm_overdue"
    tick: int


class Swarm(Agent[SwarmState]):
    """Shows each boid its neighbours, tick by tick, until the one that it was asked to fly to.

    ``patience`` is in seconds, ``forget_after`` in ticks. Updates that no boid can truthfully send are dropped: others
    never see them.
    """

    mailbox = MailboxPolicy(capacity=4 * MAX_BOIDS)
    timeouts = TimeoutPolicy(send_timeout=0)  # a boid that was not shown a tick is shown the next

    def __init__(
        self,
        agent_id: str,
        boids: Sequence[str],
        rules: Rules,
        box: Box,
        *,
        patience: float = 1.0,
        forget_after: int = 5,
    ) -> None:
        super().__init__(agent_id)
        self.boids = tuple(dict.fromkeys(boids))
        if not 1 <= len(self.boids) <= MAX_BOIDS:
            raise ValueError(f"a swarm is of 1 to {MAX_BOIDS} boids, not {len(self.boids)}; a FlockAgent holds more")
        if not 0 < patience < math.inf or forget_after < 1:
            raise ValueError(
                f"patience is above 0 s and finite, forget_after 1 or more, not {patience:g}, {forget_after}"
            )
        box.check_fits(rules)
        self.rules, self.box = rules, box
        self.patience, self.forget_after = patience, forget_after
        self.members = frozenset(self.boids)

    @handles
    def fly(self, message: Fly, ctx: AgentContext[SwarmState]) -> SwarmReport | None:
        state = ctx.state
        if message.until <= state.tick:
            return self.report(state)
        if not message.until - state.tick <= MAX_TICKS:
            raise ValueError(f"a swarm flies up to {MAX_TICKS} ticks on, not from {state.tick} to {message.until}")
        is_flying = state.until > state.tick
        waiting = state.waiting
        if ctx.reply_to is not None:
            waiting = tuple((tick, to) for tick, to in waiting if to.deadline is None or to.deadline > ctx.now())
            if len(waiting) >= _MAX_WAITING:
                raise ValueError(f"{_MAX_WAITING} wait for this swarm already; ask again later")
            waiting = (*waiting, (message.until, ctx.defer()))
        ctx.state = msgspec.structs.replace(state, until=max(message.until, state.until), waiting=waiting)
        if not is_flying:
            self._show(ctx)
        return None

    @handles
    def get_positions(self, message: GetPositions, ctx: AgentContext[SwarmState]) -> dict[str, PositionUpdate]:
        return ctx.state.heard

    @handles(batch=BatchPolicy(max_size=MAX_BOIDS))
    def hear(self, messages: list[PositionUpdate], ctx: AgentContext[SwarmState]) -> list[None]:
        state = ctx.state
        heard, now = state.heard, state.tick + 1
        news = [
            (envelope.sender, update)
            for envelope, update in zip(ctx.messages, messages, strict=True)
            if envelope.sender in self.members
            and is_news(update, heard.get(envelope.sender), now, self.rules, self.box)
        ]
        if news:
            ctx.state = msgspec.structs.replace(state, heard=joined(heard, news))
        if news and state.until > state.tick and not missing(self.boids, ctx.state.heard, now, self.forget_after):
            self._go_on(ctx)
        return [None] * len(messages)

    @handles
    def overdue(self, message: Overdue, ctx: AgentContext[SwarmState]) -> None:
        if ctx.sender == self.id and message.tick == ctx.state.tick < ctx.state.until:
            self._go_on(ctx)

    def _go_on(self, ctx: AgentContext[SwarmState]) -> None:
        """The tick is over: answer those who waited for it, and begin the next, or rest."""
        state = msgspec.structs.replace(ctx.state, tick=ctx.state.tick + 1)
        for tick, to in state.waiting:
            if tick <= state.tick:
                ctx.send(to, self.report(state))
        ctx.state = msgspec.structs.replace(
            state, waiting=tuple(waiter for waiter in state.waiting if waiter[0] > state.tick)
        )
        if state.tick < state.until:
            self._show(ctx)
        else:
            ctx.unschedule("overdue")

    def _show(self, ctx: AgentContext[SwarmState]) -> None:
        """Show each boid those near it; one that was never heard of is shown nothing, and tells where it is."""
        tick, heard = ctx.state.tick, ctx.state.heard
        away = set(silent(self.boids, heard, tick, self.forget_after))
        seen = [heard[boid] for boid in self.boids if boid in heard and boid not in away]
        shown = [boid for boid in self.boids if boid not in away or tick % self.forget_after == 0]
        known = [boid for boid in shown if boid in heard]
        near = neighbours(_places(heard[boid] for boid in known), _places(seen), self.rules.r, self.box)
        for boid, numbers in zip(known, near, strict=True):
            own = heard[boid]
            ctx.send(boid, Neighbourhood(tick, tuple([seen[number] for number in numbers if seen[number] is not own])))
        for boid in shown:
            if boid not in heard:
                ctx.send(boid, Neighbourhood(tick))
        ctx.schedule(self.patience, Overdue(tick), every=self.patience, name="overdue")

    def report(self, state: SwarmState) -> SwarmReport:
        """What is known of the swarm."""
        away = silent(self.boids, state.heard, state.tick, self.forget_after)
        here = (self.members & state.heard.keys()).difference(away)
        present = [state.heard[boid].velocity for boid in self.boids if boid in here]
        return SwarmReport(state.tick, polar_order(present) if present else 0.0, len(present), tuple(away))


def swarm_of(flock: Flock, agent_id: str = "swarm", **options: Any) -> list[Agent[Any]]:
    """The agents that fly as ``flock`` would: a `Swarm`, with these options, and a `SwarmAgent` for each boid."""
    boids = [f"{agent_id}_{number}" for number in range(len(flock))]
    places = zip(flock.positions.tolist(), flock.velocities.tolist(), strict=True)
    return [
        Swarm(agent_id, boids, flock.rules, flock.box, **options),
        *(
            SwarmAgent(boid, agent_id, (tuple(position), tuple(velocity)), flock.rules, flock.box)
            for boid, (position, velocity) in zip(boids, places, strict=True)
        ),
    ]


def _places(updates: Iterable[PositionUpdate]) -> Floats:
    return np.array([update.position for update in updates])
