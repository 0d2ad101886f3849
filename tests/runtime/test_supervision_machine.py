"""The supervisor as a state machine, against the simplest model: who runs, who is gone, and never too many restarts."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from moot import Agent, AgentContext, AgentManager, Backoff, Request, RetryPolicy, Supervision, handles
from moot.testing import VirtualClockLoop

AT_ONCE = Backoff(first=0, limit=0)
NAMES = ("a", "b", "c", "d")
ERRORS: dict[str, type[Exception]] = {"resume": KeyError, "restart": ValueError, "stop": OSError}


class Work(Request[int]):
    fail: str = ""


class Worker(Agent):
    retry = RetryPolicy(max_attempts=1)

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.handled = 0

    @handles
    async def on_work(self, message: Work) -> int:
        self.handled += 1
        if message.fail:
            raise ERRORS[message.fail]
        return self.handled


class Temporary(Worker):
    restart = "temporary"


class Parent(Agent):
    """Has four children; the last is temporary. When more is escalated than it may, it is restarted itself."""

    async def on_start(self, ctx: AgentContext) -> None:
        for name in NAMES:
            await ctx.spawn((Temporary if name == "d" else Worker)(name))


class SupervisorMachine(RuleBasedStateMachine):
    """The model: how often each has handled since it was made, the times of restarts, and who is there."""

    @initialize(strategy=st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]), most=st.integers(0, 3))
    def begin(self, strategy: Any, most: int) -> None:
        self.strategy, self.most = strategy, most
        self.loop = VirtualClockLoop()
        policy = Supervision(
            strategy=strategy,
            directives=((OSError, "stop"), (ValueError, "restart")),
            max_restarts=most,
            within=30,
            backoff=AT_ONCE,
        )
        parent = type("Parent", (Parent,), {"supervision": policy})("parent")
        self.manager = AgentManager(supervision=Supervision(max_restarts=10_000, backoff=AT_ONCE))
        self.run(self.manager.start())
        self.run(self.manager.register(parent))
        self.now = 0.0
        self.times: deque[float] = deque()
        self.handled = dict.fromkeys(NAMES, 0)

    def run(self, waiting: Any) -> Any:
        return self.loop.run_until_complete(waiting)

    @rule(name=st.sampled_from(NAMES), fail=st.sampled_from(["", "resume", "restart", "stop"]))
    def work(self, name: str, fail: str) -> None:
        answer = self.run(self.ask(name, fail))
        if name not in self.handled:
            assert isinstance(answer, Exception)
            return
        self.handled[name] += 1
        if not fail:
            assert answer == self.handled[name]
        elif fail == "stop" or (fail == "restart" and name == "d"):
            del self.handled[name]
        elif fail == "restart":
            self.restart(name)

    @rule(seconds=st.sampled_from([1.0, 10.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))
        self.now += seconds

    @precondition(lambda self: hasattr(self, "handled"))
    @invariant()
    def who_is_there_is_who_should_be(self) -> None:
        there = {agent_id for agent_id in self.manager.directory.cells if agent_id != "parent"}
        assert there == set(self.handled)

    def restart(self, name: str) -> None:
        while self.times and self.times[0] <= self.now - 30:
            self.times.popleft()
        if len(self.times) >= self.most:  # the parent is made anew, with all its children
            self.handled = dict.fromkeys(NAMES, 0)
            self.times.clear()
            return
        self.times.append(self.now)
        order = [one for one in NAMES if one in self.handled]
        group = {"one_for_one": [name], "one_for_all": order, "rest_for_one": order[order.index(name) :]}[self.strategy]
        for one in group:
            if one == "d":
                del self.handled[one]
            else:
                self.handled[one] = 0

    async def ask(self, name: str, fail: str) -> Any:
        (answer,) = await asyncio.gather(self.manager.ask(name, Work(fail=fail)), return_exceptions=True)
        await self.manager.settle()
        return answer

    def teardown(self) -> None:
        if hasattr(self, "manager"):
            self.run(self.manager.stop())
            self.loop.close()


TestSupervisor = SupervisorMachine.TestCase
TestSupervisor.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
