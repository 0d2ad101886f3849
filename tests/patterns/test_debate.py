"""A debate: all answer at once and read each other, until they agree or a judge decides; and it is known which."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot import Agent, AgentContext, AgentManager, Payload, Request, handles
from moot.patterns.debate import (
    Argue,
    DebateAgent,
    DebateRules,
    Judge,
    OpenDebate,
    Outcome,
    Position,
    Round,
    RoundHeld,
    StopReason,
    debate,
    normalised,
    share,
    unanimous,
)
from moot.patterns.voting import BallotPaper, vote
from moot.testing import SimulatedBackend
from tests.lives import two_lives

Script = Callable[[Any], Any]


class Debater(Agent):
    cancel_with_asker = True

    def __init__(self, agent_id: str, script: Script) -> None:
        super().__init__(agent_id)
        self.script = script
        self.heard: list[Any] = []

    @handles(Argue, Judge)
    async def argue(self, message: Argue | Judge) -> Any:
        self.heard.append(message)
        answer = self.script(message)
        if asyncio.iscoroutine(answer):
            answer = await answer
        if isinstance(answer, float):
            await asyncio.sleep(answer)
        if isinstance(answer, Exception):
            raise answer
        return answer


def holds(answer: Any) -> Script:
    return lambda message: answer


def persuaded(first: str) -> Script:
    """Takes the answer of the majority of what it reads."""

    def script(message: Argue) -> str:
        answers = [position.answer for position in message.others.values()] + [
            message.own.answer if message.own else first
        ]
        return Counter(answers).most_common(1)[0][0]

    return script


async def hold(scripts: dict[str, Script], judge: Script | None = None, rules: DebateRules | None = None) -> Outcome:
    async with AgentManager() as manager:
        for name, script in {**scripts, **({"judge": judge} if judge else {})}.items():
            await manager.register(Debater(name, script))
        await manager.register(DebateAgent("hall", list(scripts), "judge" if judge else None, rules))
        return await manager.ask("hall", OpenDebate("how many?"), timeout=10_000)


def answers(outcome: Outcome) -> list[list[str]]:
    return [[position.answer for position in one.positions.values()] for one in outcome.rounds]


async def test_who_reads_the_others_comes_round_and_agreement_ends_it() -> None:
    found = await hold({"a": persuaded("4"), "b": persuaded("4"), "c": persuaded("5")}, rules=DebateRules(rounds=9))

    assert (found.stop, found.answer) == (StopReason.AGREED, "4")
    assert answers(found) == [["4", "4", "5"], ["4", "4", "4"]]


async def test_those_who_agree_at_once_are_not_asked_again() -> None:
    found = await hold({"a": holds("Four."), "b": holds(" four")})

    assert (found.stop, found.answer, len(found.rounds)) == (StopReason.AGREED, "Four.", 1)


async def test_a_judge_decides_what_never_agrees() -> None:
    judge = Debater("judge", holds(Position("5", "c is right")))
    debaters = [Debater("a", holds("4")), Debater("c", holds("5"))]
    async with AgentManager() as manager:
        for agent in (judge, *debaters):
            await manager.register(agent)
        await manager.register(DebateAgent("hall", ["a", "c"], "judge", DebateRules(rounds=2)))
        found = await manager.ask("hall", OpenDebate("how many?"))

    assert (found.stop, found.answer, len(found.rounds)) == (StopReason.JUDGED, "5", 2)
    assert found.verdict == Position("5", "c is right")
    assert judge.heard == [Judge("how many?", {"a": Position("4"), "c": Position("5")})]
    assert debaters[0].heard == [
        Argue("how many?", 1, 2),
        Argue("how many?", 2, 2, Position("4"), {"c": Position("5")}),
    ]


async def test_without_a_judge_it_ends_with_its_rounds_and_what_leads() -> None:
    found = await hold({"a": holds("4"), "b": holds("5"), "c": holds("5.")})

    assert (found.stop, found.answer, found.leading, len(found.rounds)) == (StopReason.ROUNDS, None, "5", 3)


@pytest.mark.parametrize("judge", [holds(ValueError("asleep")), holds(1e6), holds(42), holds("  "), holds("\ud800")])
async def test_a_judge_that_fails_decides_nothing(judge: Script) -> None:
    found = await hold({"a": holds("4"), "b": holds("5")}, judge, DebateRules(timeout=5))

    assert (found.stop, found.answer) == (StopReason.ROUNDS, None)
    assert found.judge_error


async def test_who_fails_drops_out_of_the_round_and_the_others_read_what_they_held_before() -> None:
    flaky = iter(["4", ValueError("lost the thread"), "4"])
    b = Debater("b", holds("5"))
    async with AgentManager() as manager:
        for agent in (
            Debater("a", lambda _: next(flaky)),
            b,
            Debater("c", holds(1e6)),
            Debater("d", holds({"answer": 4})),
        ):
            await manager.register(agent)
        await manager.register(DebateAgent("hall", list("abcd"), None, DebateRules(timeout=5)))
        found = await manager.ask("hall", OpenDebate("how many?"), timeout=1000)

    assert [list(one.positions) for one in found.rounds] == [["a", "b"], ["b"], ["a", "b"]]
    assert "lost the thread" in found.rounds[1].failed["a"]
    assert "5 s" in found.rounds[0].failed["c"]
    assert "is refused" in found.rounds[0].failed["d"]
    assert b.heard[2].others == {"a": Position("4")}


async def test_a_debate_in_which_nobody_speaks_is_over() -> None:
    found = await hold({"a": holds(None), "b": holds("x" * 100)}, rules=DebateRules(longest=50))

    assert (found.stop, len(found.rounds)) == (StopReason.FAILED_DEBATERS, 1)
    assert "may have 50" in found.rounds[0].failed["b"]


async def test_one_who_is_left_does_not_agree_with_itself() -> None:
    found = await hold({"a": holds("4"), "b": holds(ValueError("no"))}, rules=DebateRules(rounds=2))

    assert found.stop is StopReason.ROUNDS


async def test_whoever_streams_is_told_each_round() -> None:
    async with AgentManager() as manager:
        for name in "ab":
            await manager.register(Debater(name, holds(name)))
        await manager.register(DebateAgent("hall", ["a", "b"]))
        async with manager.stream(manager.ask("hall", OpenDebate("who?"))) as stream:
            rounds = [message.number async for message in stream if isinstance(message, RoundHeld)]

    assert rounds == [1, 2, 3]


class Hold(Request[str]):
    question: str


@pytest.mark.parametrize("pattern", ["debate", "poll"])
async def test_a_turn_that_fails_beside_it_records_nothing_of_a_pattern_that_is_left_behind(pattern: str) -> None:
    async def client(message: Hold, ctx: AgentContext) -> Any:
        async def fail() -> None:
            await asyncio.sleep(0.5)
            raise TimeoutError("beside it")

        paper = BallotPaper(message.question, ("tea", "water"))
        held = debate(ctx, message.question, ["a", "b"]) if pattern == "debate" else vote(ctx, ["a", "b"], paper)
        if ctx.attempt == 1:
            await asyncio.gather(held, fail())
        done: Any = await held
        return done.elected if pattern == "poll" else done.answer

    class Slow(Debater):
        @handles
        async def fill_in(self, message: BallotPaper) -> list[str]:
            await asyncio.sleep(1.0)
            return ["tea"]

    async with AgentManager() as manager:
        for name in ("a", "b"):
            await manager.register(Slow(name, lambda message: asyncio.sleep(1.0, "tea")))
        await manager.register(client)

        assert await manager.ask("client", Hold("tea?")) == "tea"


class Start(Payload):
    pass


async def test_another_life_of_the_process_finds_the_same_rounds_and_the_same_verdict() -> None:
    disk = SimulatedBackend()
    found: list[Outcome] = []

    class Moody(Agent):
        cancel_with_asker = True

        @handles
        async def argue(self, message: Argue) -> str:
            if self.id == "late" and not found:
                await asyncio.sleep(1000)
            return f"{self.id} {len(found)}"

        @handles
        async def judge(self, message: Judge) -> str:
            return f"verdict {len(found)}"

    class Client(Agent):
        @handles
        async def start(self, message: Start, ctx: AgentContext) -> None:
            rules = DebateRules(rounds=2, timeout=5)
            found.append(await debate(ctx, "?", ["a", "late", "b"], judge="judge", rules=rules))
            if len(found) == 1:
                disk.fail()
                await asyncio.Event().wait()

    await two_lives(disk, lambda: [Moody("a"), Moody("late"), Moody("b"), Moody("judge"), Client("client")], Start())

    assert len(found) == 2
    assert found[0] == found[1]
    assert found[1].answer == "verdict 0"
    assert found[1].rounds[0].failed.keys() == {"late"}


@pytest.mark.parametrize(("debaters", "judge"), [(["a"], None), (["a", "a"], None), (["a", "b"], "b")])
async def test_a_debate_that_cannot_be_held_is_refused(debaters: list[str], judge: str | None) -> None:
    async with AgentManager() as manager:
        await manager.register(DebateAgent("hall", debaters, judge))
        with pytest.raises(Exception, match="needs two debaters"):
            await manager.ask("hall", OpenDebate("?"))


async def test_debaters_are_found_by_what_they_can_do() -> None:
    class Able(Debater):
        capabilities = ("arguing",)

    async with AgentManager() as manager:
        for name in ("a", "b"):
            await manager.register(Able(name, holds("4")))
        await manager.register(DebateAgent("hall", "capability:arguing"))

        assert set((await manager.ask("hall", OpenDebate("how many?"))).held) == {"a", "b"}


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"timeout": 0}, {"longest": 0}])
def test_rules_that_allow_no_debate_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a debate needs"):
        DebateRules(**wrong)


@pytest.mark.parametrize("needed", [0.5, 0, 1.1])
def test_a_share_that_could_be_had_twice_is_refused(needed: float) -> None:
    with pytest.raises(ValueError, match="share above"):
        share(needed)


@pytest.mark.parametrize(("one", "other"), [("Four", " four. "), ("“4”", "4"), ("a  b", "A b!")])
def test_answers_that_differ_in_nothing_that_matters_are_equal(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(("one", "other"), [("-4", "4"), (".5", "5"), ("3.1", "31"), ("a b", "ab"), ("?", "!!")])
def test_answers_that_differ_stay_different(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


@given(st.dictionaries(st.sampled_from("abcdefg"), st.sampled_from(["x", "y", "z"]), min_size=1), st.integers(0, 3))
def test_agreement_is_what_counting_says(held: dict[str, str], absent: int) -> None:
    positions = {name: Position(answer) for name, answer in held.items()}
    debaters = len(held) + absent
    (answer, number), *_ = Counter(held.values()).most_common()

    assert unanimous(positions, debaters) == (answer if number == len(held) and 2 * number > debaters else None)
    assert share(2 / 3)(positions, debaters) == (answer if 3 * number >= 2 * debaters else None)
    assert share(1.0)(positions, debaters) == (answer if number == debaters else None)


def test_what_leads_is_the_answer_of_most() -> None:
    rounds = (Round({"a": Position("x"), "b": Position("y"), "c": Position("z")}), Round({"c": Position("Y.")}))

    assert Outcome(StopReason.ROUNDS, None, rounds).leading == "y"
