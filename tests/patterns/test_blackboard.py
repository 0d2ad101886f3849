"""Blackboard: sources that know nothing of each other solve a problem, and a board ends whatever becomes of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moot import Agent, AgentContext, AgentManager, MailboxPolicy, Payload, TurnError, handles
from moot.patterns.blackboard import (
    Activation,
    BlackboardAgent,
    Board,
    Claim,
    Entry,
    Hypothesis,
    Interest,
    KnowledgeSource,
    Limits,
    Post,
    Posted,
    ReadBoard,
    Refusal,
    Renew,
    Solution,
    Solve,
    StopReason,
    Subscribe,
    by_priority,
)
from moot.testing import SimulatedBackend

LEVELS = ["letter", "word"]
QUICK = Limits(parallel=2, lease=2.0, attempts=2, quiet=3.0)
LETTERS = tuple(Hypothesis("letter", key, key) for key in "ab")


class Speller(KnowledgeSource):
    """Makes a word of each letter; ``seconds`` later, or never."""

    kind = "speller"
    interests = (Interest("letter"),)

    def __init__(self, agent_id: str, seconds: float = 0.0, error: str = "") -> None:
        super().__init__(agent_id, "board", announce_every=1.0)
        self.seconds = seconds
        self.error = error
        self.activated: list[str] = []

    async def contribute(self, entry: Entry, ctx: AgentContext) -> list[Hypothesis]:
        self.activated.append(entry.key)
        await asyncio.sleep(self.seconds)
        if self.error:
            raise ValueError(self.error)
        return [Hypothesis("word", entry.key * 2, self.id, 0.5, of=(entry.key,))]


def never(entries: Any) -> None:
    return None


async def solve(
    *sources: Agent[Any], board: BlackboardAgent | None = None, budget: int = 100, seconds: float = 60
) -> Solution:
    async with AgentManager() as manager:
        await manager.register(board or BlackboardAgent("board", LEVELS, goal=never, limits=QUICK))
        for source in sources:
            await manager.register(source)
        return await manager.ask("board", Solve("p", LETTERS, budget, seconds), timeout=200)


async def test_it_is_solved_when_an_entry_of_the_last_level_is_there() -> None:
    solution = await solve(Speller("one"), board=BlackboardAgent("board", LEVELS, limits=QUICK))

    assert solution.reason is StopReason.SOLVED
    assert solution.goal == Entry("word", "aa", "one", 0.5, ("a",), "one")
    assert solution.history[0] == "speller: a"


async def test_it_is_exhausted_when_nobody_works_and_nothing_is_left_to_give_out() -> None:
    solution = await solve(Speller("one"))

    assert solution.reason is StopReason.EXHAUSTED
    assert [entry.key for entry in solution.entries] == ["a", "b", "aa", "bb"]
    assert solution.history == ("speller: a", "speller: b")


async def test_its_budget_is_how_often_sources_are_activated() -> None:
    solution = await solve(Speller("one"), budget=1)

    assert solution.reason is StopReason.BUDGET
    assert len(solution.history) == 1


async def test_its_time_is_over_though_somebody_works() -> None:
    solution = await solve(Speller("one", 100), board=None, seconds=1)

    assert solution.reason is StopReason.DEADLINE


async def test_without_any_source_it_ends() -> None:
    assert (await solve()).reason is StopReason.EXHAUSTED


async def test_what_a_source_that_died_had_is_given_to_another() -> None:
    dead, alive = Speller("dead", 1000), Speller("alive")

    solution = await solve(dead, alive)

    assert {entry.content for entry in solution.entries if entry.level == "word"} == {"alive"}
    assert len(dead.activated) == 1
    assert sorted(alive.activated) == ["a", "b"]
    assert solution.reason is StopReason.EXHAUSTED


async def test_no_board_waits_for_a_source_whose_mailbox_is_full() -> None:
    class Noise(Payload):
        pass

    class Deaf(Speller):
        @handles
        async def on_noise(self, message: Noise, ctx: AgentContext) -> None:
            await asyncio.sleep(1000)

    alive = Speller("alive")
    async with AgentManager() as manager:
        await manager.register(BlackboardAgent("board", LEVELS, goal=never, limits=QUICK))
        deaf = Deaf("deaf")
        deaf.announce_every = 1000  # (its own timer would make room)
        await manager.register(deaf, mailbox=MailboxPolicy(1))
        await manager.register(alive)
        for _ in range(2):
            await manager.tell("deaf", Noise())
        began = asyncio.get_running_loop().time()
        solution = await manager.ask("board", Solve("p", LETTERS), timeout=200)

        assert sorted(alive.activated) == ["a", "b"]
        assert solution.reason is StopReason.EXHAUSTED
        assert asyncio.get_running_loop().time() - began < 10
        await manager.stop(drain=False)


async def test_if_nobody_else_can_the_board_ends_and_says_what_was_abandoned() -> None:
    solution = await solve(Speller("dead", 1000))

    assert solution.reason is StopReason.EXHAUSTED
    assert [entry.level for entry in solution.entries] == ["letter", "letter"]
    assert sorted(solution.abandoned) == ["speller: a", "speller: b"]


async def test_a_source_that_stops_while_it_has_a_claim_loses_it_at_once() -> None:
    async with AgentManager() as manager:
        source, asking = await begin(manager, Limits(lease=50, quiet=1))
        assert len(source.given) == 1
        await manager.unregister("source")
        await manager.register(Speller("stays"))
        solution = await asking

    assert [entry.author for entry in solution.entries if entry.level == "word"] == ["stays"]


async def test_what_every_source_fails_at_is_abandoned_after_so_many_attempts() -> None:
    sources = [Speller(name, error="cannot") for name in ("one", "two")]

    solution = await solve(*sources)

    assert solution.abandoned == ("speller: a", "speller: b")
    assert [sorted(source.activated) for source in sources] == [["a", "b"]] * 2  # whoever has not tried comes first


async def test_the_control_chooses_whom_and_what_and_no_more_than_may_be_at_once() -> None:
    class Fast(Speller):
        kind = "fast"
        interests = (Interest("letter", priority=1),)

    def last_letter_first(trigger: Any, entry: Entry) -> float:
        return ord(entry.key) + by_priority(trigger, entry) / 100

    board = BlackboardAgent("board", LEVELS, goal=never, control=last_letter_first, limits=Limits(parallel=1, quiet=1))
    async with AgentManager() as manager:
        for agent in (board, Speller("one", 1), Fast("two", 1)):
            await manager.register(agent)
        await manager.settle()
        solution = await manager.ask("board", Solve("p", LETTERS), timeout=50)

    assert solution.history == ("fast: b", "speller: b", "fast: a", "speller: a")


class Scripted(Agent):
    """A source without manners: it keeps what it is given, and posts what it is told to."""

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.given: list[Activation] = []

    async def on_start(self, ctx: AgentContext) -> None:
        ctx.send("board", Subscribe("speller", (Interest("letter"),)))

    @handles
    async def on_activation(self, message: Activation) -> None:
        self.given.append(message)

    @handles
    async def on_post(self, message: Post, ctx: AgentContext) -> Posted:
        return await ctx.ask("board", message)

    @handles
    async def on_renew(self, message: Renew, ctx: AgentContext) -> bool:
        return await ctx.ask("board", message)


WORD = Hypothesis("word", "aa", "aa")


async def begin(manager: AgentManager, limits: Limits = QUICK) -> tuple[Scripted, asyncio.Future[Solution]]:
    source = Scripted("source")
    await manager.register(BlackboardAgent("board", LEVELS, goal=never, limits=limits))
    await manager.register(source)
    asking = asyncio.ensure_future(manager.ask("board", Solve("p", LETTERS[:1], seconds=20), timeout=50))
    await asyncio.sleep(0.5)
    return source, asking


async def test_a_post_under_a_claim_that_has_lapsed_is_refused_and_one_that_comes_twice_is_not() -> None:
    async with AgentManager() as manager:
        source, asking = await begin(manager)
        token = source.given[0].token
        assert await manager.ask("source", Post(token + 1, (WORD,))) == Posted(False, Refusal.LAPSED)
        assert await manager.ask("board", Post(token, (WORD,))) == Posted(False, Refusal.LAPSED)  # not the owner
        assert await manager.ask("source", Post(token, (WORD,))) == Posted(True)
        assert await manager.ask("source", Post(token, (WORD,))) == Posted(True)
        assert (await asking).reason is StopReason.EXHAUSTED
        assert await manager.ask("source", Post(token + 1, (WORD,))) == Posted(False, Refusal.OVER)
        assert [one.version for one in await manager.ask("board", ReadBoard("word"))] == [1]


async def test_a_claim_holds_as_long_as_it_is_renewed_and_then_lapses() -> None:
    async with AgentManager() as manager:
        source, asking = await begin(manager)
        token = source.given[0].token
        for _ in range(4):
            await asyncio.sleep(1.4)
            assert await manager.ask("source", Renew(token))
        await asyncio.sleep(2.5)
        assert not await manager.ask("source", Renew(token))
        assert await manager.ask("source", Post(token, (WORD,))) == Posted(False, Refusal.LAPSED)
        assert WORD.key not in {entry.key for entry in (await asking).entries}


@pytest.mark.parametrize(
    "rubbish",
    [
        Hypothesis("song", "aa", 1),
        Hypothesis("word", "aa", 1, float("nan")),
        Hypothesis("word", "aa", 1, 1.5),
    ],
)
async def test_rubbish_is_refused_and_what_it_was_posted_for_is_given_out_again(rubbish: Any) -> None:
    async with AgentManager() as manager:
        source, _ = await begin(manager)
        post = Post(source.given[0].token, (rubbish,))
        assert await manager.ask("source", post) == Posted(False, Refusal.INVALID)
        await manager.settle()
        assert len(source.given) == 2
        assert [entry.key for entry in await manager.ask("board", ReadBoard())] == ["a"]


async def test_a_board_that_is_full_takes_no_more() -> None:
    async with AgentManager() as manager:
        source, _ = await begin(manager, Limits(entries=1))
        assert await manager.ask("source", Post(source.given[0].token, (WORD,))) == Posted(False, Refusal.FULL)


async def test_the_same_problem_is_not_begun_twice_and_another_must_wait() -> None:
    async with AgentManager() as manager:
        await manager.register(BlackboardAgent("board", LEVELS, limits=QUICK))
        await manager.register(source := Speller("one", 1))
        first = asyncio.ensure_future(manager.ask("board", Solve("p", LETTERS[:1])))
        again = asyncio.ensure_future(manager.ask("board", Solve("p", LETTERS[:1])))
        await asyncio.sleep(0.5)
        with pytest.raises(TurnError, match="busy with 'p'"):
            await manager.ask("board", Solve("q", LETTERS))
        assert await first == await again == await manager.ask("board", Solve("p", LETTERS))
        assert source.activated == ["a"]
        assert (await manager.ask("board", Solve("q", LETTERS))).problem == "q"


async def test_a_board_goes_on_in_the_next_life_of_its_system() -> None:
    disk = SimulatedBackend()

    async def life(seconds: float, *sources: Speller) -> tuple[Entry, ...]:
        manager = AgentManager(disk)
        await manager.register(BlackboardAgent("board", LEVELS, goal=never, limits=QUICK))
        for source in sources:
            await manager.register(source)
        await manager.start()
        await manager.tell("board", Solve("p", LETTERS), message_id="once")
        await asyncio.sleep(seconds)
        entries = await manager.ask("board", ReadBoard("word"))
        await manager.stop(drain=False)
        return entries

    assert await life(1.0, Speller("dead", 1000)) == ()
    assert {entry.key for entry in await life(20.0, Speller("alive"))} == {"aa", "bb"}


async def test_what_is_no_board_and_no_problem_is_refused() -> None:
    with pytest.raises(ValueError, match="level"):
        BlackboardAgent("board", ["a", "a"])
    with pytest.raises(ValueError, match="1 or more"):
        Limits(parallel=0)
    with pytest.raises(ValueError, match="lease"):
        Limits(lease=0)
    async with AgentManager() as manager:
        await manager.register(BlackboardAgent("board", LEVELS))
        with pytest.raises(TurnError, match="budget"):
            await manager.ask("board", Solve("p", (), budget=-1))
        with pytest.raises(TurnError, match="refused: invalid"):
            await manager.ask("board", Solve("p", (Hypothesis("song", "a", 1),)))


LIMITS = Limits(parallel=2, lease=5.0, attempts=3)
KINDS = {"u1": "u", "u2": "u", "v1": "v"}


class BoardMachine(RuleBasedStateMachine):
    """The rules against a table that says of each kind and key what became of its newest version."""

    def __init__(self) -> None:
        super().__init__()
        self.board = Board().begun("p", 1e9, 1000)
        self.now = 0.0
        self.table: dict[str, str] = {}
        self.versions: dict[str, int] = {}
        self.claims: list[Claim] = []  # all that were ever given

    @rule(source=st.sampled_from(sorted(KINDS)))
    def subscribe(self, source: str) -> None:
        kind = KINDS[source]
        self.board = self.board.subscribed(source, Subscribe(kind, (Interest("x"),)), LIMITS)
        self._triggered(kind)

    @rule(key=st.sampled_from("abc"), confidence=st.sampled_from([0.1, 0.5, 0.9]))
    def post(self, key: str, confidence: float) -> None:
        self.board = self.board.with_entries((Hypothesis("x", key, 1, confidence),), "me")
        for source in self.board.sources.values():
            self._triggered(source.kind)

    @rule()
    def grant(self) -> None:
        self.board, given = self.board.granted(self.now, by_priority, LIMITS)
        for claim in given:
            name = f"{claim.trigger.kind}: {claim.trigger.entry}"
            assert self.table[name] == "open"
            assert all(claim.token > earlier.token for earlier in self.claims)
            self.table[name] = f"claim {claim.token}"
            self.claims.append(claim)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), how=st.sampled_from(["finish", "give back", "renew"]))
    def use(self, data: st.DataObject, how: str) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        name = f"{claim.trigger.kind}: {claim.trigger.entry}"
        held = self.board.held(claim.token, claim.owner, self.now)
        if how == "give back":
            self.board = self.board.given_back(claim.token, claim.owner, LIMITS)
            self._given_back(claim)
        elif held is not None:
            if how == "finish":
                self.board = self.board.finished(held)
                if self.table[name] == f"claim {claim.token}":
                    self.table[name] = "done"
            else:
                self.board = self.board.renewed(held, self.now + LIMITS.lease)

    @rule(source=st.sampled_from(sorted(KINDS)))
    def leave(self, source: str) -> None:
        claim = self.board.claims.get(source)
        self.board = self.board.without_source(source, LIMITS)
        if claim is not None:
            self._given_back(claim)

    @rule(seconds=st.sampled_from([1.0, 4.0, 6.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        late = [claim for claim in self.board.claims.values() if claim.expires <= self.now]
        self.board = self.board.lapsed(self.now, LIMITS)
        for claim in late:
            self._given_back(claim)
            assert claim.owner not in self.board.sources

    def _triggered(self, kind: str) -> None:
        for key, entry in self.board.entries.items():
            if self.versions.get(f"{kind}: {key}") != entry.version:
                self.versions[f"{kind}: {key}"] = entry.version
                self.table[f"{kind}: {key}"] = "open"

    def _given_back(self, claim: Claim) -> None:
        name = f"{claim.trigger.kind}: {claim.trigger.entry}"
        if self.table[name] == f"claim {claim.token}":
            self.table[name] = "open" if len(claim.trigger.had) < LIMITS.attempts else "abandoned"

    @invariant()
    def every_trigger_is_where_the_table_says(self) -> None:
        assert set(self.board.triggers) == {name for name, what in self.table.items() if what == "open"}
        held = {f"claim {claim.token}" for claim in self.board.claims.values()}
        assert {what for what in self.table.values() if what.startswith("claim")} <= held
        assert {name for name, what in self.table.items() if what == "abandoned"} <= set(self.board.abandoned)

    @invariant()
    def claims_are_few_and_each_is_of_a_source_that_is_there(self) -> None:
        assert len(self.board.claims) <= LIMITS.parallel
        assert self.board.claims.keys() <= self.board.sources.keys()
        assert all(claim.owner == owner for owner, claim in self.board.claims.items())


TestBoardMachine = BoardMachine.TestCase
TestBoardMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
