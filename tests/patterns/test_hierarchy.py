"""Hierarchy: each part of a task has one result, whatever its workers do; deadlines, cancelling and budgets go down."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    AgentMessage,
    AskTimeout,
    InvalidPayload,
    Request,
    TurnError,
    handles,
)
from moot.patterns.hierarchy import (
    ByKey,
    Delegation,
    LeastLoaded,
    ManagerAgent,
    NoWorkers,
    PartFailed,
    RoundRobin,
    Task,
    TaskProgress,
    TaskRequest,
    TaskResult,
    WorkerAgent,
    delegate,
)


class Squarer(WorkerAgent):
    """Squares, after ``seconds``; fails its first ``failures`` tasks."""

    capabilities = ("squaring",)

    def __init__(self, agent_id: str, seconds: float = 0.0, failures: int = 0) -> None:
        super().__init__(agent_id)
        self.seconds = seconds
        self.failures = failures
        self.done: list[int] = []
        self.tasks: list[Task] = []
        self.deadlines: list[float | None] = []
        self.cancelled = 0

    async def work(self, content: Any, ctx: AgentContext) -> int:
        self.tasks.append(ctx.message.content)
        self.deadlines.append(ctx.deadline)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failures:
            self.failures -= 1
            raise ValueError("cannot square today")
        self.done.append(content)
        return int(content) ** 2


async def hire(manager: AgentManager, *agents: Agent[Any]) -> None:
    for agent in agents:
        await manager.register(agent)


async def test_a_list_is_split_done_and_put_together_in_its_order() -> None:
    async with AgentManager() as manager:
        workers = [Squarer("a", 0.3), Squarer("b", 0.1), Squarer("c")]
        await hire(manager, *workers, ManagerAgent("boss", ["a", "b", "c"]))

        assert await manager.ask("boss", TaskRequest([1, 2, 3, 4])) == [1, 4, 9, 16]
        assert await manager.ask("boss", TaskRequest(5)) == 25
        assert await manager.ask("boss", TaskRequest([])) == []

    assert sum(len(worker.done) for worker in workers) == 5


async def test_a_subclass_says_how_to_split_and_combine() -> None:
    class Sum(ManagerAgent):
        async def split(self, task: str, ctx: AgentContext) -> list[int]:
            return [int(word) for word in task.split()]

        def combine(self, task: Any, results: list[int], ctx: AgentContext) -> int:
            return sum(results)

    async with AgentManager() as manager:
        await hire(manager, Squarer("a"), Squarer("b"), Sum("boss", "capability:squaring"))

        assert await manager.ask("boss", TaskRequest("1 2 3")) == 14


async def test_a_part_whose_worker_fails_or_hangs_goes_to_another_and_has_one_result() -> None:
    async with AgentManager() as manager:
        hanging, failing, good = Squarer("hanging", 7.0), Squarer("failing", failures=9), Squarer("good")
        await hire(manager, hanging, failing, good)
        await hire(manager, ManagerAgent("boss", ["hanging", "failing", "good"], Delegation(timeout=5)))

        assert await manager.ask("boss", TaskRequest(list(range(9)))) == [n**2 for n in range(9)]
        assert sorted(good.done) == list(range(9))
        await asyncio.sleep(30)
        assert hanging.done == []


async def test_an_answer_that_comes_after_all_is_not_heard() -> None:
    class Late(Squarer):
        cancel_with_asker = False

    async with AgentManager() as manager:
        late = Late("late", 7.0)
        await hire(manager, late, Squarer("good"), ManagerAgent("boss", ["late", "good"], Delegation(timeout=5)))

        assert await manager.ask("boss", TaskRequest([2])) == [4]
        await asyncio.sleep(10)
        assert late.done == [2]


async def test_a_part_that_nobody_can_do_fails_the_task_and_says_why() -> None:
    async with AgentManager() as manager:
        await hire(manager, *(Squarer(name, failures=9) for name in "abc"), ManagerAgent("boss", "capability:squaring"))

        with pytest.raises(TurnError, match=r"part 1 of 1 of task .* failed 3 time.*cannot square today"):
            await manager.ask("boss", TaskRequest([2]))


async def test_a_manager_without_workers_says_so() -> None:
    async with AgentManager() as manager:
        await hire(manager, ManagerAgent("boss", "capability:squaring"))

        with pytest.raises(TurnError, match="no worker is there for capability:squaring"):
            await manager.ask("boss", TaskRequest([2]))


async def test_a_manager_may_know_what_to_do_without_a_result() -> None:
    class Resigned(ManagerAgent):
        async def failed(self, task: Any, failure: PartFailed | NoWorkers, ctx: AgentContext) -> str:
            return f"{len(failure.errors)} attempts, for nothing" if isinstance(failure, PartFailed) else "nobody"

    async with AgentManager() as manager:
        await hire(manager, Squarer("a", failures=9), Resigned("boss", ["a"]))

        await hire(manager, Resigned("lonely", "capability:flying"))

        assert await manager.ask("boss", TaskRequest([2])) == "3 attempts, for nothing"
        assert await manager.ask("lonely", TaskRequest([2])) == "nobody"


@pytest.mark.parametrize(("collect", "wanted"), [(2, [0, 4]), ("first", [0])])
async def test_as_many_results_as_are_needed_are_enough_and_the_others_are_cancelled(collect: Any, wanted: Any) -> None:
    async with AgentManager() as manager:
        workers = [Squarer("a", 1), Squarer("b", failures=9), Squarer("c", 2), Squarer("d", 60), Squarer("e", 60)]
        how = Delegation(collect=collect, attempts=1)
        await hire(manager, *workers, ManagerAgent("boss", [worker.id for worker in workers], how))

        assert await manager.ask("boss", TaskRequest([0, 1, 2, 3, 4])) == wanted
        await manager.settle()
        assert [worker.cancelled for worker in workers[3:]] == [1, 1]


async def test_more_failures_than_a_quorum_bears_end_it_at_once() -> None:
    async with AgentManager() as manager:
        workers = [Squarer("a", 1, failures=9), Squarer("b", failures=9), Squarer("c", 60)]
        how = Delegation(collect=2, attempts=1)
        await hire(manager, *workers, ManagerAgent("boss", ["a", "b", "c"], how))

        with pytest.raises(TurnError, match="PartFailed"):
            await manager.ask("boss", TaskRequest([1, 2, 3]))
        await manager.settle()
        assert workers[2].cancelled == 1


async def test_no_more_parts_are_under_way_than_are_allowed() -> None:
    under_way = most = 0

    class Counting(WorkerAgent):
        concurrency = 100

        async def work(self, content: Any, ctx: AgentContext) -> int:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(1)
            under_way -= 1
            return 0

    async with AgentManager() as manager:
        await hire(manager, Counting("a"), ManagerAgent("boss", ["a"], Delegation(parallel=7)))
        await manager.ask("boss", TaskRequest(list(range(20))))

    assert most == 7


def tree() -> tuple[list[ManagerAgent], list[Squarer]]:
    """Three levels: a head of two managers of three workers each."""
    workers = [Squarer(f"worker_{m}{n}", 10.0) for m in "ab" for n in range(3)]
    middle = [ManagerAgent(m, [f"worker_{m}{n}" for n in range(3)]) for m in "ab"]
    return [ManagerAgent("head", ["a", "b"]), *middle], workers


async def test_a_deadline_reaches_the_leaves_of_a_tree() -> None:
    managers, workers = tree()
    async with AgentManager() as manager:
        await hire(manager, *workers, *managers)
        with pytest.raises(AskTimeout):
            await manager.ask("head", TaskRequest([[1, 2, 3], [4, 5, 6]]), timeout=4)
        await manager.settle()

    deadlines = {deadline for worker in workers for deadline in worker.deadlines}
    assert len(deadlines) == 1
    assert [worker.cancelled for worker in workers] == [1] * 6
    assert not any(worker.done for worker in workers)


async def test_cancelling_reaches_the_leaves_of_a_tree() -> None:
    managers, workers = tree()
    async with AgentManager() as manager:
        await hire(manager, *workers, *managers)
        asking = asyncio.ensure_future(manager.ask("head", TaskRequest([[1, 2, 3], [4, 5, 6]])))
        await asyncio.sleep(3)

        asking.cancel()
        await asyncio.wait({asking})
        await manager.settle()

    assert [worker.cancelled for worker in workers] == [1] * 6


async def test_a_budget_is_divided_and_never_widened() -> None:
    managers, workers = tree()
    for worker in workers:
        worker.seconds = 0.0
    workers[0].failures = 9
    async with AgentManager() as manager:
        await hire(manager, *workers, *managers)

        assert await manager.ask("head", TaskRequest([[1, 2, 3], [4, 5, 6]], budget=1000)) == [[1, 4, 9], [16, 25, 36]]

    given_to = [task.budget for worker in workers for task in worker.tasks]
    assert all(budget is not None and budget > 0 for budget in given_to)
    assert sum(budget or 0 for budget in given_to) <= 1000


async def test_progress_of_every_level_is_told_at_the_top() -> None:
    managers, workers = tree()
    for worker in workers:
        worker.seconds = 0.1
    async with AgentManager() as manager:
        await hire(manager, *workers, *managers)

        told = [piece async for piece in manager.stream(manager.ask("head", TaskRequest([[1, 2, 3], [4, 5, 6]])))]

    by_level = Counter(one.worker.partition("_")[0] for one in told if isinstance(one, TaskProgress))
    assert by_level == {"worker": 6, "a": 1, "b": 1}


class Reporting(Agent):
    """Does as the reference design does: no answer, and a message to whoever sent the task."""

    async def handle_message(self, message: AgentMessage, ctx: AgentContext) -> None:
        if message.message_type == "task":
            content = message.content
            task = content["content"] if isinstance(content, dict) else content.content
            ctx.send(message.sender, {"result": task * 2}, message_type="task_result")


class Requester(Agent):
    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.heard: list[Any] = []

    async def handle_message(self, message: AgentMessage, ctx: AgentContext) -> None:
        if message.message_type == "begin":
            ctx.send("boss", message.content, message_type="task_request")
        else:
            self.heard.append((message.message_type, message.content))


@pytest.mark.parametrize("request_content", [{"task": [1, 2, 3]}, [1, 2, 3]])
async def test_plain_messages_go_the_way_of_the_reference_design(request_content: Any) -> None:
    async with AgentManager() as manager:
        requester = Requester("requester")
        await hire(manager, Reporting("w1"), Reporting("w2"), requester, ManagerAgent("boss", ["w1", "w2"]))

        await manager.tell("requester", request_content, message_type="begin")
        await manager.settle()

    ((kind, result),) = requester.heard
    assert kind == "task_result"
    assert isinstance(result, TaskResult)
    assert (result.result, result.error) == ([2, 4, 6], None)


async def test_who_told_is_told_of_a_failure() -> None:
    async with AgentManager() as manager:
        requester = Requester("requester")
        await hire(manager, Squarer("a", failures=9), requester, ManagerAgent("boss", ["a"]))

        await manager.tell("requester", [1], message_type="begin")
        await asyncio.sleep(60)

    ((_, result),) = requester.heard
    assert result.result is None
    assert "cannot square today" in result.error


async def test_a_worker_that_says_nothing_at_all_has_failed_the_part() -> None:
    class Silent(Agent):
        @handles
        async def on_task(self, task: Task) -> None:
            return None

    async with AgentManager() as manager:
        await hire(manager, Silent("silent"), Squarer("good"))
        await hire(manager, ManagerAgent("boss", ["silent", "good"], Delegation(timeout=5)))

        assert await manager.ask("boss", TaskRequest([3])) == [9]


class Slow(Agent):
    """Reports by a message, a second later; names the task, or says it twice without."""

    concurrency = 1000

    def __init__(self, agent_id: str, *, names: bool) -> None:
        super().__init__(agent_id)
        self.names = names

    async def handle_message(self, message: AgentMessage, ctx: AgentContext) -> None:
        task = message.content
        await asyncio.sleep(1)
        for _ in range(1 if self.names else 2):
            result = {"result": f"did {task.content}"} | ({"task_id": task.id} if self.names else {})
            ctx.send(message.sender, result, message_type="task_result")


async def test_reports_do_not_wait_behind_the_tasks_that_wait_for_them() -> None:
    async with AgentManager() as manager:
        await hire(manager, Slow("slow", names=True), ManagerAgent("boss", ["slow"]))

        found = await asyncio.gather(*(manager.ask("boss", TaskRequest([n]), timeout=200) for n in range(300)))

        assert found == [[f"did {n}"] for n in range(300)]
        assert asyncio.get_running_loop().time() < 10


async def test_a_report_said_twice_is_not_taken_for_that_of_the_next_task() -> None:
    async with AgentManager() as manager:
        await hire(manager, Slow("slow", names=False), ManagerAgent("boss", ["slow"]))

        found = []
        for name in ("a", "b", "c"):
            found.append(await manager.ask("boss", TaskRequest([name])))
            await asyncio.sleep(0.1)

    assert found == [["did a"], ["did b"], ["did c"]]


async def test_a_report_is_not_given_to_who_no_longer_waits() -> None:
    async with AgentManager() as manager:
        await hire(manager, Slow("slow", names=False), ManagerAgent("boss", ["slow"]))
        leaving = asyncio.ensure_future(manager.ask("boss", TaskRequest(["a"])))
        await asyncio.sleep(0.5)
        leaving.cancel()
        await asyncio.wait({leaving})
        await asyncio.sleep(5)

        assert await manager.ask("boss", TaskRequest(["b"]), timeout=5) == ["did b"]


async def test_a_result_of_none_is_a_result() -> None:
    class Nothing(WorkerAgent):
        worked = 0

        def work(self, content: Any, ctx: AgentContext) -> None:
            self.worked += 1

    class Forgets(ManagerAgent):
        def combine(self, task: Any, results: list[Any], ctx: AgentContext) -> None:
            return None

    async with AgentManager() as manager:
        worker = Nothing("worker")
        await hire(manager, worker, Forgets("middle", ["worker"]), ManagerAgent("head", ["middle", "worker"]))

        assert await manager.ask("head", TaskRequest([[1], 2]), timeout=5) == [None, None]
        assert worker.worked == 2


class Odd(Agent):
    """Answers what the test says."""

    def __init__(self, agent_id: str, answer: Any) -> None:
        super().__init__(agent_id)
        self.answer = answer

    @handles
    async def on_task(self, task: Task) -> Any:
        return self.answer


@pytest.mark.parametrize("answer", [{"task_id": 5, "result": 1, "error": None}, TaskResult("another task", 1)], ids=str)
async def test_an_answer_that_is_no_result_of_the_task_harms_nobody_but_its_worker(answer: Any) -> None:
    async with AgentManager() as manager:
        boss = ManagerAgent("boss", ["odd", "good"])
        await hire(manager, Odd("odd", answer), Squarer("good"), boss)

        assert await manager.ask("boss", TaskRequest([2, 3])) == [4, 9]
        assert boss.load.under_way == {}


@pytest.mark.parametrize("answer", [0, False, "", [], {}, {"result": 1}])
async def test_what_looks_like_nothing_is_a_result_too(answer: Any) -> None:
    async with AgentManager() as manager:
        await hire(manager, Odd("odd", answer), ManagerAgent("boss", ["odd"]))

        assert await manager.ask("boss", TaskRequest([1])) == [answer]


async def test_who_told_is_told_that_there_is_nobody() -> None:
    async with AgentManager() as manager:
        requester = Requester("requester")
        await hire(manager, requester, ManagerAgent("boss", "capability:flying"))
        await manager.tell("requester", [1], message_type="begin")
        await manager.settle()

    assert "no worker is there for capability:flying" in requester.heard[0][1].error


async def test_a_quorum_that_can_be_had_is_had_although_nobody_is_left_for_a_part() -> None:
    async with AgentManager() as manager:
        first, second = Squarer("first", 1.0, failures=9), Squarer("second", 5.0)
        await hire(manager, first, second)
        await hire(manager, ManagerAgent("boss", "capability:squaring", Delegation(collect="first")))
        asked = asyncio.ensure_future(manager.ask("boss", TaskRequest([2, 3])))
        await asyncio.sleep(0.5)
        leaving = [asyncio.ensure_future(manager.unregister(name)) for name in ("first", "second")]

        assert await asked == [9]
        await asyncio.gather(*leaving)


async def test_two_delegations_of_one_message_are_two_tasks() -> None:
    seen: list[str] = []

    class Seeing(WorkerAgent):
        def work(self, content: Any, ctx: AgentContext) -> Any:
            seen.append(ctx.message.content.id)
            return content

    async def twice(message: Compute, ctx: AgentContext) -> dict[int, Any]:
        first = await delegate(ctx, message.numbers, "seeing")
        return first | {9: await delegate(ctx, message.numbers, "seeing")}

    async with AgentManager() as manager:
        await hire(manager, Seeing("seeing"))
        await manager.register(twice)
        assert await manager.ask("twice", Compute([1, 2])) == {0: 1, 1: 2, 9: {0: 1, 1: 2}}

    assert len(set(seen)) == len(seen) == 4


@pytest.mark.parametrize(("budget", "parts"), [(0, 3), (1, 3), (5, 3), (1000, 7)])
async def test_a_small_budget_is_not_lost_in_rounding(budget: int, parts: int) -> None:
    async with AgentManager() as manager:
        worker = Squarer("a")
        await hire(manager, worker, ManagerAgent("boss", ["a"], Delegation(attempts=1)))
        await manager.ask("boss", TaskRequest(list(range(parts)), budget=budget))

    assert sum(task.budget or 0 for task in worker.tasks) == budget


async def test_what_cannot_be_a_task_is_refused() -> None:
    class Letters(ManagerAgent):
        def split(self, task: Any, ctx: AgentContext) -> Any:
            return task

    async with AgentManager() as manager:
        await hire(manager, Squarer("a"), ManagerAgent("boss", "a"), Letters("letters", ["a"]))

        with pytest.raises(TurnError, match="not a str; put it in a list"):
            await manager.ask("letters", TaskRequest("one task"))
        with pytest.raises(InvalidPayload, match="budget"):
            await manager.ask("boss", {"task": [1], "budget": -7}, message_type="task_request")
        assert await manager.ask("boss", TaskRequest([3])) == [9]
    with pytest.raises(ValueError, match="cannot be a worker of its own"):
        ManagerAgent("boss", ["a", "boss"])


async def test_many_tasks_at_once_share_the_workers_evenly() -> None:
    async with AgentManager() as manager:
        workers = [Squarer(f"w{n}", 1.0) for n in range(10)]
        await hire(manager, *workers, ManagerAgent("boss", "capability:squaring", Delegation(timeout=60)))

        found = await asyncio.gather(*(manager.ask("boss", TaskRequest([n, n + 1])) for n in range(50)))

    assert found == [[n**2, (n + 1) ** 2] for n in range(50)]
    assert {len(worker.done) for worker in workers} == {10}


class Compute(Request[dict[int, Any]]):
    numbers: list[int]


async def test_any_handler_can_delegate() -> None:
    async def compute(message: Compute, ctx: AgentContext) -> dict[int, Any]:
        return await delegate(ctx, message.numbers, "capability:squaring", Delegation(collect=2))

    async with AgentManager() as manager:
        await hire(manager, Squarer("a"), Squarer("b", 5.0))
        await manager.register(compute)

        assert await manager.ask("compute", Compute([2, 3, 4])) == {0: 4, 2: 16}
        with pytest.raises(TurnError, match="2 results cannot be had from 1 part"):
            await manager.ask("compute", Compute([2]))


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"timeout": 0}, {"parallel": 0}, {"collect": 0}, {"collect": "some"}, {"collect": True}]
)
def test_a_delegation_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=r"(is|are) "):
        Delegation(**wrong)


Names = st.lists(st.text("abcdef", min_size=1, max_size=3), min_size=1, max_size=8, unique=True)


@given(Names, st.integers(0, 40), st.integers(0, 9), st.data())
def test_the_least_loaded_is_never_passed_by(workers: list[str], parts: int, turn: int, data: st.DataObject) -> None:
    load = {worker: data.draw(st.integers(0, 5)) for worker in workers}

    chosen = LeastLoaded().assign(range(parts), workers, load, turn)

    now = Counter(load)
    for worker in chosen:
        assert now[worker] == min(now[one] for one in workers)
        now[worker] += 1


@given(Names, st.integers(1, 40), st.integers(0, 9))
def test_round_robin_gives_each_as_many(workers: list[str], parts: int, turn: int) -> None:
    counts = Counter(RoundRobin().assign(range(parts), workers, {}, turn))

    assert max(counts.values()) - min(counts[worker] for worker in workers) <= 1


@given(Names, st.lists(st.text(max_size=3), max_size=40))
def test_a_key_moves_only_if_its_worker_goes(workers: list[str], keys: Sequence[str]) -> None:
    routing = ByKey(key=str)

    before = routing.assign(keys, workers, {}, 0)
    after = routing.assign(keys, workers[1:] or workers, {}, 7)

    assert all(new == old for old, new in zip(before, after, strict=True) if old != workers[0] or not workers[1:])
    assert len({(key, worker) for key, worker in zip(keys, before, strict=True)}) == len(set(keys))
