"""Whatever raises inside the runtime, each message ends and each asker is told.

Every step that a turn takes through the runtime is made to raise, by name: once, or each time. The workload uses all
that turns can do. Afterwards no ask waits, no message is unaccounted for, nothing is left running, and the agents
still answer.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    Backoff,
    BatchPolicy,
    BreakerPolicy,
    MailboxPolicy,
    Payload,
    RateLimit,
    Request,
    RetryPolicy,
    Supervision,
    TimeoutPolicy,
    handles,
)
from moot.errors import AskTimeout, MootError
from moot.messaging.message import AgentMessage
from moot.telemetry.observer import TurnOutcome
from moot.testing import SimulatedBackend
from moot.testing.virtual_loop import run

STEPS = """
moot.runtime.dispatch.dispatcher:AgentContext
moot.runtime.dispatch.dispatcher:Dispatcher._first_context
moot.agent.handlers:Handler.argument
moot.agent.records:Records.rerun
moot.messaging.dead_letters:DeadLetters.add
moot.messaging.dead_letters:DeadLetters._keep
moot.messaging.flow_control:FlowControl.admit
moot.messaging.flow_control:FlowControl.offer
moot.messaging.flow_control:FlowControl.settle_cycles
moot.messaging.message:Numbering.following
moot.messaging.message:Numbering.request
moot.policies:Backoff.delay
moot.policies:Supervision.directive
moot.resilience.breaker:Breaker.failed
moot.resilience.breaker:Breaker.succeeded
moot.resilience.breaker:Breaker.admit
moot.runtime.cell:Cell.pause
moot.runtime.cell:Cell.renew
moot.runtime.cell:Restarts.count
moot.runtime.dispatch.commit:Commit.run
moot.runtime.dispatch.commit:Commit._finish
moot.runtime.dispatch.commit:Commit._send
moot.runtime.dispatch.commit:Commit._subscribe_and_schedule
moot.runtime.dispatch.commit:Commit._answer_and_watch
moot.runtime.dispatch.interrupts:Interrupts.look
moot.runtime.dispatch.interrupts:Interrupts.interrupt
moot.runtime.dispatch.lifecycle:Lifecycle.halt
moot.runtime.dispatch.lifecycle:Lifecycle.hold
moot.runtime.dispatch.lifecycle:Lifecycle.begin_again
moot.runtime.dispatch.rollback:Rollback._decided
moot.runtime.dispatch.rollback:Rollback._given_up
moot.runtime.dispatch.rollback:Rollback._runs_again
moot.runtime.dispatch.rollback:Rollback._wait
moot.runtime.dispatch.rollback:Rollback._take_apart
moot.runtime.dispatch.rollback:roll_back
moot.runtime.dispatch.rollback:decisive
moot.runtime.dispatch.rollback:_next_run
moot.runtime.dispatch.throttle:Throttle.take
moot.runtime.dispatch.throttle:Throttle._members
moot.runtime.dispatch.throttle:Throttle._hold
moot.runtime.dispatch.timers:Timers.put
moot.runtime.durability.asks:DurableAskTable.fail
moot.runtime.durability.asks:DurableAskTable.resolve
moot.runtime.durability.replies:ReplyCache.answered
moot.runtime.durability.replies:ReplyCache.failed
moot.runtime.durability.turn_journal:TurnJournal.accepted
moot.runtime.durability.turn_journal:TurnJournal.begun
moot.runtime.durability.turn_journal:TurnJournal.seal
moot.runtime.durability.turn_journal:TurnJournal.committed
moot.runtime.durability.turn_journal:TurnJournal.over
moot.runtime.limits:Limits.spend
moot.runtime.routing.breakers:Breakers.guard
moot.runtime.routing.breakers:Breakers.settled
moot.runtime.routing.breakers:Breakers.ended
moot.runtime.routing.death_watch:DeathWatch.add
moot.runtime.routing.delivery:Delivery.bury
moot.runtime.routing.delivery:Delivery.is_unwanted
moot.runtime.routing.delivery:Delivery.publish
moot.runtime.routing.delivery:Delivery.request
moot.runtime.routing.delivery:Delivery.send
moot.runtime.routing.directory:Directory.subscribe
moot.runtime.routing.requests:Requests._send
moot.runtime.routing.router:MessageRouter.resolve
moot.runtime.supervision:Supervisor.failed
moot.runtime.supervision:Supervisor._decide
moot.runtime.supervision:Supervisor._restart_group
moot.runtime.supervision:Supervisor._restart
moot.runtime.supervision:Supervisor._halt
moot.runtime.supervision:Supervisor._renew
moot.state.memory:InMemorySharedState.commit
moot.state.transaction:Transaction.commit
""".split()
"""Steps of the runtime by name: the module, and the function or method in it."""
ONCE = {"moot.messaging.flow_control:FlowControl.admit"}
"""Where these never work, who waits for room waits for a timeout of its own."""


class Fault(RuntimeError):
    """What is raised inside the runtime."""


class Do(Payload):
    number: int


class Ask(Request[int]):
    number: int


class Add(Payload):
    number: int


class Reading(Payload):
    number: int


class Sum(msgspec.Struct, frozen=True):
    total: int = 0


class Worker(Agent[Sum]):
    """Does all that a turn can do, and fails now and then in each way in which a turn can."""

    retry = RetryPolicy(max_attempts=2, backoff=Backoff(first=0.01, limit=0.01))
    breaker = BreakerPolicy(failures=2, reset_after=0.5)
    timeouts = TimeoutPolicy(run_timeout=2, send_timeout=1)
    mailbox = MailboxPolicy(capacity=4)

    @handles
    async def do(self, message: Do, ctx: AgentContext[Sum]) -> None:
        ctx.subscribe("news")
        ctx.watch("answerer")
        ctx.schedule(0.1, Add(message.number))
        ctx.state = Sum(ctx.state.total + message.number)
        if message.number % 4 == 1:
            ctx.send("worker", Add(message.number))
            ctx.publish("news", Add(message.number))
        if message.number % 4 == 0:
            await ctx.shared_state.set("last", message.number)
        if message.number % 4 == 2:
            await ctx.ask("answerer", Ask(message.number), timeout=1)
        if message.number % 4 == 3:
            raise ConnectionError("try again") if ctx.attempt == 1 else KeyError("for good")
        ctx.send("limited", Reading(message.number))

    @handles
    async def ask(self, message: Ask, ctx: AgentContext[Sum]) -> int:
        answer = await ctx.ask("capability:answering", Ask(message.number), timeout=1)
        ctx.state = Sum(ctx.state.total + answer)
        if message.number == 5:
            raise LookupError("restart")
        return answer

    @handles
    async def add(self, message: Add, ctx: AgentContext[Sum]) -> None:
        ctx.state = Sum(ctx.state.total + message.number)


class Answerer(Agent):
    timeouts = TimeoutPolicy(run_timeout=2)
    capabilities = ("answering",)

    @handles
    async def answer(self, message: Ask) -> int:
        if message.number == 6:
            raise ValueError("six")
        if message.number == 7:
            await asyncio.sleep(5)
        return message.number


class Limited(Agent):
    rate_limit = RateLimit(rate=50, per=1, burst=2)

    @handles(batch=BatchPolicy(max_size=3, max_wait=0.01))
    async def read(self, messages: list[Reading], ctx: AgentContext) -> None:
        if any(message.number == 4 for message in messages):
            raise ValueError("four")


class Watching:
    """An observer that fails, too."""

    def turn_started(self, agent_id: str, message: AgentMessage, attempt: int) -> str | None:
        return None

    def turn_ended(self, agent_id: str, message: AgentMessage, attempt: int, outcome: TurnOutcome) -> None:
        if attempt == 2:
            raise Fault("of the observer")


class Injected:
    """Makes the step of a name raise: in its call number ``first``, and in those after it if ``always``."""

    def __init__(self, name: str, first: int, *, always: bool) -> None:
        self.name = name
        module, _, path = name.partition(":")
        self.owner: Any = importlib.import_module(module)
        *outer, self.attribute = path.split(".")
        for part in outer:
            self.owner = getattr(self.owner, part)
        self.first = first
        self.always = always
        self.calls = 0
        self.raised = 0
        self.is_on = True

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        original: Callable[..., Any] = getattr(self.owner, self.attribute)

        def step(*args: Any, **kwargs: Any) -> Any:
            if self.is_on:
                self.calls += 1
                if self.calls == self.first or (self.always and self.calls > self.first):
                    self.raised += 1
                    raise Fault(f"in {self.attribute}")
            return original(*args, **kwargs)

        monkeypatch.setattr(self.owner, self.attribute, step)


async def workload(manager: AgentManager, fault: Injected) -> list[str]:
    """Run all that agents can do; what went wrong, in words."""
    loop = asyncio.get_running_loop()
    unhandled: list[str] = []
    loop.set_exception_handler(
        lambda loop, context: unhandled.append(f"{context['message']}: {context.get('exception')!r}")
    )
    for agent in (Worker("worker"), Answerer("answerer"), Limited("limited")):
        await manager.register(agent)
    await manager.start()
    wrong: list[str] = []
    asks = [
        asyncio.ensure_future(_ended(partial(manager.ask, "worker", Ask(number), timeout=1000))) for number in range(8)
    ]
    asks.append(asyncio.ensure_future(_ended(partial(manager.ask, "answerer", Ask(7), timeout=1000))))
    tells = [
        asyncio.ensure_future(_ended(partial(manager.tell, "worker", Do(number), timeout=1000))) for number in range(12)
    ]
    _, late = await asyncio.wait([*asks, *tells], timeout=500)
    wrong += [f"{len(late)} callers from outside wait for ever"] * bool(late)
    for number in range(3):  # when breakers let a call by again
        await asyncio.sleep(10)
        await _ended(partial(manager.ask, "worker", Ask(number), timeout=100))
    fault.is_on = False
    try:
        await asyncio.wait_for(manager.settle(), 60)
    except TimeoutError:
        wrong.append("it never settles")
    except MootError:
        return wrong  # it has given up, and said so
    for agent_id in ("worker", "answerer"):
        last = await _ended(partial(manager.ask, agent_id, Ask(1), timeout=10))
        if isinstance(last, AskTimeout):
            wrong.append(f"{agent_id} does not go on: {last!r}")
    before = loop.time()
    await manager.stop(timeout=20)
    wrong += ["the stop waits for something that does not come"] * (loop.time() - before > 15)
    wrong += [f"{error}" for error in unhandled if "dead_letter" not in fault.name]
    return wrong


async def _ended(begin: Callable[[], Any]) -> Any:
    try:
        return await begin()
    except (MootError, Fault, ValueError) as error:
        return error


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_fails_leaves_nobody_waiting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    struck = 0
    for durable in (False, True):
        for first, always in ((1, False), (2, False), (5, False), (3, name not in ONCE)):
            with monkeypatch.context() as patch:
                fault = Injected(name, first, always=always)
                fault.install(patch)
                wrong = run(workload(_manager(durable=durable), fault))
                struck += fault.raised

            assert not wrong, (durable, first, always)
    assert struck, "it is never called"


def _manager(*, durable: bool) -> AgentManager:
    supervision = Supervision("one_for_all", directives=((LookupError, "restart"),), backoff=Backoff(first=0.01))
    manager = AgentManager(SimulatedBackend() if durable else "memory://", supervision=supervision, seed=1)
    if durable:
        manager.observe(Watching())
    return manager
