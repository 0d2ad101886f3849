"""A rate limit holds over every window of time, loses no order, and is the same whichever way messages come in."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    Backoff,
    MailboxPolicy,
    Payload,
    RateLimit,
    RateLimited,
    Reason,
    Request,
    Supervision,
    Terminated,
    handles,
)
from moot.resilience.token_bucket import TokenBucket

EPOCH = 1_700_000_000.0


class Bucket(RuleBasedStateMachine):
    """The bucket against a list of all that passed: in no window more than ``burst + rate * t``, and never one less."""

    def __init__(self) -> None:
        super().__init__()
        self.limit = RateLimit(3, per=2.0, burst=4)
        self.rate = 1.5
        self.bucket = TokenBucket(self.limit)
        self.now = EPOCH
        self.passed: list[float] = []

    def fits(self, now: float) -> bool:
        """Whether one more keeps the law in every window that ends now."""
        return all(
            len(self.passed) - index + 1 <= 4 + self.rate * (now - since) + 1e-5
            for index, since in enumerate(self.passed)
        )

    @rule(seconds=st.sampled_from([0.0, 0.1, 1 / 3, 2 / 3, 1.0, 7.0, 86_400.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def wait_as_told(self) -> None:
        self.now += self.bucket.wait(self.now) + 1e-6
        assert self.bucket.wait(self.now) == 0.0

    @rule()
    def take(self) -> None:
        wait = self.bucket.wait(self.now)
        if wait:
            assert not self.fits(self.now + wait - 1e-4)
            return
        assert self.fits(self.now)
        self.bucket.take(self.now)
        self.passed.append(self.now)


TestTokenBucket = Bucket.TestCase


@pytest.mark.parametrize("rate", [0.01, 1.0, 333.0, 10_000.0, 5_000_000.0])
def test_a_limit_is_kept_to_a_thousandth_at_any_rate(rate: float) -> None:
    bucket = TokenBucket(RateLimit(rate, burst=1))
    for _ in range(1000):
        bucket.take(EPOCH)

    assert bucket.wait(EPOCH) == pytest.approx(1000 / rate, rel=1e-3)


def test_a_slow_limit_has_a_burst_of_one() -> None:
    bucket = TokenBucket(RateLimit(1, per=60))
    bucket.take(EPOCH)

    assert bucket.wait(EPOCH) == pytest.approx(60)


class Job(Payload):
    number: int


class Urgent(Payload):
    number: int


class Query(Request[int]):
    number: int


class Worker(Agent):
    topics = ("jobs",)

    def __init__(self, agent_id: str = "worker") -> None:
        super().__init__(agent_id)
        self.seen: list[tuple[float, int]] = []

    @handles
    async def job(self, message: Job, ctx: AgentContext) -> None:
        self.note(message.number)

    @handles(rate=RateLimit(1, per=10))
    async def urgent(self, message: Urgent) -> None:
        self.note(message.number)

    @handles
    async def query(self, message: Query) -> int:
        self.note(message.number)
        return message.number

    def note(self, number: int) -> None:
        self.seen.append((round(asyncio.get_running_loop().time(), 2), number))


class Source(Agent):
    @handles
    async def job(self, message: Job, ctx: AgentContext) -> None:
        for number in range(message.number):
            ctx.send("worker", Job(number))


async def test_what_is_too_much_waits_and_nothing_overtakes_it() -> None:
    async with AgentManager() as manager:
        worker = Worker()
        await manager.register(worker, rate_limit=RateLimit(1, per=10, burst=2))
        await manager.tell("worker", Job(1))
        manager.tell_nowait("worker", Job(2))
        asked = asyncio.ensure_future(_query(manager, 3))
        await asyncio.sleep(0)
        await manager.publish("jobs", Job(4))
        await manager.tell("worker", Job(5))

        await manager.settle()

        assert worker.seen == [(0, 1), (0, 2), (10, 3), (20, 4), (30, 5)]
        assert await asked == 3


async def _query(manager: AgentManager, number: int) -> int:
    return await manager.ask("worker", Query(number), timeout=1000)


async def test_a_limit_of_a_message_type_counts_only_that_and_holds_up_what_is_behind() -> None:
    async with AgentManager() as manager:
        worker = Worker()
        await manager.register(worker)
        for number, content in enumerate([Job, Urgent, Job, Urgent, Job]):
            await manager.tell("worker", content(number))

        await manager.settle()

        assert worker.seen == [(0, 0), (0, 1), (0, 2), (10, 3), (10, 4)]


async def test_both_limits_hold_where_there_are_both() -> None:
    async with AgentManager() as manager:
        worker = Worker()
        await manager.register(worker, rate_limit=RateLimit(1, per=4))
        for number, content in enumerate([Urgent, Urgent, Job, Job]):
            await manager.tell("worker", content(number))

        await manager.settle()

        assert worker.seen == [(0, 0), (10, 1), (14, 2), (18, 3)]


async def test_no_window_has_more_turns_than_the_limit_says_whatever_waits() -> None:
    async with AgentManager() as manager:
        worker = Worker()
        await manager.register(worker, rate_limit=RateLimit(50, per=1, burst=10), mailbox=MailboxPolicy(8))
        await manager.register(Source("source"))
        for _ in range(5):
            await manager.tell("source", Job(20), timeout=1000)
            await asyncio.sleep(0.3)

        await manager.settle()

        times = [at for at, _ in worker.seen]
        assert len(times) == 100
        assert [number for _, number in worker.seen] == [*range(20)] * 5
        for index, since in enumerate(times):
            for count, until in enumerate(times[index:], start=1):
                assert count <= 10 + 50 * (until - since) + 1.5  # (times are rounded to hundredths)


async def test_what_is_refused_tells_its_asker_when_to_come_back() -> None:
    async with AgentManager() as manager:
        worker = Worker()
        await manager.register(worker, rate_limit=RateLimit(1, per=10, excess="refuse"))
        assert await _query(manager, 1) == 1
        await manager.tell("worker", Job(2))

        with pytest.raises(RateLimited, match=r"'worker' is over its rate limit; try again in 10 s") as refused:
            await _query(manager, 3)
        await asyncio.sleep(refused.value.retry_after)
        assert await _query(manager, 4) == 4

        assert [number for _, number in worker.seen] == [1, 4]
        assert manager.dead_letters.counts == {Reason.FORBIDDEN: 2}
        assert [letter.message.content.number for letter in manager.dead_letters] == [2, 3]


async def test_a_turn_that_asks_too_much_is_refused_too_and_may_retry() -> None:
    class Asking(Agent):
        @handles
        async def query(self, message: Query, ctx: AgentContext) -> int:
            total = 0
            for number in range(3):
                try:
                    total += await ctx.ask("worker", Query(10**number), timeout=1000)
                except RateLimited:
                    continue
            return total

    async with AgentManager() as manager:
        await manager.register(Worker(), rate_limit=RateLimit(2, per=10, excess="refuse"))
        await manager.register(Asking("asking"))

        assert await manager.ask("asking", Query(0), timeout=1000) == 11


async def test_a_full_mailbox_that_refuses_makes_room_for_who_waits() -> None:
    async with AgentManager() as manager:
        worker = Worker()
        limit = RateLimit(1, per=10, excess="refuse")
        await manager.register(worker, rate_limit=limit, mailbox=MailboxPolicy(2))
        await manager.register(Source("source"))
        await manager.tell("source", Job(20))

        await manager.settle()

        assert [number for _, number in worker.seen] == [0]
        assert manager.dead_letters.counts == {Reason.FORBIDDEN: 19}
        assert manager.directory.cells["source"].lanes is None


async def test_an_ask_that_gives_up_while_it_waits_for_a_token_is_withdrawn_and_takes_none() -> None:
    async with AgentManager() as manager:
        worker = Worker()
        await manager.register(worker, rate_limit=RateLimit(1, per=10))
        await manager.tell("worker", Job(1))
        with pytest.raises(TimeoutError):
            await manager.ask("worker", Query(2), timeout=3)
        await manager.settle()
        await asyncio.sleep(20)
        await manager.tell("worker", Job(3))

        await manager.settle()

        assert worker.seen == [(0, 1), (pytest.approx(30, abs=0.1), 3)]


async def test_a_stop_with_drain_waits_for_what_is_delayed_and_one_without_does_not() -> None:
    for drain, handled in [(True, 4), (False, 1)]:
        manager = AgentManager()
        worker = Worker()
        await manager.register(worker, rate_limit=RateLimit(1, per=10))
        await manager.start()
        for number in range(4):
            await manager.tell("worker", Job(number))
        await asyncio.sleep(1)

        await manager.stop(drain=drain, timeout=100)

        assert len(worker.seen) == handled
        assert manager.dead_letters.counts[Reason.STOPPED] == 4 - handled


async def test_an_agent_unregistered_while_it_must_wait_leaves_nothing_behind() -> None:
    async with AgentManager() as manager:
        await manager.register(Worker(), rate_limit=RateLimit(1, per=10))
        for number in range(3):
            await manager.tell("worker", Job(number))
        await asyncio.sleep(1)

        await manager.unregister("worker")
        before = asyncio.get_running_loop().time()
        await manager.settle()

        assert asyncio.get_running_loop().time() == before
        assert manager.dead_letters.counts == {Reason.STOPPED: 2}


async def test_a_retry_takes_no_second_token() -> None:
    class Flaky(Agent):
        runs = 0

        @handles(rate=RateLimit(1, per=1000))
        async def job(self, message: Job) -> None:
            self.runs += 1
            if self.runs < 3:
                raise OSError("again")

    async with AgentManager() as manager:
        flaky = Flaky("flaky")
        await manager.register(flaky)
        await manager.tell("flaky", Job(1))

        await manager.settle()

        assert flaky.runs == 3
        assert asyncio.get_running_loop().time() < 100


async def test_an_agent_that_handles_several_at_once_keeps_its_limit() -> None:
    class Wide(Worker):
        concurrency = 3

        @handles
        async def job(self, message: Job, ctx: AgentContext) -> None:
            self.note(message.number)
            await asyncio.sleep(25)

    async with AgentManager() as manager:
        wide = Wide()
        await manager.register(wide, rate_limit=RateLimit(1, per=10))
        for number in range(6):
            await manager.tell("worker", Job(number))

        await manager.settle()

        assert [number for _, number in wide.seen] == list(range(6))
        times = [at for at, _ in wide.seen]
        assert all(later - earlier >= 10 for earlier, later in itertools.pairwise(times))
        assert times[-1] == pytest.approx(50, abs=0.1)


async def test_news_of_the_runtime_are_under_no_limit() -> None:
    heard: list[str] = []

    class Watcher(Agent):
        @handles
        def job(self, message: Job, ctx: AgentContext) -> None:
            ctx.watch("worker")

        @handles
        def ended(self, message: Terminated) -> None:
            heard.append(message.agent_id)

    async with AgentManager() as manager:
        await manager.register(Worker())
        await manager.register(Watcher("watcher"), rate_limit=RateLimit(1, per=1000, excess="refuse"))
        await manager.tell("watcher", Job(1))
        await manager.settle()

        await manager.unregister("worker")
        await manager.settle()

        assert heard == ["worker"]


async def test_a_restart_keeps_the_limit() -> None:
    class Failing(Worker):
        @handles
        async def job(self, message: Job, ctx: AgentContext) -> None:
            times.append(round(asyncio.get_running_loop().time()))
            raise ValueError("on purpose")

    times: list[int] = []
    policy = Supervision(directives=((ValueError, "restart"),), backoff=Backoff(0, 0))
    async with AgentManager(supervision=policy) as manager:
        await manager.register(Failing("worker"), rate_limit=RateLimit(1, per=40))
        for number in range(3):
            await manager.tell("worker", Job(number))

        await manager.settle()
        await asyncio.sleep(100)

        assert times == [0, 40, 80]


async def test_an_agent_that_waits_for_a_token_is_not_reported_as_stuck() -> None:
    async with AgentManager() as manager:
        await manager.register(Worker(), rate_limit=RateLimit(1, per=3600))
        for number in range(3):
            await manager.tell("worker", Job(number))
        await asyncio.sleep(1000)

        health = manager.health()

        assert health.stuck == ()
        assert health.reported == 0
        assert health.agents["worker"].doing == "it waits until its rate limit or its batch lets it take the next"
