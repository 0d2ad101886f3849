"""The admission queue: at most ``slots`` at once, by priority and arrival, nothing lost and nothing stuck."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moot.engine.base import Completion, CompletionChunk, EngineRequest
from moot.engine.errors import (
    ContextOverflow,
    EngineBreakerOpen,
    EngineError,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
)
from moot.engine.queue import AdmissionQueue
from moot.engine.scripted import ScriptedEngine
from moot.policies import BreakerPolicy
from moot.testing import VirtualClockLoop, run

from .conftest import ask


class Gate:
    """An answer that waits until the test lets it go; requests are told apart by their text."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        self.inside: dict[str, asyncio.Future[str]] = {}

    async def __call__(self, request: EngineRequest) -> str:
        text = request.messages[-1].content
        self.entered.append(text)
        self.inside[text] = asyncio.get_running_loop().create_future()
        try:
            return await self.inside[text]
        finally:
            del self.inside[text]


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def gated(body: Callable[[AdmissionQueue, Gate], Coroutine[Any, Any, None]], slots: int = 1) -> None:
    gate = Gate()
    queue = AdmissionQueue(ScriptedEngine(gate, slots=slots))
    run(body(queue, gate))


def test_no_more_requests_enter_than_there_are_slots() -> None:
    async def body(queue: AdmissionQueue, gate: Gate) -> None:
        tasks = [asyncio.create_task(queue.generate(ask(str(number)))) for number in range(5)]
        await settle()
        assert gate.entered == ["0", "1"]
        assert (queue.stats().running, queue.stats().waiting) == (2, 3)

        gate.inside["1"].set_result("done")
        await settle()
        assert gate.entered == ["0", "1", "2"]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (queue.stats().running, queue.stats().waiting) == (0, 0)

    gated(body, slots=2)


def test_lower_priority_numbers_enter_first_and_ties_by_arrival() -> None:
    async def body(queue: AdmissionQueue, gate: Gate) -> None:
        order = [("first", 5), ("low", 9), ("high", 1), ("high too", 1), ("mid", 5)]
        tasks = [asyncio.create_task(queue.generate(ask(name, priority=priority))) for name, priority in order]
        await settle()
        while gate.inside:
            next(iter(gate.inside.values())).set_result("")
            await settle()
        await asyncio.gather(*tasks)
        assert gate.entered == ["first", "high", "high too", "mid", "low"]

    gated(body)


def test_a_cancelled_waiter_leaves_no_trace() -> None:
    async def body(queue: AdmissionQueue, gate: Gate) -> None:
        running = asyncio.create_task(queue.generate(ask("running")))
        waiting = asyncio.create_task(queue.generate(ask("waiting")))
        await settle()
        waiting.cancel()
        await settle()
        assert queue.stats().waiting == 0

        gate.inside["running"].set_result("")
        await running
        assert gate.entered == ["running"]

    gated(body)


def test_a_request_cancelled_in_the_pass_of_its_admission_gives_the_slot_back() -> None:
    async def body(queue: AdmissionQueue, gate: Gate) -> None:
        async def run_then_cancel() -> None:
            await queue.generate(ask("a"))
            admitted.cancel()  # its future has its result, but it has not run yet

        running = asyncio.create_task(run_then_cancel())
        await settle()
        admitted, last = (asyncio.create_task(queue.generate(ask(name))) for name in ("b", "c"))
        await settle()
        gate.inside["a"].set_result("")
        await settle()
        await running
        assert gate.entered == ["a", "c"]
        assert admitted.cancelled()
        assert "c" in gate.inside
        gate.inside["c"].set_result("")
        await last
        assert queue.stats().running == 0

    gated(body)


def test_a_deadline_counts_while_waiting() -> None:
    async def body(queue: AdmissionQueue, gate: Gate) -> None:
        running = asyncio.create_task(queue.generate(ask("running")))
        await settle()
        with pytest.raises(EngineTimeout):
            await queue.generate(ask("late", deadline=VirtualClockLoop.epoch + 2.0))
        assert asyncio.get_running_loop().time() == 2.0
        assert queue.stats().waiting == 0
        gate.inside["running"].set_result("")
        await running
        assert gate.entered == ["running"]

    gated(body)


def test_a_closed_queue_fails_those_who_wait() -> None:
    async def body(queue: AdmissionQueue, gate: Gate) -> None:
        running = asyncio.create_task(queue.generate(ask("running")))
        waiting = asyncio.create_task(queue.generate(ask("waiting")))
        await settle()
        await queue.close()
        with pytest.raises(EngineUnavailable, match="closed"):
            await waiting
        with pytest.raises(EngineUnavailable, match="closed"):
            await queue.generate(ask("later"))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert gate.entered == ["running"]

    gated(body)


def test_too_many_requests_pauses_all_and_keeps_the_place() -> None:
    entered: list[tuple[str, float]] = []
    refusals = [EngineUnavailable("hosted", "429", retry_after=7.0)]

    def answer(request: EngineRequest) -> str | EngineError:
        entered.append((request.messages[-1].content, asyncio.get_running_loop().time()))
        return refusals.pop() if refusals else "ok"

    async def main() -> None:
        queue = AdmissionQueue(ScriptedEngine(answer))
        answers = await asyncio.gather(*(queue.generate(ask(name)) for name in ("a", "b")))
        assert [completion.text for completion in answers] == ["ok", "ok"]
        assert queue.stats().requests == 2

    run(main())
    assert entered == [("a", 0.0), ("a", 7.0), ("b", 7.0)]


def test_patience_with_a_busy_engine_is_bounded_by_attempts_and_by_the_deadline() -> None:
    def answer(_: EngineRequest) -> EngineError:
        return EngineUnavailable("hosted", "429", retry_after=5.0)

    async def main() -> None:
        queue = AdmissionQueue(ScriptedEngine(answer), attempts=3)
        with pytest.raises(EngineUnavailable):
            await queue.generate(ask("a"))
        assert asyncio.get_running_loop().time() == 10.0
        with pytest.raises(EngineTimeout):
            await queue.generate(ask("b", deadline=VirtualClockLoop.epoch + 12.0))
        assert queue.stats().failures == 2

    run(main())


def test_other_errors_are_not_tried_again() -> None:
    engine = ScriptedEngine([EngineRejected("e", "bad"), EngineUnavailable("e", "gone")])

    async def main() -> None:
        queue = AdmissionQueue(engine)
        with pytest.raises(EngineRejected):
            await queue.generate(ask("a"))
        with pytest.raises(EngineUnavailable):
            await queue.generate(ask("a"))

    run(main())
    engine.assert_exhausted()


def test_waiting_is_counted_apart_from_engine_time() -> None:
    async def main() -> None:
        queue = AdmissionQueue(ScriptedEngine(lambda _: "one two", seconds=4.0))
        await asyncio.gather(*(queue.generate(ask("q")) for _ in range(3)))
        stats = queue.stats()
        assert (stats.requests, stats.usage.completion_tokens) == (3, 6)
        assert (stats.waiting_seconds, stats.engine_seconds, stats.busy_seconds) == (12.0, 12.0, 12.0)

    run(main())


def test_busy_seconds_count_once_where_requests_overlap() -> None:
    async def main() -> None:
        queue = AdmissionQueue(ScriptedEngine(lambda _: "x", seconds=4.0, slots=3))
        await asyncio.gather(*(queue.generate(ask("q")) for _ in range(3)))
        assert (queue.stats().engine_seconds, queue.stats().busy_seconds) == (12.0, 4.0)

    run(main())


def test_a_stream_holds_its_slot_until_it_is_left() -> None:
    async def main() -> None:
        queue = AdmissionQueue(ScriptedEngine(lambda _: "one two three"))
        chunks = queue.stream(ask("a"))
        await anext(chunks)
        waiting = asyncio.create_task(queue.generate(ask("b")))
        await settle()
        assert (queue.stats().running, queue.stats().waiting) == (1, 1)
        await chunks.aclose()
        assert (await waiting).text == "one two three"
        pieces = [chunk.text async for chunk in queue.stream(ask("c"))]
        assert "".join(pieces) == "one two three"
        assert queue.stats().requests == 2

    run(main())


def test_leaving_a_stream_leaves_the_stream_of_the_engine_at_once() -> None:
    left = []

    class Endless(ScriptedEngine):
        async def stream(self, request: EngineRequest) -> AsyncGenerator[CompletionChunk, None]:
            try:
                while True:
                    yield CompletionChunk(text="again ")
            finally:
                left.append(request)

    async def main() -> None:
        chunks = AdmissionQueue(Endless()).stream(ask("a"))
        await anext(chunks)
        await chunks.aclose()
        assert len(left) == 1

    run(main())


def test_a_stream_is_tried_again_only_before_its_first_chunk() -> None:
    async def main() -> None:
        busy = EngineUnavailable("hosted", "429", retry_after=5.0)
        queue = AdmissionQueue(ScriptedEngine([busy, "fine"]))
        assert "".join([chunk.text async for chunk in queue.stream(ask("a"))]) == "fine"
        assert asyncio.get_running_loop().time() == 5.0

    run(main())


def failing(*kinds: EngineError | str) -> tuple[AdmissionQueue, list[str]]:
    """A queue whose engine answers with these in turn, and the requests that reached it."""
    reached: list[str] = []
    left = list(kinds)

    def answer(request: EngineRequest) -> str | EngineError:
        reached.append(request.messages[-1].content)
        return left.pop(0) if len(left) > 1 else left[0]

    return AdmissionQueue(ScriptedEngine(answer), breaker=BreakerPolicy(failures=3, reset_after=60)), reached


GONE = EngineUnavailable("e", "connection refused")


def test_an_engine_that_fails_repeatedly_is_left_alone_and_tried_again_later() -> None:
    async def main() -> None:
        queue, reached = failing(GONE, GONE, GONE, GONE, "back")
        for _ in range(3):
            with pytest.raises(EngineUnavailable, match="connection refused"):
                await queue.generate(ask("a"))
        assert queue.stats().breaker == "open"
        with pytest.raises(EngineBreakerOpen, match="connection refused") as refused:
            await queue.generate(ask("b"))
        assert (refused.value.retry_after, refused.value.retryable, len(reached)) == (60, True, 3)

        await asyncio.sleep(60)
        with pytest.raises(EngineUnavailable, match="connection refused"):
            await queue.generate(ask("probe"))
        with pytest.raises(EngineBreakerOpen):
            await anext(queue.stream(ask("c")))
        await asyncio.sleep(60)
        assert (await queue.generate(ask("probe"))).text == "back"
        assert "".join([chunk.text async for chunk in queue.stream(ask("d"))]) == "back"

        assert reached == ["a", "a", "a", "probe", "probe", "d"]
        assert queue.stats().breaker == "closed"
        assert (queue.stats().running, queue.stats().failures) == (0, 6)

    run(main())


def test_those_who_wait_when_the_breaker_opens_fail_without_being_sent() -> None:
    async def main() -> None:
        queue, reached = failing(GONE)
        answers = await asyncio.gather(*(queue.generate(ask(str(n))) for n in range(6)), return_exceptions=True)

        assert [type(one) for one in answers] == [EngineUnavailable] * 3 + [EngineBreakerOpen] * 3
        assert len(reached) == 3

    run(main())


def test_refusals_and_requests_that_are_too_long_do_not_open_the_breaker() -> None:
    async def main() -> None:
        for error in (EngineRejected("e", "bad"), ContextOverflow("e", 9, 9, 9), EngineTimeout("e", 3)):
            queue, reached = failing(GONE, GONE, error)
            for _ in range(9):
                with pytest.raises(EngineError):
                    await queue.generate(ask("a"))
            assert (len(reached), queue.stats().breaker) == (9, "closed")

    run(main())


def test_cancelled_requests_do_not_open_the_breaker() -> None:
    async def body(queue: AdmissionQueue, gate: Gate) -> None:
        for _ in range(9):
            task = asyncio.create_task(queue.generate(ask("a")))
            await settle()
            task.cancel()
            await settle()
        assert queue.stats().breaker == "closed"

    gated(body)


def test_patience_comes_before_the_breaker() -> None:
    async def main() -> None:
        busy = EngineUnavailable("e", "429", retry_after=5.0)
        kinds: list[EngineError | str] = [busy, busy, "ok"] * 4
        queue, reached = failing(*kinds)
        for _ in range(4):
            assert (await queue.generate(ask("a"))).text == "ok"
        assert (len(reached), queue.stats().breaker) == (12, "closed")

    run(main())


def test_a_queue_without_a_breaker_never_gives_up() -> None:
    async def main() -> None:
        queue = AdmissionQueue(ScriptedEngine(lambda _: GONE), breaker=None)
        for _ in range(50):
            with pytest.raises(EngineUnavailable, match="connection refused"):
                await queue.generate(ask("a"))

    run(main())


class AdmissionMachine(RuleBasedStateMachine):
    """Against the simplest model: two sorted lists, who is inside and who waits."""

    slots = 2

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualClockLoop()
        self.gate = Gate()
        self.queue = AdmissionQueue(ScriptedEngine(self.gate, slots=self.slots))
        self.tasks: dict[str, asyncio.Task[Completion]] = {}
        self.inside: list[str] = []
        self.waiting: list[tuple[int, int, str]] = []
        self.count = 0

    def step(self) -> None:
        self.loop.run_until_complete(settle())
        while self.waiting and len(self.inside) < self.slots:
            self.waiting.sort()
            self.inside.append(self.waiting.pop(0)[2])

    @rule(priority=st.integers(0, 3))
    def submit(self, priority: int) -> None:
        name = str(self.count)
        self.waiting.append((priority, self.count, name))
        self.count += 1
        self.tasks[name] = self.loop.create_task(self.queue.generate(ask(name, priority=priority)))
        self.step()

    @precondition(lambda self: self.inside)
    @rule(choice=st.integers(0, 1))
    def finish(self, choice: int) -> None:
        name = self.inside.pop(choice % len(self.inside))
        self.gate.inside[name].set_result("done")
        self.step()
        assert self.tasks.pop(name).result().text == "done"

    @precondition(lambda self: self.tasks)
    @rule(choice=st.integers(0, 9))
    def cancel(self, choice: int) -> None:
        name = sorted(self.tasks)[choice % len(self.tasks)]
        self.tasks.pop(name).cancel()
        self.inside = [other for other in self.inside if other != name]
        self.waiting = [waiter for waiter in self.waiting if waiter[2] != name]
        self.step()

    @invariant()
    def agrees(self) -> None:
        async def look() -> None:
            stats = self.queue.stats()
            assert (stats.running, stats.waiting) == (len(self.inside), len(self.waiting))

        self.loop.run_until_complete(look())
        assert sorted(self.gate.inside) == sorted(self.inside)

    def teardown(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        self.loop.run_until_complete(settle())
        self.loop.close()


AdmissionMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestAdmissionMachine = AdmissionMachine.TestCase
