"""Map-reduce: the result is that of one careful worker, whoever crashes, hangs, answers rubbish or answers twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot import Agent, AgentContext, AgentManager, Payload, TurnError, handles
from moot.patterns.map_reduce import (
    Job,
    MapPart,
    MapReduceAgent,
    MapReduceFailed,
    PartDone,
    Reduced,
    ReduceKey,
    RunMapReduce,
    map_reduce,
    split,
)
from moot.patterns.map_reduce.pool import NobodyAble, Pool
from moot.testing import FakeContext, SimulatedBackend, run
from tests.lives import two_lives

Script = Callable[[Any], Any]


def words(message: MapPart) -> list[tuple[str, int]]:
    return [(word, 1) for word in message.part.split()]


def total(message: ReduceKey) -> int:
    return sum(message.values)


def add(key: str, values: list[int]) -> int:
    return sum(values)


class Worker(Agent):
    capabilities = ("working",)
    cancel_with_asker = True

    def __init__(self, agent_id: str, script: Script = words, seconds: float = 0.0) -> None:
        super().__init__(agent_id)
        self.script = script
        self.seconds = seconds
        self.asked: list[Any] = []
        self.at_once = self.most_at_once = 0

    @handles(MapPart, ReduceKey)
    async def work(self, message: MapPart | ReduceKey) -> Any:
        self.asked.append(message)
        await asyncio.sleep(self.seconds)
        answer = total(message) if isinstance(message, ReduceKey) else self.script(message)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def do(workers: list[Worker], parts: list[Any], job: Job | None = None) -> Reduced:
    async with AgentManager() as manager:
        for worker in workers:
            await manager.register(worker)
        job = job or Job("capability:working", "capability:working", timeout=5)
        await manager.register(MapReduceAgent("job", job))
        return await manager.ask("job", RunMapReduce(parts), timeout=10_000)


async def test_words_are_counted_by_several_workers() -> None:
    found = await do([Worker(name) for name in "abc"], ["a b a", "b", "c a"])

    assert found.values == {"a": 3, "b": 2, "c": 1}
    assert sum(found.work.values()) == 3 + 3
    assert found.retried == 0


async def test_a_reducer_may_be_a_function_and_a_mapper_may_answer_a_map() -> None:
    found = await do([Worker("a", lambda m: dict(Counter(m.part.split())))], ["x y", "y"], Job("a", add))

    assert found.values == {"x": 1, "y": 2}


async def test_a_combiner_reduces_before_the_shuffle() -> None:
    workers = [Worker("a"), Worker("sum")]

    found = await do(workers, ["x x y", "x"], Job("a", "sum", combine=add))

    assert found.values == {"x": 3, "y": 1}
    assert sorted(message.key + str(message.values) for message in workers[1].asked) == ["x[2, 1]", "y[1]"]


async def test_values_that_cannot_be_combined_are_an_attempt_in_vain() -> None:
    workers = [Worker("bad", lambda message: [("x", "one")]), Worker("good")]

    found = await do(workers, ["x x y"], Job("capability:working", add, combine=add))

    assert (found.values, found.work, found.retried) == ({"x": 2, "y": 1}, {"good": 1}, 1)


async def test_values_are_reduced_in_the_order_of_the_parts_whoever_is_first() -> None:
    workers = [Worker("slow", lambda m: {"k": m.number}, 3.0), Worker("fast", lambda m: {"k": m.number}, 0.1)]
    job = Job("capability:working", lambda key, values: values)

    found = await do(workers, list(range(10)), job)

    assert found.values == {"k": list(range(10))}
    assert found.work["fast"] > found.work["slow"]


async def test_no_parts_are_no_result() -> None:
    assert await do([Worker("a")], []) == Reduced({})


@pytest.mark.parametrize(
    "script",
    [
        lambda _: ValueError("out of paper"),
        lambda _: 42,
        lambda _: [("a", 1), ("b",)],
        lambda _: [(1, "a")],
        lambda _: [("a", 1)] * 101,
        lambda _: "ab",
        lambda _: {3: 4},
        lambda _: {"\ud800": 1},
    ],
)
async def test_a_worker_that_is_no_good_costs_time_and_nothing_else(script: Script) -> None:
    bad = Worker("bad", script)
    job = Job("capability:working", add, attempts=2, most_pairs=100)

    found = await do([bad, Worker("good", seconds=1.0)], [f"x y{n}" for n in range(12)], job)

    assert found.values["x"] == 12
    assert found.work == {"good": 12}
    assert len(bad.asked) == job.retire_after


async def test_one_who_hangs_holds_up_its_own_tasks_and_they_are_done_by_others() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()

    found = await do(
        [Worker("hanging", seconds=1e6), Worker("good")], ["x"] * 20, Job("capability:working", add, timeout=5)
    )

    assert found.values == {"x": 20}
    assert found.retried == 1
    assert loop.time() - began < 6


async def test_an_answer_that_comes_after_its_time_counts_for_nothing() -> None:
    class Late(Agent):
        """Answers everything, and late; it does not stop when nobody waits."""

        capabilities = ("working",)

        @handles
        async def work(self, message: MapPart) -> dict[str, int]:
            await asyncio.sleep(2)
            return {"x": 1000}

    async with AgentManager() as manager:
        await manager.register(Late("late"))
        await manager.register(Worker("good", seconds=0.5))
        await manager.register(MapReduceAgent("job", Job("capability:working", add, timeout=1)))
        found = await manager.ask("job", RunMapReduce(["x"] * 8), timeout=100)

    assert found.values == {"x": 8}
    assert found.work == {"good": 8}


async def test_a_part_that_nobody_can_map_fails_the_job_and_says_so() -> None:
    workers = [Worker(name, lambda m: ValueError("a riddle") if m.number == 1 else words(m)) for name in "abc"]

    with pytest.raises(TurnError, match=r"map of part 1 failed 3 times, at last: .*a riddle"):
        await do(workers, ["a", "b", "c"])

    assert sorted(worker.id for worker in workers for message in worker.asked if message.number == 1) == ["a", "b", "c"]


async def test_a_failed_job_carries_its_facts() -> None:
    with pytest.raises(MapReduceFailed) as failed:
        await map_reduce(FakeContext.of(answers={"a": 42}), ["x"], Job("a", add, attempts=2))

    assert (failed.value.stage, failed.value.task, failed.value.attempts) == ("map", "part 0", 2)
    assert "'a' answered rubbish" in failed.value.reason


async def test_without_workers_the_job_fails_and_one_that_comes_in_time_saves_it() -> None:
    job = Job("capability:working", add, attempts=8)
    async with AgentManager() as manager:
        await manager.register(MapReduceAgent("job", job))
        with pytest.raises(TurnError, match="nobody has 'capability:working'"):
            await manager.ask("job", RunMapReduce(["x"]), timeout=100)
        running = asyncio.ensure_future(manager.ask("job", RunMapReduce(["x"]), timeout=100))
        await asyncio.sleep(0.01)
        await manager.register(Worker("late"))

        assert (await running).values == {"x": 1}


@pytest.mark.parametrize(("parallel", "per_worker", "most"), [(3, 4, 3), (100, 2, 8), (100, 1, 4), (1, 9, 1)])
async def test_only_so_many_tasks_are_under_way_at_once(parallel: int, per_worker: int, most: int) -> None:
    under_way: list[int] = [0, 0]

    class Busy(Agent):
        capabilities = ("working",)
        concurrency = 100

        @handles
        async def work(self, message: MapPart) -> dict[str, int]:
            under_way[0] += 1
            under_way[1] = max(under_way)
            await asyncio.sleep(1)
            under_way[0] -= 1
            return {"x": 1}

    async with AgentManager() as manager:
        for number in range(4):
            await manager.register(Busy(f"busy_{number}"))
        job = Job("capability:working", add, parallel=parallel, per_worker=per_worker)
        await manager.register(MapReduceAgent("job", job))
        found = await manager.ask("job", RunMapReduce([""] * 40), timeout=1000)

    assert found.values == {"x": 40}
    assert under_way == [0, most]


async def test_whoever_streams_is_told_of_each_task() -> None:
    async with AgentManager() as manager:
        await manager.register(Worker("a"))
        await manager.register(MapReduceAgent("job", Job("a", "a")))
        async with manager.stream(manager.ask("job", RunMapReduce(["x", "y"]))) as stream:
            told = [(m.stage, m.number, m.tasks, m.worker) async for m in stream if isinstance(m, PartDone)]

    assert told == [("map", 0, 2, "a"), ("map", 1, 2, "a"), ("reduce", 0, 2, "a"), ("reduce", 1, 2, "a")]


class Start(Payload):
    pass


async def test_another_life_of_the_process_asks_for_what_was_not_done_and_for_nothing_else() -> None:
    disk = SimulatedBackend()
    asked: list[Any] = []
    found: list[Reduced] = []

    class Mapper(Agent):
        @handles(MapPart, ReduceKey)
        async def work(self, message: MapPart | ReduceKey) -> Any:
            asked.append(message.number if isinstance(message, MapPart) else message.key)
            if len(asked) == 6:
                await asyncio.sleep(1)  # what was answered is on the disk
                disk.fail()
                await asyncio.Event().wait()
            return {"x": len(asked)} if isinstance(message, MapPart) else message.values

    class Client(Agent):
        @handles
        async def start(self, message: Start, ctx: AgentContext) -> None:
            found.append(await map_reduce(ctx, ["p"] * 8, Job("mapper", "mapper", timeout=100)))

    await two_lives(disk, lambda: [Mapper("mapper"), Client("client")], Start())

    assert asked == [0, 1, 2, 3, 4, 5, 5, 6, 7, "x"]
    assert found[0].values == {"x": [1, 2, 3, 4, 5, 7, 8, 9]}


async def test_a_task_that_was_done_in_a_second_attempt_is_not_begun_again_in_another_life() -> None:
    disk = SimulatedBackend()
    asked: list[str] = []
    found: list[Reduced] = []

    class Mapper(Agent):
        capabilities = ("working",)

        @handles
        async def work(self, message: MapPart) -> Any:
            asked.append(self.id)
            if self.id == "moody" and not found:
                raise ValueError("not today")
            return {"x": self.id}

    class Client(Agent):
        @handles
        async def start(self, message: Start, ctx: AgentContext) -> None:
            found.append(await map_reduce(ctx, ["p"], Job("capability:working", lambda key, values: values)))
            if len(found) == 1:
                disk.fail()
                await asyncio.Event().wait()

    await two_lives(disk, lambda: [Mapper("moody"), Mapper("steady"), Client("client")], Start())

    assert asked == ["moody", "steady"]
    assert len(found) == 2
    assert found[0] == found[1]


texts = st.lists(st.lists(st.sampled_from("abcd"), max_size=5).map(" ".join), max_size=12)


@given(texts, st.integers(1, 5), st.integers(0, 2**32), st.booleans())
def test_the_result_is_that_of_one_careful_worker(parts: list[str], workers: int, seed: int, combine: bool) -> None:
    async def main() -> Reduced:
        class Flaky(Agent):
            """Takes its time, and fails every third task."""

            capabilities = ("working",)

            def __init__(self, agent_id: str) -> None:
                super().__init__(agent_id)
                self.asked: list[Any] = []

            @handles(MapPart, ReduceKey)
            async def work(self, message: MapPart | ReduceKey, ctx: AgentContext) -> Any:
                await asyncio.sleep(ctx.random.random())
                self.asked.append(message)
                if len(self.asked) % 3 == 0:
                    raise ValueError("tired")
                return words(message) if isinstance(message, MapPart) else total(message)

        async with AgentManager(seed=seed) as manager:
            for number in range(workers):
                await manager.register(Flaky(f"flaky_{number}"))
            job = Job("capability:working", "capability:working", combine=add if combine else None, attempts=9)
            await manager.register(MapReduceAgent("job", job))
            return await manager.ask("job", RunMapReduce(list(parts)), timeout=10_000)

    found = run(main())

    assert found.values == Counter(" ".join(parts).split())
    assert list(found.values) == sorted(found.values)


# the pool


def pool(workers: str, per_worker: int = 1) -> Pool:
    return Pool(FakeContext.of(able={"work": list(workers)}), "capability:work", per_worker, retire_after=2)


def test_a_task_that_failed_waits_for_one_who_has_not_tried_it() -> None:
    workers = pool("ab")
    run(workers.take(Counter()))

    assert workers.choose(Counter()) == "b"
    assert workers.choose(Counter({"b": 1})) is None

    workers.release("a", failed=False)
    assert workers.choose(Counter({"b": 1})) == "a"


def test_who_fails_again_and_again_is_passed_over_until_nobody_else_is_left() -> None:
    workers = pool("ab")
    for _ in range(2):
        assert run(workers.take(Counter({"b": 1}))) == "a"
        workers.release("a", failed=True)

    assert run(workers.take(Counter())) == "b"
    assert workers.choose(Counter()) is None
    workers.release("b", failed=True)
    assert run(workers.take(Counter())) == "b"
    workers.release("b", failed=True)
    assert workers.choose(Counter()) == "a"


def test_nobody_at_all_is_an_error() -> None:
    with pytest.raises(NobodyAble, match="register a worker"):
        pool("").choose(Counter())


@given(st.lists(st.integers()), st.integers(1, 9))
def test_what_is_split_is_all_there_in_order(items: list[int], size: int) -> None:
    parts = split(items, size)

    assert [item for part in parts for item in part] == items
    assert all(len(part) == size for part in parts[:-1])


@pytest.mark.parametrize(
    "wrong", [{"parallel": 0}, {"per_worker": 0}, {"attempts": 0}, {"most_pairs": 0}, {"timeout": 0}]
)
def test_a_job_that_could_not_be_done_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"1 or more|above 0"):
        Job("a", add, **wrong)
