"""Contract net: a task goes to who offers to do it best, to one after the other, and is done if anyone can do it."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from moot import Agent, AgentContext, AgentManager, AskTimeout, Payload, TurnError, handles
from moot.patterns.contract_net import (
    AcceptProposal,
    Award,
    CallForProposals,
    ContractInitiator,
    Contractor,
    Inform,
    NoContractor,
    Propose,
    Refuse,
    RejectProposal,
    Tender,
    contract_net,
)
from moot.testing import FakeContext


class Builder(Contractor):
    """Offers to build for ``cost``, after ``thinks`` seconds; builds for ``works`` seconds, or fails."""

    capabilities = ("building",)

    def __init__(
        self, agent_id: str, cost: float, *, thinks: float = 0.0, works: float = 0.0, fails: bool = False
    ) -> None:
        super().__init__(agent_id)
        self.cost = cost
        self.thinks = thinks
        self.works = works
        self.fails = fails
        self.built: list[Any] = []
        self.rejected = 0
        self.cancelled = 0

    async def propose(self, call: CallForProposals, ctx: AgentContext) -> Any:
        await asyncio.sleep(self.thinks)
        return Propose(self.cost) if self.cost > 0 else Refuse("no time")

    async def perform(self, accept: AcceptProposal, ctx: AgentContext) -> str:
        try:
            await asyncio.sleep(self.works)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.fails:
            raise ValueError("it fell down")
        self.built.append(accept.task)
        return f"{accept.task} by {self.id}"

    @handles
    async def on_reject(self, reject: RejectProposal, ctx: AgentContext) -> None:
        self.rejected += 1


async def award(task: Any, *builders: Agent[Any], tender: Tender | None = None, timeout: float = 300) -> Inform:
    async with AgentManager() as manager:
        for builder in builders:
            await manager.register(builder)
        await manager.register(ContractInitiator("initiator", "capability:building", tender))
        found = await manager.ask("initiator", Award(task), timeout=timeout)
        await manager.settle()
        return found


async def test_the_lowest_cost_wins_and_the_others_are_rejected() -> None:
    builders = [Builder("a", 30), Builder("b", 20), Builder("c", 40), Builder("d", 0)]

    found = await award("a house", *builders)

    assert (found.contractor, found.result, found.proposal.cost, found.tried) == ("b", "a house by b", 20, ())
    assert [builder.rejected for builder in builders] == [1, 0, 1, 0]
    assert [len(builder.built) for builder in builders] == [0, 1, 0, 0]


async def test_of_equal_proposals_the_one_asked_first_wins() -> None:
    assert (await award(1, Builder("b", 5), Builder("a", 5))).contractor == "b"


async def test_what_comes_after_the_deadline_is_not_considered() -> None:
    found = await award(1, Builder("late", 1, thinks=20), Builder("quick", 9, thinks=5))

    assert found.contractor == "quick"


async def test_a_contractor_that_fails_or_hangs_is_followed_by_the_next_best() -> None:
    hanging = Builder("hanging", 2, works=1000)

    found = await award(1, Builder("failing", 1, fails=True), hanging, Builder("good", 3))

    assert (found.contractor, found.tried) == ("good", ("failing", "hanging"))
    assert hanging.cancelled == 1


async def test_contracts_in_one_turn_go_to_the_same_agents_and_who_lost_is_told_though_the_turn_fails() -> None:
    builders = [Builder("a", 1), Builder("b", 2), Builder("c", 3)]

    async def client(message: Award, ctx: AgentContext) -> None:
        found = [await contract_net(ctx, task, ["a", "b", "c"]) for task in ("a house", "a bridge")]
        raise ValueError(", ".join(str(one.result) for one in found))

    async with AgentManager() as manager:
        for builder in builders:
            await manager.register(builder)
        await manager.register(client)
        with pytest.raises(TurnError, match="a house by a, a bridge by a"):
            await manager.ask("client", Award(""))
        await manager.settle()

    assert [builder.rejected for builder in builders] == [0, 2, 2]


async def test_who_has_proposed_is_told_when_the_terms_cannot_be_revised() -> None:
    builders = [Builder("a", 1), Builder("b", 2)]

    def revise(task: Any, proposals: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(TurnError, match="ZeroDivisionError"):
        await award("a house", *builders, tender=Tender(rounds=2, revise=revise))

    assert [builder.rejected for builder in builders] == [1, 1]


async def test_it_says_why_nobody_does_it() -> None:
    with pytest.raises(TurnError, match=r"nobody fulfils .*a: it refused: no time; b: .*it fell down"):
        await award(1, Builder("a", 0), Builder("b", 1, fails=True))


class Rubbish(Agent):
    capabilities = ("building",)

    def __init__(self, agent_id: str, answer: Any) -> None:
        super().__init__(agent_id)
        self.answer = answer

    @handles
    async def on_call(self, call: CallForProposals) -> Any:
        return self.answer


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "cheap",
        {"type": "propose"},
        {"type": "propose", "cost": "nothing"},
        Propose(math.nan),
        Propose(-math.inf),
        Propose(-1.0),
        Propose("cheap"),  # type: ignore[arg-type]
        Propose(None),  # type: ignore[arg-type]
        Refuse(5),  # type: ignore[arg-type]
        [1, 2],
    ],
    ids=str,
)
async def test_rubbish_harms_nobody_but_its_sender(answer: Any) -> None:
    assert (await award(1, Rubbish("rubbish", answer), Builder("good", 9))).contractor == "good"


async def test_plain_maps_are_proposals_too() -> None:
    class Plain(Rubbish):
        @handles
        async def on_accept(self, accept: AcceptProposal) -> str:
            return "done plainly"

    assert (await award(1, Plain("plain", {"type": "propose", "cost": 1}), Builder("b", 9))).result == "done plainly"


async def test_terms_are_changed_from_call_to_call() -> None:
    class Haggler(Builder):
        def propose(self, call: CallForProposals, ctx: AgentContext) -> Propose:  # type: ignore[override]
            return Propose(call.task["offer"] if call.task["offer"] >= self.cost else self.cost * 2)

    def revise(task: Any, proposals: dict[str, Propose]) -> Any:
        return None if min(one.cost for one in proposals.values()) <= task["offer"] else {"offer": task["offer"] + 5}

    found = await award({"offer": 5}, Haggler("a", 17), Haggler("b", 23), tender=Tender(rounds=9, revise=revise))

    assert (found.contractor, found.proposal.cost) == ("a", 20)


async def test_the_score_decides() -> None:
    trusted = {"a": 1.0, "b": 0.5}
    tender = Tender(score=lambda name, proposal: proposal.cost / trusted[name])

    assert (await award(1, Builder("b", 3), Builder("a", 5), tender=tender)).contractor == "a"


@pytest.mark.parametrize("score", [lambda terms: terms["quality"], lambda terms: math.nan, lambda terms: "good"])
async def test_a_proposal_that_cannot_be_scored_harms_nobody_but_its_sender(score: Any) -> None:
    tender = Tender(score=lambda name, proposal: score(proposal.terms) if name == "odd" else proposal.cost)

    found = await award(1, Builder("dear", 5), Builder("odd", 2), Builder("cheap", 1), tender=tender)

    assert found.contractor == "cheap"


async def test_terms_are_not_revised_when_nobody_has_proposed() -> None:
    tender = Tender(rounds=3, revise=lambda task, proposals: min(one.cost for one in proposals.values()))

    with pytest.raises(TurnError, match="nobody fulfils"):
        await award(1, Builder("a", 0), tender=tender)


async def test_contracts_that_one_message_brings_about_are_different_ones() -> None:
    results: list[str] = []

    class Listening(Agent):
        topics = ("spring",)

        @handles
        async def on_go(self, message: Go, ctx: AgentContext) -> None:
            house = await contract_net(ctx, f"a house for {self.id}", "a")
            bridge = await contract_net(ctx, f"a bridge for {self.id}", "a")
            results.extend((house.result, bridge.result))

    async with AgentManager() as manager:
        for agent in (Builder("a", 1), Listening("x"), Listening("y")):
            await manager.register(agent)
        await manager.publish("spring", Go())
        await manager.settle()

    assert sorted(results) == sorted(f"{what} for {who} by a" for what in ("a house", "a bridge") for who in "xy")


async def test_a_contractor_proposes_while_it_works_and_works_on_one_thing_at_a_time() -> None:
    async with AgentManager() as manager:
        builder = Builder("a", 1, works=30)
        await manager.register(builder)
        await manager.register(ContractInitiator("initiator", ["a"], Tender(timeout=500)))
        asks = []
        for number in range(4):
            asks.append(asyncio.ensure_future(manager.ask("initiator", Award(number), timeout=1000)))
            await asyncio.sleep(1)

        assert [one.result for one in await asyncio.gather(*asks)] == [f"{number} by a" for number in range(4)]
        assert asyncio.get_running_loop().time() >= 120


async def test_who_has_proposed_is_told_when_nothing_comes_of_it() -> None:
    builders = [Builder("a", 1, works=100), Builder("b", 2), Builder("c", 3)]
    with pytest.raises(AskTimeout):
        await award(1, *builders, tender=Tender(timeout=200), timeout=50)
    assert [builder.rejected for builder in builders] == [1, 1, 1]

    failing = [Builder("a", 1, fails=True), Builder("b", 2, fails=True)]
    with pytest.raises(TurnError):
        await award(1, *failing)
    assert all(builder.rejected for builder in failing)


async def test_a_contractor_that_is_about_to_start_is_waited_for() -> None:
    async with AgentManager() as manager:
        await manager.register(Builder("a", 1, works=5))
        await manager.register(ContractInitiator("initiator", ["a"], Tender(deadline=2)))
        asking = asyncio.ensure_future(manager.ask("initiator", Award("a wall"), timeout=100))
        await asyncio.sleep(1)
        await manager.unregister("a")
        await asyncio.sleep(1)
        await manager.register(Builder("a", 1))

        assert (await asking).result == "a wall by a"


async def test_a_contract_given_again_is_answered_as_before() -> None:
    builder = Builder("a", 1)
    async with AgentManager() as manager:
        await manager.register(builder)
        accept = AcceptProposal("contract 1", "a wall", Propose(1))
        answers = [await manager.ask("a", accept) for _ in range(3)]

    assert answers == ["a wall by a"] * 3
    assert len(builder.built) == 1


async def test_who_no_longer_waits_cancels_the_work() -> None:
    working = Builder("a", 1, works=100)

    with pytest.raises(AskTimeout):
        await award(1, working, tender=Tender(timeout=200), timeout=50)

    assert working.cancelled == 1


async def test_a_hundred_contractors_and_a_hundred_contracts_at_once() -> None:
    async with AgentManager() as manager:
        builders = [Builder(f"b{n}", n, fails=n % 7 == 3, thinks=20 if n % 5 == 1 else 0) for n in range(100)]
        for builder in builders:
            await manager.register(builder)
        await manager.register(ContractInitiator("initiator", "capability:building"))

        found = await asyncio.gather(
            *(manager.ask("initiator", Award(number), timeout=100_000) for number in range(100))
        )

    done = [task for builder in builders for task in builder.built]
    assert sorted(done) == list(range(100))
    assert [one.result.partition(" ")[0] for one in found] == [str(number) for number in range(100)]


async def test_a_tender_is_a_function_of_any_turn() -> None:
    context = FakeContext.of(
        answers={
            "a": lambda asked: Propose(3) if isinstance(asked, CallForProposals) else "done",
            "b": AskTimeout("b", "call_for_proposals", 10),
        }
    )

    found = await contract_net(context, "a house", ["a", "b", "a"])

    assert (found.contractor, found.result) == ("a", "done")
    with pytest.raises(NoContractor, match="0 asked"):
        await contract_net(context, "a house", [], contract="another")


class Go(Payload):
    pass


@pytest.mark.parametrize(
    "wrong", [{"deadline": 0}, {"deadline": math.inf}, {"timeout": -1}, {"patience": -1}, {"rounds": 0}]
)
def test_a_tender_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"above 0 s|1 round"):
        Tender(**wrong)
