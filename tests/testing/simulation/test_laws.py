"""Each built-in law is seen to break: a law that cannot be broken proves nothing.

Those that take a broken runtime are in `test_planted_bugs`; those here a user's own code, or a stop, can break.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from moot import Agent, AgentContext, AgentMessage, MailboxPolicy, Payload, handles
from moot.messaging.flow_control import FlowControl
from moot.messaging.message import form_of_payload
from moot.runtime.routing.delivery import Delivery
from moot.storable.values import loose
from moot.testing import LAWS, Faults, SimulatedManager, Simulation, simulate
from moot.testing.simulation.message_laws import PayloadsUnchanged


class Basket(Payload):
    items: list[str]


class Opaque:
    """Content that nothing can encode."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Opaque({self.value})"


class Shopper(Agent):
    """Sends what it is given, in one way or another, and changes it afterwards."""

    @handles
    async def basket(self, message: Basket, ctx: AgentContext) -> None:
        content = Basket(items=["apple"])
        match message.items[0]:
            case "send":
                ctx.send("till", content)
            case "publish":
                ctx.publish("baskets", content)
            case "schedule":
                ctx.schedule(1.0, content, to="till")
                self.later = content  # it is changed by the next turn
            case "ask":
                task = asyncio.ensure_future(_awaited(ctx.ask("till", content)))
                await asyncio.sleep(0.001)
                content.items.append("pear")
                await task
            case "change":
                content = self.later
        content.items.append("pear")


class Till(Agent):
    topics = ("baskets",)
    mailbox = MailboxPolicy(2)

    @handles
    async def basket(self, message: Basket) -> None:
        await asyncio.sleep(0)


class Anything(Agent):
    async def handle_message(self, message: AgentMessage, ctx: AgentContext) -> None:
        await asyncio.sleep(0)


async def _awaited(ask: Any) -> Any:
    return await ask


def shop(*ways: str) -> Simulation:
    async def build(manager: SimulatedManager) -> None:
        await manager.register(Shopper("shopper"))
        await manager.register(Till("till"))
        for way in ways:
            await manager.tell("shopper", Basket(items=[way]))
        await asyncio.sleep(5)

    return simulate(build, seed=1, faults=Faults(delay=1.0))  # (what is held is changed before it is taken)


@pytest.mark.parametrize("ways", [("send",), ("publish",), ("schedule", "change"), ("ask",)], ids="-".join)
def test_content_that_is_changed_after_it_was_sent_reaches_nobody(ways: tuple[str, ...]) -> None:
    assert shop(*ways).failure is None


@pytest.fixture
def uncopied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Content is sent as it is, without a copy."""
    form_of_payload(Basket)
    monkeypatch.setattr(Basket, "__moot_admit__", lambda content: content)


@pytest.mark.usefixtures("uncopied")
@pytest.mark.parametrize("ways", [("send",), ("publish",), ("schedule", "change"), ("ask",)], ids="-".join)
def test_content_that_is_changed_after_it_was_sent_is_found(ways: tuple[str, ...]) -> None:
    result = shop(*ways)

    assert result.failure == "payloads unchanged"
    assert "from 'shopper'" in result.violations[0].text
    assert "send values, and change none" in result.violations[0].text


def test_content_that_nothing_can_encode_is_compared_by_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moot.manager.client.addressed", lambda content, kind, *_: (content, kind))
    monkeypatch.setattr("moot.agent.handlers.form_of_content", lambda _: loose())

    async def build(manager: SimulatedManager) -> None:
        await manager.register(Anything("anything"))
        content = Opaque(1)
        manager.tell_nowait("anything", content, message_type="opaque")
        content.value = 2

    assert simulate(build, seed=1).failure == "payloads unchanged"


def test_mail_that_a_stop_leaves_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Delivery, "bury_mail", lambda self, cell: None)

    async def build(manager: SimulatedManager) -> None:
        await manager.register(Till("till"))
        await manager.tell("till", Basket(items=[]))
        await manager.stop(drain=False)

    results = [simulate(build, seed=seed) for seed in range(10)]  # in some of them it is handled before the stop

    found = {violation.invariant for result in results for violation in result.violations}
    assert found >= {"nothing lost", "nothing stranded"}


def test_a_message_that_ends_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    offer = FlowControl.put

    def mutant(self: FlowControl, source: Any, target: Any, message: Any) -> None:
        offer(self, source, target, message)
        self._bury(target, message, "by mistake")

    monkeypatch.setattr(FlowControl, "put", mutant)

    async def build(manager: SimulatedManager) -> None:
        await manager.register(Shopper("shopper"))
        await manager.register(Till("till"))
        await manager.tell("shopper", Basket(items=["send"]))

    laws = tuple(law for law in LAWS if law is not PayloadsUnchanged)
    result = simulate(build, seed=1, invariants=laws)

    assert result.failure == "nothing lost"
    assert "had ended before" in result.violations[0].text


@pytest.mark.usefixtures("uncopied")
def test_a_law_that_is_left_out_is_not_checked() -> None:
    async def build(manager: SimulatedManager) -> None:
        await manager.register(Shopper("shopper"))
        await manager.register(Till("till"))
        await manager.tell("shopper", Basket(items=["send"]))

    assert simulate(build, seed=1).failure == "payloads unchanged"
    assert simulate(build, seed=1, invariants=()).failure is None


class Alarm(Payload):
    pass


class Sleeper(Agent):
    """Sets its alarm anew with each basket, and cancels it with an empty one."""

    @handles
    async def basket(self, message: Basket, ctx: AgentContext) -> None:
        if message.items:
            ctx.schedule(5.0, Alarm(), name="alarm")
            ctx.schedule(9.0, Alarm(), name="alarm", every=2.0)
        else:
            ctx.unschedule("alarm")

    @handles
    async def alarm(self, message: Alarm) -> None:
        pass


def test_a_timer_whose_place_another_takes_is_not_lost() -> None:
    async def build(manager: SimulatedManager) -> None:
        await manager.register(Sleeper("sleeper"))
        for items in (["one"], ["two"], [], ["three"], []):
            await manager.tell("sleeper", Basket(items=items))
            await asyncio.sleep(10)

    simulate(build, seed=1).check()


def test_the_message_of_a_timer_that_is_replaced_too_late_is_still_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    put = FlowControl.put

    def mutant(self: FlowControl, source: Any, target: Any, message: Any) -> None:
        if message.message_type != "alarm":
            put(self, source, target, message)

    monkeypatch.setattr(FlowControl, "put", mutant)

    async def build(manager: SimulatedManager) -> None:
        await manager.register(Sleeper("sleeper"))
        await manager.tell("sleeper", Basket(items=["one"]))
        await asyncio.sleep(10)
        await manager.tell("sleeper", Basket(items=[]))

    assert simulate(build, seed=1).failure == "nothing lost"
