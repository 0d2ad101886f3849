"""Voting over messages: a ballot a voter, whatever else they send; late and invalid ones are told; a quorum decides."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from moot import Agent, AgentContext, AgentManager, AskTimeout, Payload, Request, TurnError, handles
from moot.patterns.voting import (
    AwaitPoll,
    Ballot,
    BallotPaper,
    CastBallot,
    CloseElection,
    ElectionAgent,
    ElectionClosed,
    OpenElection,
    Plurality,
    Poll,
    Receipt,
    Schulze,
    vote,
)
from moot.patterns.voting.election import MAX_BALLOTS, MAX_OPEN, MAX_WAITING, Election
from moot.testing import FakeContext, SimulatedBackend
from tests.lives import two_lives

PAPER = BallotPaper("Where to?", ("sea", "hills"))


def asked(answers: Mapping[str, Any]) -> FakeContext:
    return FakeContext.of(answers=answers, able={"voting": list(answers)})


async def test_each_voter_has_one_ballot_and_who_has_none_is_told() -> None:
    answers = {
        "a": ["sea"],
        "b": Ballot.ranked("sea", "hills"),
        "c": 42,
        "d": ["moon"],
        "e": AskTimeout("e", "ballot_paper", 5),
    }

    poll = await vote(asked(answers), [*answers, "a"], PAPER, Plurality(), quorum=2)

    assert (poll.elected, poll.is_quorate, list(poll.ballots)) == ("sea", True, ["a", "b"])
    assert "no ballot" in poll.invalid["c"]
    assert "no candidate" in poll.invalid["d"]
    assert "5 s" in poll.absent["e"]


async def test_without_a_quorum_of_valid_ballots_nobody_is_elected() -> None:
    poll = await vote(asked({"a": ["sea"], "b": 42, "c": ["moon"]}), "capability:voting", PAPER, quorum=2)

    assert (poll.elected, poll.is_quorate, poll.tally.winners) == (None, False, ("sea",))


async def test_weights_are_the_callers_and_no_voters() -> None:
    greedy = {"ranking": [["sea"]], "weight": 1000}
    poll = await vote(asked({"a": greedy, "b": ["hills"], "c": ["sea"]}), {"a": 1, "b": 3, "c": 1}, PAPER)

    assert poll.tally.winners == ("hills",)


@pytest.mark.parametrize(
    ("voters", "quorum"),
    [
        ([], 1),
        (["a"], 2),
        (["a"], 0),
        ("capability:flying", 1),
        (["a", "capability:voting"], 1),
        ({"topic:x": 1}, 1),
        ({"a": 0}, 1),
        ({"a": 2**63}, 1),
    ],
)
async def test_whom_it_cannot_ask_it_refuses(voters: str | list[str] | dict[str, int], quorum: int) -> None:
    with pytest.raises(ValueError, match=r"quorum of|is no voter|weighs a whole|weigh more"):
        await vote(asked({"a": ["sea"]}), voters, PAPER, quorum=quorum)


async def test_a_plain_text_is_the_id_of_one_voter() -> None:
    context = FakeContext.of(answers={"voting": ["sea"], "a": ["hills"]}, able={"voting": ["a"]})

    assert (await vote(context, "voting", PAPER)).elected == "sea"
    assert (await vote(context, "capability:voting", PAPER)).elected == "hills"


async def test_what_nobody_can_vote_on_nobody_is_asked() -> None:
    def ask(_paper: BallotPaper) -> None:
        raise AssertionError("it was asked")

    with pytest.raises(ValueError, match="needs candidates"):
        await vote(asked({"a": ask}), ["a"], BallotPaper("Where to?", ()))


class Ask(Payload):
    pass


async def test_a_poll_that_was_counted_stays_so_in_another_life_of_the_process() -> None:
    disk = SimulatedBackend()
    counted: list[Poll] = []

    class Voter(Agent):
        @handles
        async def fill_in(self, message: BallotPaper) -> list[str]:
            if self.id == "late" and not counted:
                await asyncio.sleep(1000)
            return ["hills"] if self.id == "late" else ["sea"]

    class Client(Agent):
        @handles
        async def ask(self, message: Ask, ctx: AgentContext) -> None:
            counted.append(await vote(ctx, {"here": 1, "late": 5}, PAPER, timeout=5))
            if len(counted) == 1:
                disk.fail()
                await asyncio.Event().wait()

    await two_lives(disk, lambda: [Voter("here"), Voter("late"), Client("client")], Ask(), seconds=10)

    assert len(counted) == 2
    assert counted[0] == counted[1]
    assert counted[1].elected == "sea"


# an election


TERMS = OpenElection("trip", "Where to?", ("sea", "hills"), 60.0, electorate={"a": 1, "b": 1, "c": 1}, quorum=2)


class Cast(Request[Receipt]):
    ballot: Any
    election: str = "trip"


class Member(Agent):
    """Votes as it is told, and shows what it receives."""

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.told: list[Any] = []

    @handles
    async def cast(self, message: Cast, ctx: AgentContext) -> Receipt:
        return await ctx.ask("office", CastBallot(message.election, message.ballot), timeout=5)

    @handles
    async def open(self, message: OpenElection, ctx: AgentContext) -> None:
        ctx.send("office", message)

    @handles
    async def close(self, message: CloseElection, ctx: AgentContext) -> None:
        ctx.send("office", message)

    @handles
    async def closed(self, message: ElectionClosed) -> None:
        self.told.append(message)


async def office(manager: AgentManager, members: str = "abcd") -> list[Member]:
    agents = [Member(name) for name in members]
    for agent in (ElectionAgent("office"), *agents):
        await manager.register(agent)
    return agents


async def test_an_election_is_open_for_its_time_and_the_last_ballot_of_a_voter_counts() -> None:
    async with AgentManager() as manager:
        await office(manager)
        outcome = asyncio.ensure_future(manager.ask("office", TERMS, timeout=100))
        await asyncio.sleep(1)
        receipts = [
            await manager.ask(voter, Cast(ballot))
            for voter, ballot in [("a", ["sea"]), ("b", ["sea"]), ("a", ["hills"]), ("d", ["sea"]), ("c", ["moon"])]
        ]
        await asyncio.sleep(58.5)
        assert not outcome.done()
        await asyncio.sleep(1)

        poll = await outcome
        late = await manager.ask("c", Cast(["sea"]))

    assert [receipt.is_accepted for receipt in receipts] == [True, True, True, False, False]
    assert poll.ballots == {"a": Ballot.ranked("hills"), "b": Ballot.ranked("sea")}
    assert list(poll.invalid) == ["c"]
    assert poll.absent == {}
    assert poll.is_quorate
    assert poll.tally.winners == ("sea", "hills")
    assert not late.is_accepted


async def test_who_opens_it_without_asking_is_told_and_others_can_ask() -> None:
    async with AgentManager() as manager:
        (member, *_) = await office(manager)
        await manager.tell("a", TERMS)
        await asyncio.sleep(1)
        waiting = asyncio.ensure_future(manager.ask("office", AwaitPoll("trip"), timeout=100))
        await manager.ask("b", Cast(["sea"]))
        poll = await waiting
        again = await manager.ask("office", AwaitPoll("trip"))
        same = await manager.ask("office", TERMS)
        await manager.settle()

    assert poll == again == same
    assert (poll.elected, poll.absent) == (None, {"a": "cast no ballot", "c": "cast no ballot"})
    assert [message.poll for message in member.told] == [poll]  # whoever else asked


async def test_an_opener_that_nobody_waits_for_is_told() -> None:
    async with AgentManager() as manager:
        (member, *_) = await office(manager)
        await manager.tell("a", TERMS)
        await asyncio.sleep(61)

    assert [message.election for message in member.told] == ["trip"]


async def test_nobody_closes_an_election_but_its_timer_and_nobody_votes_from_outside() -> None:
    async with AgentManager() as manager:
        await office(manager)
        terms = msgspec.structs.replace(TERMS, electorate={}, quorum=1)
        outcome = asyncio.ensure_future(manager.ask("office", terms, timeout=100))
        await asyncio.sleep(1)
        await manager.tell("a", CloseElection("trip"))
        await manager.tell("office", CloseElection("trip"))
        stranger = await manager.ask("office", CastBallot("trip", ["sea"]))
        member = await manager.ask("d", Cast(["hills"]))
        poll = await outcome

    assert (stranger.is_accepted, member.is_accepted, poll.elected) == (False, True, "hills")


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "dice"},
        {"seconds": 0.0},
        {"seconds": float("nan")},
        {"candidates": ()},
        {"candidates": tuple(map(str, range(101)))},
        {"electorate": {"a": -5, "b": 1}},
        {"electorate": {"a": 2**62, "b": 2**62}},
        {"electorate": {f"voter {n}": 1 for n in range(MAX_BALLOTS + 1)}},
        {"quorum": 4},
    ],
)
async def test_terms_that_no_election_can_be_held_by_are_refused(changes: dict[str, Any]) -> None:
    async with AgentManager() as manager:
        await office(manager)
        with pytest.raises(TurnError):
            await manager.ask("office", msgspec.structs.replace(TERMS, **changes))


async def test_a_name_is_taken_once() -> None:
    async with AgentManager() as manager:
        await office(manager)
        await manager.tell("a", TERMS)
        await asyncio.sleep(1)
        with pytest.raises(TurnError, match="another election"):
            await manager.ask("office", msgspec.structs.replace(TERMS, question="How?"))
        with pytest.raises(TurnError, match="no election named"):
            await manager.ask("office", AwaitPoll("holidays"))


async def test_a_ballot_for_the_empty_name_is_refused_and_the_election_closes() -> None:
    async with AgentManager() as manager:
        await office(manager)
        terms = msgspec.structs.replace(TERMS, method="plurality", quorum=1)
        outcome = asyncio.ensure_future(manager.ask("office", terms, timeout=100))
        await asyncio.sleep(1)
        refused = await manager.ask("a", Cast([""]))
        await manager.ask("b", Cast(["sea"]))
        poll = await outcome

    assert (refused.is_accepted, poll.elected, list(poll.invalid)) == (False, "sea", ["a"])


def test_an_election_that_is_open_to_anybody_has_room_for_so_many_and_they_can_still_change_their_votes() -> None:
    terms = msgspec.structs.replace(TERMS, electorate={})
    full = Election(terms, "a", seed=1, ballots={f"voter_{n}": Ballot.ranked("sea") for n in range(MAX_BALLOTS)})

    same, stranger = full.cast("one_more", ["sea"])
    changed, known = full.cast("voter_7", ["hills"])

    assert (same, stranger.is_accepted) == (full, False)
    assert known.is_accepted
    assert changed.ballots["voter_7"] == Ballot.ranked("hills")


async def test_only_so_many_elections_are_open_and_so_many_wait_for_one() -> None:
    async with AgentManager() as manager:
        await office(manager)
        waiting = [asyncio.ensure_future(manager.ask("office", TERMS, timeout=100)) for _ in range(MAX_WAITING)]
        await asyncio.sleep(1)
        with pytest.raises(TurnError, match="wait for this election"):
            await manager.ask("office", TERMS)
        for number in range(MAX_OPEN - 1):
            await manager.tell("a", msgspec.structs.replace(TERMS, name=f"trip {number}"))
        await asyncio.sleep(1)
        with pytest.raises(TurnError, match="elections are open"):
            await manager.ask("office", msgspec.structs.replace(TERMS, name="one more"))

        polls = await asyncio.gather(*waiting)

    assert polls == [polls[0]] * MAX_WAITING


@pytest.mark.parametrize("backend", ["memory://", None])
async def test_who_asks_again_and_again_until_it_closes_takes_one_place_only(backend: str | None) -> None:
    class Impatient(Agent):
        @handles
        async def wait(self, message: AwaitPoll, ctx: AgentContext) -> Poll:
            while True:
                try:
                    return await ctx.ask("office", message, timeout=0.5)
                except AskTimeout:
                    continue

    async with AgentManager(backend or SimulatedBackend()) as manager:
        await office(manager)
        await manager.register(Impatient("impatient"))
        await manager.tell("a", msgspec.structs.replace(TERMS, seconds=MAX_WAITING + 10.0))
        poll = await manager.ask("impatient", AwaitPoll("trip"), timeout=1000)

    assert poll.elected is None


async def test_an_election_outlives_the_process_with_its_ballots() -> None:
    disk = SimulatedBackend()
    for life in range(2):
        manager = AgentManager(disk)
        await office(manager)
        await manager.start()
        if not life:
            await manager.tell("a", TERMS)
            await asyncio.sleep(1)
        await manager.ask("ab"[life], Cast(["sea"]))
        if not life:
            disk.fail()
            await manager.stop(drain=False)
        else:
            poll = await manager.ask("office", AwaitPoll("trip"), timeout=100)
            await manager.stop()

    assert poll.elected == "sea"
    assert sorted(poll.ballots) == ["a", "b"]


VOTERS = ("a", "b", "c", "d")
good = st.permutations(TERMS.candidates).map(list)
bad = st.sampled_from([42, ["moon"], [], ["sea", "sea"], None, [["sea"], 1], {"sea"}])


class ElectionMachine(RuleBasedStateMachine):
    """Against the simplest model: a map of the last valid ballot of each who may vote."""

    def __init__(self) -> None:
        super().__init__()
        self.election = Election(TERMS, "a", seed=1)
        self.model: dict[str, Sequence[str]] = {}
        self.spoilt: set[str] = set()

    @rule(voter=st.sampled_from([*VOTERS, "outside"]), ballot=good)
    def cast_a_good_one(self, voter: str, ballot: list[str]) -> None:
        self.election, receipt = self.election.cast(voter, ballot)
        assert receipt.is_accepted == (voter in TERMS.electorate)
        if receipt.is_accepted:
            self.model[voter] = ballot

    @rule(voter=st.sampled_from(VOTERS), ballot=bad)
    def cast_a_bad_one(self, voter: str, ballot: Any) -> None:
        self.election, receipt = self.election.cast(voter, ballot)
        assert not receipt.is_accepted
        assert receipt.reason
        if voter in TERMS.electorate:
            self.spoilt.add(voter)

    @invariant()
    def the_outcome_is_that_of_the_model(self) -> None:
        poll = self.election.outcome()
        names = sorted(self.model)
        ballots = [Ballot.ranked(*self.model[name]) for name in names]

        assert poll.tally == Schulze().tally(ballots, TERMS.candidates, seed=1)
        assert list(poll.ballots) == names
        assert set(poll.invalid) == self.spoilt - set(names)
        assert {*poll.ballots, *poll.invalid, *poll.absent} == set(TERMS.electorate)


TestElectionMachine = ElectionMachine.TestCase
