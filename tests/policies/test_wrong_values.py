"""A policy of a wrong type is refused where it is made or registered, by name; whatever is accepted works.

A table is generated: each field of each policy, each attribute of an agent and each option of a manager, with values of
all kinds. There is no third outcome beside an error that names the field, and an agent that answers.
"""

from __future__ import annotations

import asyncio
import decimal
import math
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
    MootError,
    Payload,
    RateLimit,
    Request,
    RetryPolicy,
    Supervision,
    TimeoutPolicy,
    TurnError,
    UnknownAgent,
    handles,
)
from moot.patterns.blackboard import Limits
from moot.patterns.contract_net import Tender
from moot.patterns.debate import DebateRules
from moot.patterns.group_chat import ChatRules
from moot.patterns.hierarchy import Delegation
from moot.patterns.saga import SagaPolicy
from moot.replication import ReplicationPolicy

ODD: list[Any] = [
    None, True, False, 0, 1, 3, -1, 10**400, 0.0, 0.5, 2.0, -0.5, math.nan, math.inf, decimal.Decimal(2), "", "4",
    "restart", "block", b"x", (), (1,), (ValueError,), [ValueError], [], {}, {ValueError: "restart"}, {ValueError: 3},
    {1: 2}, {ValueError}, ((ValueError, "restart"),), ((ValueError, "x"),), (ValueError, "x"), (ValueError, "restart"),
    ValueError, KeyboardInterrupt, (BaseException,), int, len, object(), Backoff(), Backoff, RetryPolicy(), RetryPolicy,
    Supervision(), MailboxPolicy(), asyncio.CancelledError, 1 + 2j, 1 << 62,
]  # fmt: skip

BASES: list[msgspec.Struct] = [
    MailboxPolicy(),
    MailboxPolicy(overflow="coalesce", key=str),
    Backoff(),
    RetryPolicy(),
    TimeoutPolicy(),
    RateLimit(1000.0),
    BreakerPolicy(),
    BatchPolicy(),
    Supervision(),
]
OTHERS: list[msgspec.Struct] = [
    ReplicationPolicy(),
    Limits(),
    Tender(),
    DebateRules(),
    ChatRules(),
    Delegation(),
    SagaPolicy(),
]
FIELDS = [(base, name) for base in BASES for name in base.__struct_fields__]
OTHER_FIELDS = [(base, name) for base in OTHERS for name in base.__struct_fields__]

PLACES = {
    MailboxPolicy: "mailbox",
    RetryPolicy: "retry",
    TimeoutPolicy: "timeouts",
    RateLimit: "rate_limit",
    BreakerPolicy: "breaker",
    Supervision: "supervision",
}


CALLED = {"capacity": "a mailbox", "max_size": "a batch", "max_deaths": "the process may die"}
"""What errors about the size of a number call its field."""


BAD: Any = "5"
retry: Any = RetryPolicy
mailbox: Any = MailboxPolicy
supervision: Any = Supervision


class Say(Request[str]):
    what: str = "x"
    fails: bool = False


class Failed(Exception):
    pass


class Echo(Agent):
    @handles
    async def say(self, message: Say, ctx: AgentContext) -> str:
        if message.fails:
            raise Failed("as asked")
        return message.what


class Boss(Echo):
    """Its child fails."""

    @handles
    async def say(self, message: Say, ctx: AgentContext) -> str:
        if not message.fails:
            return message.what
        child = await ctx.spawn(Echo("child"))
        return str(await ctx.ask(child, message))


def made(base: msgspec.Struct, name: str, value: Any) -> msgspec.Struct | None:
    """The policy with this value, or None if it is refused; then the error names the field."""
    given = {field: getattr(base, field) for field in base.__struct_fields__}
    try:
        return type(base)(**{**given, name: value})
    except (TypeError, ValueError) as error:
        names(error, name if name in str(error) else CALLED.get(name, name))
        return None


def names(error: Exception, *words: str) -> None:
    assert all(word in str(error) for word in words), error


async def answers(agent: Agent[Any], **policies: Any) -> None:
    """The agent takes a message, fails one, and goes on."""
    async with AgentManager() as manager:
        await manager.register(agent, **policies)
        assert await manager.ask(agent.id, Say("here"), timeout=1e6) == "here"
        with pytest.raises(MootError):
            await manager.ask(agent.id, Say(fails=True), timeout=1e6)


@pytest.mark.parametrize(("base", "name"), FIELDS, ids=[f"{type(base).__name__}.{name}" for base, name in FIELDS])
async def test_each_value_of_a_policy_is_refused_by_name_or_an_agent_that_has_it_answers(
    base: msgspec.Struct, name: str
) -> None:
    accepted = [policy for value in ODD if (policy := made(base, name, value)) is not None]

    for policy in accepted:
        if isinstance(policy, Backoff):
            await answers(Echo("echo"), retry=RetryPolicy(2, policy, (Failed,)))
            await answers(Boss("boss"), supervision=supervision(directives={Failed: "restart"}, backoff=policy))
        elif isinstance(policy, BatchPolicy):
            if policy.max_wait < 1e5:  # (more is as good as for ever)
                await answers(batching(policy))
        else:
            await answers(Echo("echo"), **{PLACES[type(policy)]: policy})
            if isinstance(policy, Supervision):
                await answers(Boss("boss"), supervision=policy)


def batching(policy: BatchPolicy) -> Agent[Any]:
    class Batching(Agent):
        @handles(batch=policy)
        async def say(self, messages: list[Say]) -> list[str]:
            if any(message.fails for message in messages):
                raise Failed
            return [message.what for message in messages]

    return Batching("batching")


@pytest.mark.parametrize(
    ("base", "name"), OTHER_FIELDS, ids=[f"{type(base).__name__}.{name}" for base, name in OTHER_FIELDS]
)
def test_the_policies_of_patterns_and_replicas_are_of_the_types_that_they_declare(
    base: msgspec.Struct, name: str
) -> None:
    present = getattr(base, name)

    for value in ODD:
        try:
            given = {field: getattr(base, field) for field in base.__struct_fields__}
            policy = type(base)(**{**given, name: value})
        except (TypeError, ValueError):
            continue
        kept = getattr(policy, name)
        assert callable(kept) or value is None or type(kept) in (type(present), int, float, str), (name, value)
        assert type(kept) is not bool or type(present) is bool


ATTRIBUTES = [
    "mailbox", "retry", "timeouts", "rate_limit", "breaker", "supervision", "restart", "concurrency",
    "cancel_with_asker", "state_version", "capabilities", "topics",
]  # fmt: skip


@pytest.mark.parametrize("attribute", ATTRIBUTES)
async def test_each_attribute_of_an_agent_is_refused_with_its_name_and_the_agents_or_the_agent_answers(
    attribute: str,
) -> None:
    for value in ODD:
        odd = type("Odd", (Echo,), {attribute: value})("odd")
        try:
            await answers(odd)
        except (TypeError, ValueError) as error:
            names(error, "'odd'", attribute)


@pytest.mark.parametrize(
    "attribute", ["mailbox", "retry", "timeouts", "rate_limit", "breaker", "supervision", "restart"]
)
async def test_so_is_each_policy_of_a_registration(attribute: str) -> None:
    for value in ODD:
        try:
            await answers(Echo("odd"), **{attribute: value})
        except (TypeError, ValueError) as error:
            names(error, "'odd'", attribute)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: retry(backoff=0.01), r"backoff is a Backoff, not 0\.01; write backoff=Backoff\(first=0\.01\)"),
        (lambda: retry(retry_on=(ValueError, "x")), "retry_on is a tuple, each item of it a class of Exception"),
        (lambda: retry(retry_on=KeyboardInterrupt), "a class of Exception, not the class KeyboardInterrupt"),
        (lambda: retry(max_attempts=True), "max_attempts is a whole number, not True"),
        (lambda: mailbox(capacity=10.0), "capacity is a whole number, not 10.0"),
        (lambda: mailbox(overflow="burst"), "overflow is one of block, fail"),
        (lambda: mailbox(overflow="coalesce", key="id"), "key is a function or None, not 'id'"),
        (lambda: TimeoutPolicy(run_timeout=BAD), "run_timeout is a number or None, not '5'"),
        (lambda: RateLimit(BAD), "rate is a number, not '5'"),
        (lambda: BreakerPolicy(reset_after=math.nan), "reset_after is a number, not nan"),
        (lambda: supervision(directives={ValueError: "again"}), "directive for ValueError is one of resume"),
        (lambda: supervision(directives={"ValueError": "restart"}), "directives is a tuple, each item of it a pair"),
        (lambda: supervision(directives="restart"), "directives is a tuple"),
    ],
)  # fmt: skip
def test_the_error_says_what_the_field_is_and_what_was_given(make: Any, text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        make()


@pytest.mark.parametrize(
    ("attribute", "value", "text"),
    [
        ("retry", 3, r"agent 'odd': retry is a RetryPolicy, not 3; write retry=RetryPolicy\(max_attempts=3\)"),
        ("mailbox", 10, r"mailbox is a MailboxPolicy, not 10; write mailbox=MailboxPolicy\(capacity=10\)"),
        ("timeouts", 5, r"write timeouts=TimeoutPolicy\(run_timeout=5\)"),
        ("rate_limit", 5, r"rate_limit is a RateLimit or None, not 5; write rate_limit=RateLimit\(rate=5\)"),
        ("breaker", BreakerPolicy, r"not the class BreakerPolicy; write breaker=BreakerPolicy\("),
        ("supervision", "restart", r"supervision is a Supervision, not 'restart'"),
        ("restart", "always", "restart is one of permanent, transient, temporary, not 'always'"),
        ("concurrency", "4", "agent 'odd': concurrency is a whole number, not '4'"),
        ("concurrency", 0, "concurrency is at least 1, not 0"),
        ("cancel_with_asker", "yes", "cancel_with_asker is True or False, not 'yes'"),
        ("capabilities", ("search", 3), r"capabilities is a tuple, each item of it text, .* write capabilities = \("),
        ("capabilities", ("capability:search",), "no 'capability:' before it"),
        ("topics", "", "'' in topics is no name"),
    ],
)
async def test_the_error_of_a_registration_names_the_agent_and_says_what_to_write(
    attribute: str, value: Any, text: str
) -> None:
    async with AgentManager() as manager:
        with pytest.raises((TypeError, ValueError), match=text):
            await manager.register(type("Odd", (Echo,), {attribute: value})("odd"))

        assert await manager.register(Echo("odd")) == "odd"  # nothing is left of the one that was refused


async def test_one_is_taken_where_a_tuple_is_meant() -> None:
    assert retry(retry_on=Failed).retry_on == retry(retry_on=[Failed]).retry_on == (Failed,)
    assert supervision(directives={Failed: "stop"}).directives == ((Failed, "stop"),)

    class Searcher(Echo):
        capabilities = "search"  # type: ignore[assignment]
        topics = ["news"]  # type: ignore[assignment]

    async with AgentManager() as manager:
        await manager.register(Searcher("searcher"))

        assert manager.find("search") == ["searcher"]
        assert manager.find("s") == []
        assert manager.card("searcher").capabilities == ("search",)
        assert manager.card("searcher").topics == ("news",)
        assert await manager.publish("news", Say()) == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"supervision": 3}, r"supervision is a Supervision, not 3; write supervision=Supervision\(max_restarts=3\)"),
        ({"deadlocks": "ignore"}, "deadlocks is one of break, report, off"),
        ({"deadlocks": None}, "deadlocks"),
        ({"watchdog": "1"}, "watchdog is a number or None"),
        ({"watchdog": math.inf}, "watchdog"),
        ({"ready": 1}, "ready= takes a queue"),
        ({"url": 5}, "url= is a Backend, or a string, not 5"),
        ({"url": None}, "url= is a Backend"),
        ({"engine": 5}, "engine= is an Engine, or a string, not 5"),
        ({"shared_state": {}}, "shared_state= is a SharedState"),
        ({"clock": 0.0}, "clock= is a Clock"),
        ({"seed": "7"}, "seed= is a whole number"),
        ({"seed": 1.5}, "seed= is a whole number"),
        ({"seed": True}, "seed= is a whole number"),
    ],
)
def test_an_option_of_a_wrong_type_is_refused_where_the_manager_is_made(options: dict[str, Any], text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        AgentManager(**options)


@pytest.mark.parametrize("count", [0, -1, True, 2.0, "2", None])
async def test_a_wrong_count_registers_nothing(count: Any) -> None:
    async with AgentManager() as manager:
        with pytest.raises((TypeError, ValueError), match=r"count|at least 1"):
            await manager.register(Echo, count=count)
        with pytest.raises(TypeError, match="is for a class of agents"):
            await manager.register(Echo("a"), count=2)  # type: ignore[call-overload]

        assert manager.stats().agents == 0


class Note(Payload):
    text: str = ""


WRONG_CALLS: dict[str, Any] = {
    "send to": lambda ctx: ctx.send(5, Note()),
    "send type": lambda ctx: ctx.send("odd", {}, message_type=5),
    "send priority": lambda ctx: ctx.send("odd", Note(), priority="high"),
    "send priority, too large": lambda ctx: ctx.send("odd", Note(), priority=1 << 62),
    "publish": lambda ctx: ctx.publish(5, Note()),
    "forward": lambda ctx: ctx.forward(5),
    "delay": lambda ctx: ctx.schedule("1", Note()),
    "delay, decimal": lambda ctx: ctx.schedule(decimal.Decimal(1), Note()),
    "delay, true": lambda ctx: ctx.schedule(True, Note()),
    "every": lambda ctx: ctx.schedule(1, Note(), every="1"),
    "timer": lambda ctx: ctx.schedule(1, Note(), name=5),
    "timer to": lambda ctx: ctx.schedule(1, Note(), to=5),
    "unschedule": lambda ctx: ctx.unschedule(5),
    "subscribe": lambda ctx: ctx.subscribe(("news",)),
    "unsubscribe": lambda ctx: ctx.unsubscribe(5),
    "watch": lambda ctx: ctx.watch(5),
    "unwatch": lambda ctx: ctx.unwatch(None),
    "ask timeout": lambda ctx: ctx.ask("odd", Note(), timeout="1"),
    "ask timeout, nan": lambda ctx: ctx.ask("odd", Note(), timeout=math.nan),
    "ask timeout, none": lambda ctx: ctx.ask("odd", Note(), timeout=None),
    "ask type": lambda ctx: ctx.ask("odd", {}, message_type=5),
}


class Odd(Agent):
    def __init__(self, agent_id: str, call: Any) -> None:
        super().__init__(agent_id)
        self.call = call

    @handles
    async def say(self, message: Say, ctx: AgentContext) -> str:
        if message.fails:
            await self.call(ctx)
        return message.what


@pytest.mark.parametrize("call", WRONG_CALLS.values(), ids=WRONG_CALLS)
async def test_an_argument_of_a_wrong_type_fails_the_turn_that_gives_it_and_nothing_else(call: Any) -> None:
    async with AgentManager() as manager:
        await manager.register(Odd("odd", call))

        with pytest.raises(TurnError, match=r"is text|is a number|is a whole number|above 0 s|lies between"):
            await manager.ask("odd", Say(fails=True))
        assert await manager.ask("odd", Say("after it")) == "after it"


@pytest.mark.parametrize("to", [5, None, ("odd",), ["odd"]])
@pytest.mark.parametrize("timeout", [30.0, decimal.Decimal(3)])
async def test_an_ask_of_no_address_or_with_an_odd_number_of_seconds_is_told_and_nothing_hangs(
    to: Any, timeout: Any
) -> None:
    async with AgentManager() as manager:
        await manager.register(Odd("odd", lambda ctx: ctx.ask(to, Note(), timeout=timeout)))

        with pytest.raises(TurnError):
            await manager.ask("odd", Say(fails=True))
        with pytest.raises((TypeError, AttributeError, UnknownAgent)):
            await manager.ask(to, Say(), timeout=timeout)
        assert await manager.ask("odd", Say("after it")) == "after it"
        assert manager.stats().open_asks == 0


@pytest.mark.parametrize("timeout", ["1", None, math.nan, math.inf, -1, decimal.Decimal(1), True])
async def test_a_wrong_timeout_of_a_tell_that_waits_for_room_loses_and_leaves_nothing(timeout: Any) -> None:
    class Slow(Echo):
        mailbox = MailboxPolicy(capacity=1)

    slow = Slow("slow")
    async with AgentManager() as manager:
        await manager.register(slow)
        manager.tell_nowait("slow", Say("fills the mailbox"))
        with pytest.raises((TypeError, ValueError), match="timeout"):
            await manager.tell("slow", Say("too many"), timeout=timeout)
        if timeout != math.inf:
            with pytest.raises((TypeError, ValueError), match="timeout="):
                await manager.stop(timeout=timeout)

        await manager.settle()
        assert manager.stats().turns == 1
        assert await manager.ask("slow", Say("after it")) == "after it"


@pytest.mark.parametrize("given", [{"batch": 3}, {"rate": 10}, {"batch": BatchPolicy}, {"rate": "10/s"}])
def test_what_a_handler_is_marked_with_is_a_policy(given: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"takes a (BatchPolicy|RateLimit)"):
        handles(**given)


async def test_only_an_agent_is_spawned_and_hosted_by_what_makes_one() -> None:
    class Parent(Echo):
        @handles
        async def say(self, message: Say, ctx: AgentContext) -> str:
            return await ctx.spawn(Echo)  # type: ignore[arg-type]

    async with AgentManager() as manager:
        await manager.register(Parent("parent"))

        with pytest.raises(TurnError, match="is no agent; make one"):
            await manager.ask("parent", Say())
        with pytest.raises(TypeError, match="agents are hosted by what makes one"):
            manager.host(Echo("x"), domain="d")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="domain= is text"):
            manager.host(Echo, domain=5)  # type: ignore[arg-type]
