"""The swarm's protocol against the simplest model: whatever is lost, late, repeated or out of order.

The model knows of each boid the newest update that arrived; a tick is over when none is awaited, or when it is overdue.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from moot import ReplyTo
from moot.patterns.swarm import Boids, Box, Fly, Neighbourhood, PositionUpdate, Swarm, SwarmAgent
from moot.patterns.swarm.agents import Overdue, SwarmState
from moot.testing import FakeContext

N, FORGET_AFTER = 3, 2
RULES, BOX = Boids(), Box.cube(4.0)
NAMES = [f"boid_{number}" for number in range(N)]
SOME = st.integers(0, 1_000_000)


def done(handling: Coroutine[Any, Any, Any]) -> Any:
    """What a handler that never waits returns; a loop for each would take most of the time."""
    try:
        handling.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("the handler waits")


class SwarmMachine(RuleBasedStateMachine):
    """Messages lie in a heap from which any one is delivered, kept for a second time, or lost."""

    @initialize()
    def begin(self) -> None:
        self.swarm = Swarm("swarm", NAMES, RULES, BOX, forget_after=FORGET_AFTER)
        self.boids = {
            name: SwarmAgent(name, "swarm", ((1.0 + number / 4, 1.0), (0.05, 0.0)), RULES, BOX)
            for number, name in enumerate(NAMES)
        }
        self.state = SwarmState()
        self.states = {name: boid.begins for name, boid in self.boids.items()}
        self.heap: list[tuple[str, str, Any]] = []
        self.timer: Overdue | None = None
        self.answers: dict[int, int] = {}
        self.asked = 0
        self.tick, self.until = -1, -1
        self.arrived = dict.fromkeys(NAMES, -1)

    def run(self, agent: Any, content: Any, sender: str, state: Any) -> tuple[Any, FakeContext]:
        context = FakeContext.of(message=content, agent_id=agent.id, sender=sender, state=state)
        answer = done(context.handle(agent))
        for to, sent in context.sent:
            if isinstance(to, ReplyTo):
                self.answers[sent.tick] = self.answers.get(sent.tick, 0) + 1
            else:
                self.heap.append((agent.id, to, sent))
        return answer, context

    def told(self, content: Any, sender: str) -> Any:
        answer, context = self.run(self.swarm, content, sender, self.state)
        self.state = context.state
        for _, timer in context.scheduled:
            self.timer = timer
        return answer

    @rule(ahead=st.integers(0, 4))
    def fly(self, ahead: int) -> None:
        goal = max(0, self.tick) + ahead
        self.asked += 1
        answer = self.told(Fly(goal), "client")

        if goal <= self.tick:
            assert answer.tick == self.tick
            self.answers[self.tick] = self.answers.get(self.tick, 0) + 1
        self.until = max(self.until, goal)

    @precondition(lambda self: self.heap)
    @rule(which=SOME, fate=st.sampled_from(["once", "once", "once", "again", "lost"]))
    def deliver(self, which: int, fate: str) -> None:
        sender, to, content = self.heap[which % len(self.heap)]
        if fate != "again":
            del self.heap[which % len(self.heap)]
        if fate == "lost":
            return
        if isinstance(content, PositionUpdate):
            is_news = content.tick > self.arrived[sender]
            self.arrived[sender] = max(self.arrived[sender], content.tick)
            self.told(content, sender)
            if is_news and self.tick < self.until and not self.awaited():
                self.tick += 1
            return
        assert isinstance(content, Neighbourhood)
        before = self.states[to]
        _, context = self.run(self.boids[to], content, "swarm", before)
        self.states[to] = context.state
        assert context.state.tick == max(before.tick, content.tick + 1)
        assert (context.state.position != before.position) == (content.tick >= before.tick)

    @precondition(lambda self: self.timer is not None)
    @rule()
    def patience_ends(self) -> None:
        assert self.timer is not None
        is_current = self.timer.tick == self.tick < self.until
        self.told(self.timer, "swarm")
        self.tick += is_current

    def awaited(self) -> list[str]:
        now = self.tick + 1
        return [name for name, tick in self.arrived.items() if now - FORGET_AFTER <= tick < now]

    @invariant()
    def the_swarm_is_where_the_model_is(self) -> None:
        if not hasattr(self, "state"):
            return
        assert (self.state.tick, self.state.until) == (self.tick, self.until)
        assert {name: update.tick for name, update in self.state.heard.items()} == {
            name: tick for name, tick in self.arrived.items() if tick >= 0
        }
        assert all(state.tick <= self.tick + 1 for state in self.states.values())
        assert sum(self.answers.values()) + len(self.state.waiting) == self.asked
        assert all(goal > self.tick for goal, _ in self.state.waiting)


TestSwarmMachine = SwarmMachine.TestCase
TestSwarmMachine.settings = settings(max_examples=150, stateful_step_count=40)
