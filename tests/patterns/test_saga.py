"""Saga: all steps are done, or all that were done are undone in reverse order; whatever fails, whoever gives up."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    AskTimeout,
    Backoff,
    Payload,
    Request,
    RetryPolicy,
    TimeoutPolicy,
    handles,
)
from moot.patterns.saga import Abort, RunSaga, SagaAborted, SagaAgent, SagaPolicy, SagaResult, SagaStepEnded, Step, saga
from moot.testing import FakeContext, SimulatedBackend, run

Mood = Literal["ok", "raise", "late", "hang", "rubbish", "endless"]
QUICK = SagaPolicy(undo_attempts=3, forward_attempts=3, backoff=Backoff(0.01, 0.1), undo_timeout=1.0, patience=0.5)

STEADY = msgspec.structs.replace(QUICK, undo_attempts=12)


class Go(Payload):
    pass


class Do(Request[int]):
    step: str
    amount: int = 1


class Undo(Request[bool]):
    step: str


class Ledger(Agent):
    """Does and undoes steps, in the moods it is given for each; what it did is in ``notes``, once."""

    concurrency = 1

    def __init__(self, agent_id: str, moods: dict[str, list[Mood]] | None = None) -> None:
        super().__init__(agent_id)
        self.moods = {what: list(some) for what, some in (moods or {}).items()}
        self.asked: defaultdict[str, int] = defaultdict(int)
        self.notes: list[str] = []

    @handles
    async def do(self, message: Do, ctx: AgentContext) -> Any:
        return await self._act("do", message.step, message.amount)

    @handles
    async def undo(self, message: Undo, ctx: AgentContext) -> Any:
        return await self._act("undo", message.step, True)

    async def _act(self, what: str, step: str, answer: Any) -> Any:
        note = f"{what} {step}"
        self.asked[note] += 1
        moods = self.moods.get(note, [])
        mood = moods.pop(0) if moods else "ok"
        if mood == "raise":
            raise ValueError(f"{note} is refused")
        if mood == "hang":
            await asyncio.sleep(2.0)
            raise ValueError(f"{note} came to nothing")
        if f"undo {step}" in self.notes and what == "do":
            raise ValueError("it was undone")
        if note not in self.notes:
            self.notes.append(note)
        if mood == "late":
            await asyncio.sleep(2.0)
        return {"rubbish": "rubbish", "endless": 1 << 200}.get(mood, answer)


def trip(*names: str, pivot: str = "") -> list[Step]:
    return [
        Step("ledger", Do(name), Undo(name) if name != pivot else None, name, timeout=1.0, pivot=name == pivot)
        for name in names
    ]


async def ask(ledger: Ledger, steps: list[Step]) -> SagaResult:
    async with AgentManager() as manager:
        await manager.register(ledger)
        await manager.register(SagaAgent("saga", steps, QUICK))
        return await manager.ask("saga", RunSaga(), timeout=100)


async def test_all_steps_are_done_in_order_and_later_ones_are_made_of_the_results_of_earlier_ones() -> None:
    ledger = Ledger("ledger")
    later = Step("ledger", lambda results: Do("b", results["a"] + results[""]), Undo("b"), "b")
    async with AgentManager() as manager:
        await manager.register(ledger)
        await manager.register(SagaAgent("saga", [*trip("a"), later], QUICK))
        result = await manager.ask("saga", RunSaga(41), timeout=100)

    assert result.results == {"": 41, "a": 1, "b": 42}
    assert ledger.notes == ["do a", "do b"]


async def test_what_was_done_before_a_step_that_failed_is_undone_in_reverse_order() -> None:
    ledger = Ledger("ledger", {"do c": ["raise"]})

    result = await ask(ledger, trip("a", "b", "c", "d"))

    assert ledger.notes == ["do a", "do b", "undo b", "undo a"]
    assert result.abort is not None
    assert (result.abort.failed, result.abort.undone, result.abort.not_undone) == ("c", ("b", "a"), {})
    assert "c is refused" in result.abort.error


async def test_an_undo_whose_answer_is_unfit_is_tried_again() -> None:
    ledger = Ledger("ledger", {"do b": ["raise"], "do back": ["endless"]})

    result = await ask(ledger, [Step("ledger", Do("a"), Do("back"), "a"), *trip("b")])

    assert result.abort is not None
    assert (result.abort.undone, result.abort.not_undone, ledger.asked["do back"]) == (("a",), {}, 2)


@pytest.mark.parametrize("wrong", [{"undo_timeout": math.inf}, {"undo_timeout": 0.0}, {"undo_attempts": 0}])
def test_a_policy_that_undoes_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"undo_timeout is above|attempts are"):
        SagaPolicy(**wrong)


@pytest.mark.parametrize("mood", ["late", "rubbish", "endless"])
async def test_a_step_that_may_have_happened_is_undone_too(mood: Mood) -> None:
    ledger = Ledger("ledger", {"do b": [mood]})

    result = await ask(ledger, trip("a", "b", "c"))

    assert ledger.notes == ["do a", "do b", "undo b", "undo a"]
    assert result.abort is not None
    assert result.abort.undone == ("b", "a")


async def test_a_step_whose_handler_raised_is_undone_only_if_it_says_so() -> None:
    ledger = Ledger("ledger", {"do a": ["raise"]})
    step = msgspec.structs.replace(trip("a")[0], undo_failed=True)

    result = await ask(ledger, [step])

    assert ledger.notes == ["undo a"]
    assert result.abort is not None
    assert result.abort.undone == ("a",)


async def test_a_compensation_is_tried_again_and_if_it_cannot_be_done_the_others_are_and_it_is_told() -> None:
    ledger = Ledger("ledger", {"do d": ["raise"], "undo c": ["raise"] * 2, "undo b": ["raise"] * 3})

    result = await ask(ledger, trip("a", "b", "c", "d"))

    assert ledger.notes == ["do a", "do b", "do c", "undo c", "undo a"]
    assert result.abort is not None
    assert result.abort.undone == ("c", "a")
    assert "b is refused" in result.abort.not_undone["b"]
    assert "look after them: b" in str(SagaAborted(result.abort))


async def test_an_asker_that_gives_up_leaves_nothing_half_done() -> None:
    ledger = Ledger("ledger", {"do c": ["late"]})
    async with AgentManager() as manager:
        await manager.register(ledger)
        await manager.register(SagaAgent("saga", trip("a", "b", "c"), QUICK))

        with pytest.raises(AskTimeout):
            await manager.ask("saga", RunSaga(), timeout=0.5)  # while the saga waits for its third step
        assert ledger.notes == ["do a", "do b", "do c"]
        await manager.settle()

    assert ledger.notes == ["do a", "do b", "do c", "undo c", "undo b", "undo a"]


async def test_an_asker_that_gives_up_while_steps_go_well_leaves_all_of_them_done() -> None:
    slow = [Step("slow", Wait(name), Undo(name), name) for name in ("a", "b", "c")]
    waiter = Waiter("slow")
    async with AgentManager() as manager:
        await manager.register(waiter)
        await manager.register(SagaAgent("saga", slow, QUICK))

        with pytest.raises(AskTimeout):
            await manager.ask("saga", RunSaga(), timeout=1.5)
        await manager.settle()

    assert waiter.done == ["a", "b", "c"]


class Interrupted(Agent):
    """Runs a saga in a turn that is cut off again and again, and run again."""

    retry = RetryPolicy(100, Backoff(0, 0))
    timeouts = TimeoutPolicy(run_timeout=0.5)
    outcome: Abort | None = None

    @handles
    async def go(self, message: Go, ctx: AgentContext) -> None:
        try:
            await saga(ctx, trip("a"), QUICK)
        except SagaAborted as error:
            self.outcome = error.abort


async def test_a_step_that_an_earlier_run_had_asked_for_is_undone_though_it_is_refused_now() -> None:
    ledger, runner = Ledger("ledger", {"do a": ["late", "raise"]}), Interrupted("runner")
    async with AgentManager() as manager:
        await manager.register(ledger)
        await manager.register(runner)
        await manager.tell("runner", Go())
        await manager.settle()

    assert ledger.notes == ["do a", "undo a"]
    assert runner.outcome is not None
    assert runner.outcome.undone == ("a",)


class Wait(Request[bool]):
    step: str


class Waiter(Agent):
    cancel_with_asker = True

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.done: list[str] = []

    @handles
    async def wait(self, message: Wait) -> bool:
        await asyncio.sleep(1.0)
        self.done.append(message.step)
        return True


async def test_past_the_pivot_steps_are_tried_until_they_are_done() -> None:
    ledger = Ledger("ledger", {"do c": ["raise", "hang"]})

    result = await ask(ledger, trip("a", "pay", "c", pivot="pay"))

    assert result.is_done
    assert ledger.notes == ["do a", "do pay", "do c"]


async def test_past_the_pivot_nothing_is_undone_and_what_stays_is_told() -> None:
    ledger = Ledger("ledger", {"do c": ["raise"] * 3})

    result = await ask(ledger, trip("a", "pay", "c", pivot="pay"))

    assert ledger.notes == ["do a", "do pay"]
    assert result.abort is not None
    assert result.abort.past_pivot
    assert set(result.abort.not_undone) == {"a", "pay"}


async def test_a_pivot_that_may_have_happened_and_cannot_be_undone_is_told() -> None:
    ledger = Ledger("ledger", {"do pay": ["late"]})

    result = await ask(ledger, trip("a", "pay", pivot="pay"))

    assert ledger.notes == ["do a", "do pay", "undo a"]
    assert result.abort is not None
    assert list(result.abort.not_undone) == ["pay"]


async def test_an_agent_that_is_not_there_yet_is_waited_for() -> None:
    ledger = Ledger("ledger")
    async with AgentManager() as manager:
        await manager.register(SagaAgent("saga", trip("a"), QUICK))
        asking = asyncio.ensure_future(manager.ask("saga", RunSaga(), timeout=10))
        await asyncio.sleep(0.2)
        await manager.register(ledger)

        assert (await asking).is_done


async def test_who_streams_is_told_of_each_step() -> None:
    ledger = Ledger("ledger", {"do b": ["raise"]})
    async with AgentManager() as manager:
        await manager.register(ledger)
        await manager.register(SagaAgent("saga", trip("a", "b"), QUICK))
        stream = manager.stream(manager.ask("saga", RunSaga()))
        told = [(one.step, one.what) async for one in stream if type(one) is SagaStepEnded]

    assert told == [("a", "done"), ("b", "failed"), ("a", "undone")]


async def test_two_steps_that_ask_the_same_are_both_done_and_both_undone_in_a_turn_that_is_run_again() -> None:
    same = [Step("counter", Wait("x"), Wait("y"), name) for name in ("a", "b")]
    waiter = Waiter("counter")
    runner = Runner("runner", [*same, Step("nobody", Wait("z"))], {2, 3, 4, 5, 6})
    async with AgentManager() as manager:
        await manager.register(waiter)
        await manager.register(runner)
        await manager.tell("runner", Go())
        await manager.settle()

    assert waiter.done == ["x", "x", "y", "y"]


async def test_misuse_is_refused_before_anything_is_done() -> None:
    ctx = FakeContext.of(answers={"ledger": 1})
    with pytest.raises(ValueError, match="1 step or more"):
        await saga(ctx, [])
    with pytest.raises(ValueError, match="a name of its own"):
        await saga(ctx, trip("a", "a"))
    with pytest.raises(ValueError, match="1 pivot"):
        await saga(ctx, [Step("a", Do("a"), pivot=True), Step("b", Do("b"), pivot=True)])
    ctx.message = msgspec.structs.replace(ctx.message, deadline=1.0)
    with pytest.raises(RuntimeError, match="ask a SagaAgent"):
        await saga(ctx, trip("a"))
    with pytest.raises(ValueError, match="attempt"):
        Step("a", Do("a"), attempts=0)


def test_an_agent_that_could_be_stopped_in_the_middle_is_refused() -> None:
    class Hasty(SagaAgent):
        cancel_with_asker = True

    with pytest.raises(TypeError, match="stopped in the middle"):
        Hasty("saga", trip("a"))


class Runner(Agent):
    """Runs a saga in a turn of its own, which fails at the given numbers of ended steps, counted over all runs."""

    retry = RetryPolicy(100, Backoff(0, 0))

    def __init__(self, agent_id: str, steps: list[Step], crashes: set[int]) -> None:
        super().__init__(agent_id)
        self.steps = steps
        self.crashes = crashes
        self.ended = 0
        self.outcome: Any = None

    @handles
    async def go(self, message: Go, ctx: AgentContext) -> None:
        try:
            self.outcome = await saga(ctx, self.steps, STEADY, ended=self._end)
        except SagaAborted as error:
            self.outcome = error.abort

    def _end(self, step: str, what: str) -> None:
        self.ended += 1
        if self.ended in self.crashes:
            raise TimeoutError("crashed here")


moods = st.lists(st.sampled_from(["ok", "raise", "late", "hang", "rubbish"]), max_size=3)
undo_moods = st.lists(st.sampled_from(["raise", "late", "hang", "rubbish"]), max_size=2)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), size=st.integers(1, 5), crashes=st.sets(st.integers(1, 20), max_size=6))
def test_at_the_end_the_ledger_is_all_done_or_all_undone(data: st.DataObject, size: int, crashes: set[int]) -> None:
    names = [f"s{number}" for number in range(size)]
    drawn: dict[str, list[Any]] = {f"do {name}": data.draw(moods) for name in names}
    drawn |= {f"undo {name}": data.draw(undo_moods) for name in names}
    attempts = data.draw(st.lists(st.integers(1, 2), min_size=size, max_size=size))
    steps = [msgspec.structs.replace(step, attempts=tries) for step, tries in zip(trip(*names), attempts, strict=True)]
    ledger, runner = Ledger("ledger", drawn), Runner("runner", steps, crashes)

    async def life() -> None:
        async with AgentManager() as manager:
            await manager.register(ledger)
            await manager.register(runner)
            await manager.tell("runner", Go())
            await manager.settle()

    run(life())

    done = [note.removeprefix("do ") for note in ledger.notes if note.startswith("do")]
    undone = [note.removeprefix("undo ") for note in ledger.notes if note.startswith("undo")]
    if isinstance(runner.outcome, Abort):
        assert set(done) <= set(undone)
        assert undone == sorted(undone, reverse=True)
        assert runner.outcome.undone == tuple(undone)
        assert not runner.outcome.not_undone
    else:
        assert done == names
        assert not undone


async def test_a_system_that_stops_in_the_middle_goes_on_in_its_next_life() -> None:
    backend = SimulatedBackend()
    ledger = Ledger("ledger", {"do c": ["raise"], "undo b": ["late"]})

    async def life(seconds: float) -> None:
        manager = AgentManager(backend)
        await manager.register(SagaAgent("saga", trip("a", "b", "c"), QUICK))
        await manager.register(ledger)
        await manager.start()
        await manager.tell("saga", RunSaga(), message_id="once")
        await asyncio.sleep(seconds)
        await manager.stop(drain=False)

    await life(0.5)  # ends while the compensation of b is under way
    assert ledger.notes == ["do a", "do b", "undo b"]
    await life(20)

    assert ledger.notes == ["do a", "do b", "undo b", "undo a"]
    assert ledger.asked["do c"] == 1
