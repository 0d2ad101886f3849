"""Work pulling: no worker has more than it asked for, and what a worker takes with it to its end is done by another."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from moot import Agent, AgentContext, AgentManager, AgentMessage, AskTimeout, TurnError, handles
from moot.patterns.hierarchy import ManagerAgent, PullingWorker, Ready, Task, TaskRequest, TaskResult, WorkPool


class Puller(PullingWorker):
    """Doubles, after ``seconds``; fails its first ``failures`` tasks."""

    def __init__(self, agent_id: str, seconds: float = 0.0, failures: int = 0, credit: int = 1) -> None:
        super().__init__(agent_id, "pool", credit=credit)
        self.seconds = seconds
        self.failures = failures
        self.done: list[int] = []
        self.waiting: list[int] = []

    async def work(self, content: Any, ctx: AgentContext) -> int:
        await asyncio.sleep(self.seconds)
        if self.failures:
            self.failures -= 1
            raise ValueError("not today")
        self.done.append(content)
        return int(content) * 2


async def hire(manager: AgentManager, *agents: Agent[Any]) -> None:
    for agent in agents:
        await manager.register(agent)


async def test_fast_workers_do_more_and_none_has_more_than_its_credit() -> None:
    async with AgentManager() as manager:
        slow, fast = Puller("slow", 10.0, credit=2), Puller("fast", 1.0)
        await hire(manager, WorkPool("pool"), slow, fast, ManagerAgent("boss", ["pool"]))

        asked = asyncio.ensure_future(manager.ask("boss", TaskRequest(list(range(12))), timeout=60))
        await asyncio.sleep(4)
        health = manager.health().agents
        assert health["slow"].mail == 1
        assert "fast" not in health or health["fast"].mail == 0

        assert await asked == [2 * n for n in range(12)]
        assert len(slow.done) == 2
        assert len(fast.done) == 10


async def test_a_task_that_fails_goes_to_another_worker_at_once() -> None:
    async with AgentManager() as manager:
        failing, good = Puller("failing", failures=1, credit=5), Puller("good", 1.0)
        await hire(manager, WorkPool("pool"), failing, good)

        found = await asyncio.gather(*(manager.ask("pool", Task(id=str(n), content=n), timeout=9) for n in range(3)))

    assert [one["result"] for one in found] == [0, 2, 4]


async def test_a_task_that_always_fails_ends_with_its_error() -> None:
    async with AgentManager() as manager:
        await hire(manager, WorkPool("pool", attempts=2), Puller("failing", failures=99, credit=5))
        await hire(manager, ManagerAgent("boss", ["pool"]))

        found = await manager.ask("pool", Task(id="1", content=1))
        assert (found["result"], found["error"]) == (None, "given out 2 times; the last time: ValueError: not today")
        with pytest.raises(TurnError, match="not today"):
            await manager.ask("boss", TaskRequest([1]))


async def test_a_worker_that_is_not_heard_of_is_given_up_and_what_it_says_after_all_counts_if_it_comes_first() -> None:
    async with AgentManager() as manager:
        hanging = Puller("hanging", 40.0)
        await hire(manager, WorkPool("pool", lease=30), hanging)
        asked = asyncio.ensure_future(manager.ask("pool", Task(id="1", content=1), timeout=100))
        await asyncio.sleep(35)

        assert (await asked)["result"] == 2
        assert asyncio.get_running_loop().time() == pytest.approx(40, abs=1)


async def test_the_tasks_of_a_worker_that_stops_are_done_by_another() -> None:
    async with AgentManager() as manager:
        await hire(manager, WorkPool("pool", lease=1000), Puller("leaving", 10.0, credit=3))
        asked = [asyncio.ensure_future(manager.ask("pool", Task(id=str(n), content=n), timeout=50)) for n in range(3)]
        await asyncio.sleep(1)
        await hire(manager, Puller("staying"))

        await manager.unregister("leaving")
        assert [one["result"] for one in await asyncio.gather(*asked)] == [0, 2, 4]


async def test_a_worker_that_hangs_or_always_fails_does_not_use_up_the_attempts_while_another_is_idle() -> None:
    async with AgentManager() as manager:
        hanging, failing, good = Puller("hanging", 10_000.0), Puller("failing", failures=99, credit=5), Puller("good")
        await hire(manager, WorkPool("pool", lease=10), hanging, failing, good)
        await manager.settle()
        asked = [asyncio.ensure_future(manager.ask("pool", Task(str(n), n), timeout=100)) for n in range(3)]

        assert [one["result"] for one in await asyncio.gather(*asked)] == [0, 2, 4]


async def test_a_worker_that_hangs_is_given_nothing_more() -> None:
    async with AgentManager() as manager:
        worker = Scripted("worker")
        await hire(manager, WorkPool("pool", lease=10), worker)
        for n in range(20):
            asyncio.ensure_future(manager.ask("pool", Task(str(n), n), timeout=900)).add_done_callback(
                lambda ask: ask.exception()
            )
        await manager.tell("worker", Ready("a", 1, 0), message_type="say")
        await asyncio.sleep(200)

        assert len(worker.got) == 1


async def test_a_worker_of_another_life_that_does_not_come_back_holds_nothing_up(tmp_path: Path) -> None:
    async with AgentManager(f"sqlite:///{tmp_path / 'pool.db'}") as manager:
        await hire(manager, WorkPool("pool"), Puller("old", credit=9))
        await manager.settle()

    async with AgentManager(f"sqlite:///{tmp_path / 'pool.db'}") as manager:
        new = Puller("new")
        await hire(manager, WorkPool("pool"), new)
        assert (await manager.ask("pool", Task("1", 21), timeout=5))["result"] == 42


async def test_a_full_pool_has_room_again_when_nobody_waits_for_what_is_in_it() -> None:
    async with AgentManager() as manager:
        await hire(manager, WorkPool("pool", capacity=2))
        for n in range(2):
            with pytest.raises(AskTimeout):
                await manager.ask("pool", Task(str(n), n), timeout=5)
        await hire(manager, Puller("worker"))

        assert (await manager.ask("pool", Task("new", 4), timeout=5))["result"] == 8


async def test_a_task_that_fails_is_not_tried_again_by_the_same_worker_of_its_own_accord() -> None:
    log: list[str] = []

    class Flaky(PullingWorker):
        def work(self, content: Any, ctx: AgentContext) -> int:
            log.append(self.id)
            if self.id == "flaky":
                raise TimeoutError("late")
            return int(content)

    async with AgentManager() as manager:
        await hire(manager, WorkPool("pool"), Flaky("flaky", "pool", credit=9), Flaky("other", "pool"))
        await manager.settle()

        assert (await manager.ask("pool", Task("1", 1), timeout=50))["result"] == 1
        await asyncio.sleep(60)

    assert log == ["flaky", "other"]


@pytest.mark.parametrize("wrong", [{"lease": 0}, {"lease": -1}, {"attempts": 0}, {"capacity": 0}])
def test_a_pool_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="lease"):
        WorkPool("pool", **wrong)


@pytest.mark.parametrize("wrong", [{"credit": 0}, {"announce_every": 0}, {"announce_every": -2}])
def test_a_worker_that_takes_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="credit"):
        PullingWorker("worker", "pool", **wrong)


async def test_a_task_asked_again_is_done_once_and_both_are_answered() -> None:
    async with AgentManager() as manager:
        worker = Puller("worker", 5.0)
        await hire(manager, WorkPool("pool"), worker)

        both = await asyncio.gather(*(manager.ask("pool", Task(id="same", content=4)) for _ in range(2)))

    assert [one["result"] for one in both] == [8, 8]
    assert worker.done == [4]


async def test_what_nobody_waits_for_any_more_is_not_given_out() -> None:
    async with AgentManager() as manager:
        await hire(manager, WorkPool("pool"))
        asking = asyncio.ensure_future(manager.ask("pool", Task(id="old", content=1), timeout=5))
        await asyncio.wait({asking})
        worker = Puller("worker")
        await hire(manager, worker)
        await asyncio.sleep(20)

    assert asking.exception() is not None
    assert worker.done == []


async def test_a_full_pool_says_so() -> None:
    async with AgentManager() as manager:
        await hire(manager, WorkPool("pool", capacity=1))
        first = asyncio.ensure_future(manager.ask("pool", Task(id="1", content=1), timeout=5))
        await asyncio.sleep(0.1)

        with pytest.raises(TurnError, match="1 tasks wait in the pool 'pool'"):
            await manager.ask("pool", Task(id="2", content=1), timeout=5)
        await asyncio.wait({first})
        assert first.exception() is not None


class Scripted(Agent):
    """A worker whose every word the test says."""

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.got: list[Task] = []

    @handles
    async def on_task(self, task: Task) -> None:
        self.got.append(task)

    async def handle_message(self, message: AgentMessage, ctx: AgentContext) -> None:
        ctx.send("pool", message.content)


async def test_credits_are_totals_so_repeated_and_late_ones_change_nothing() -> None:
    async with AgentManager() as manager:
        worker = Scripted("worker")
        await hire(manager, WorkPool("pool", lease=1000), worker)
        for n in range(6):
            asyncio.ensure_future(manager.ask("pool", Task(id=str(n), content=n), timeout=900)).add_done_callback(
                lambda ask: ask.exception()
            )
        for ready in [Ready("a", 2, 0), Ready("a", 2, 0), Ready("a", 1, 0), Ready("a", 3, 2), Ready("a", 2, 0)]:
            await manager.tell("worker", ready, message_type="say")
            await manager.settle()
        assert [task.id for task in worker.got] == ["0", "1", "2"]

        await manager.tell("worker", Ready("b", 3, 0), message_type="say")  # it began anew, with three in its mailbox
        await manager.settle()
        assert len(worker.got) == 3
        await manager.tell("worker", Ready("b", 4, 0), message_type="say")
        await manager.settle()
        assert [task.id for task in worker.got] == ["0", "1", "2", "3"]


async def test_results_of_strangers_and_of_unknown_tasks_are_not_heard() -> None:
    async with AgentManager() as manager:
        await hire(manager, WorkPool("pool", lease=1000), Scripted("worker"), Scripted("stranger"))
        asked = asyncio.ensure_future(manager.ask("pool", Task(id="1", content=1), timeout=900))
        await asyncio.sleep(0.1)
        for content in (TaskResult("1", "too soon"), TaskResult("2", "nobody asked"), TaskResult(None, "for nothing")):
            await manager.tell("worker", content, message_type="say")
        await manager.settle()
        assert not asked.done()

        await manager.tell("worker", Ready("a", 1, 0), message_type="say")
        await manager.settle()
        await manager.tell("stranger", TaskResult("1", "forged"), message_type="say")
        await manager.settle()
        await manager.tell("worker", TaskResult("1", "done"), message_type="say")
        assert (await asked)["result"] == "done"
