"""Every ask ends: with an answer, an error, or its deadline; and one that nobody waits for leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from typing import Any

import pytest

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    AgentStopped,
    AskGroup,
    AskTimeout,
    MailboxFull,
    MailboxPolicy,
    ManagerStopped,
    Payload,
    QuorumFailed,
    Reason,
    Request,
    TurnError,
    UnknownAgent,
    handles,
)


class Work(Request[int]):
    number: int = 0
    seconds: float = 0.0
    fail: bool = False


class All(Request[list[str]]):
    pass


class Worker(Agent):
    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.done: list[int] = []
        self.cancelled = 0

    @handles
    async def on_work(self, message: Work) -> int:
        try:
            await asyncio.sleep(message.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if message.fail:
            raise ValueError(f"task {message.number}")
        self.done.append(message.number)
        return message.number * 2


class Considerate(Worker):
    cancel_with_asker = True


async def test_an_ask_without_an_answer_ends_at_its_deadline() -> None:
    async with AgentManager() as manager:
        await manager.register(Worker("worker"))
        began = asyncio.get_running_loop().time()

        with pytest.raises(AskTimeout, match=r"no reply from 'worker' to 'work' within 2 s") as caught:
            await manager.ask("worker", Work(seconds=100), timeout=2)

        assert isinstance(caught.value, TimeoutError)
        assert 2 <= asyncio.get_running_loop().time() - began < 2.1
        await manager.stop(drain=False)


async def test_the_deadline_is_inherited_by_the_asks_of_the_turn_but_not_by_what_it_sends() -> None:
    deadlines: dict[str, float | None] = {}

    class Leaf(Agent):
        @handles
        def on_work(self, message: Work, ctx: AgentContext) -> int:
            deadlines[self.id] = ctx.deadline
            return 0

    class Middle(Agent):
        @handles
        async def on_work(self, message: Work, ctx: AgentContext) -> int:
            deadlines[self.id] = ctx.deadline
            ctx.send("told", Work())
            return await ctx.ask("asked", Work(), timeout=500)

    async with AgentManager() as manager:
        await manager.register(Middle("middle"))
        await manager.register(Leaf("asked"))
        await manager.register(Leaf("told"))
        await manager.ask("middle", Work(), timeout=7)
        await manager.settle()

    assert deadlines["middle"] is not None
    assert deadlines["asked"] == deadlines["middle"]
    assert deadlines["told"] is None


async def test_cancelling_an_ask_withdraws_a_request_that_was_not_taken() -> None:
    async with AgentManager() as manager:
        worker = Worker("worker")
        await manager.register(worker)
        await manager.tell("worker", Work(number=1, seconds=5))
        asking = asyncio.ensure_future(_await(manager.ask("worker", Work(number=2))))
        await asyncio.sleep(1)

        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert manager.stats().open_asks == 0
        await manager.settle()

        assert worker.done == [1]
        assert not manager.dead_letters


async def test_an_ask_that_is_dropped_before_its_answer_frees_everything() -> None:
    """Its coroutine is closed in the very pass in which the request went out, before its deadline counts."""
    async with AgentManager() as manager:
        worker = Worker("worker")
        await manager.register(worker)
        waiting = manager.ask("worker", Work(number=1)).__await__()

        next(waiting)
        waiting.close()
        await manager.settle()

        assert (manager.stats().open_asks, worker.done) == (0, [])


async def test_a_running_turn_goes_on_without_its_asker_unless_its_agent_says_otherwise() -> None:
    async with AgentManager() as manager:
        stubborn, considerate = Worker("stubborn"), Considerate("considerate")
        await manager.register(stubborn)
        await manager.register(considerate)
        for name in ("stubborn", "considerate"):
            with pytest.raises(AskTimeout):
                await manager.ask(name, Work(number=1, seconds=5), timeout=1)
        await manager.settle()

        assert (stubborn.done, stubborn.cancelled) == ([1], 0)
        assert (considerate.done, considerate.cancelled) == ([], 1)
        assert manager.dead_letters.counts[Reason.CANCELLED] == 1
        assert await manager.ask("considerate", Work(number=3)) == 6


async def test_a_handler_that_finishes_in_spite_of_its_cancellation_has_finished() -> None:
    class Tenacious(Agent):
        cancel_with_asker = True
        finished = 0

        @handles
        async def on_work(self, message: Work) -> int:
            try:
                await asyncio.sleep(message.seconds)
            except asyncio.CancelledError:
                self.finished += 1
            return 0

    async with AgentManager() as manager:
        agent = Tenacious("tenacious")
        await manager.register(agent)
        for _ in range(3):
            with pytest.raises(AskTimeout):
                await manager.ask("tenacious", Work(seconds=5), timeout=1)
        await manager.settle()

        assert agent.finished == 3
        assert await manager.ask("tenacious", Work()) == 0


async def test_a_cancelled_ask_frees_its_content() -> None:
    class Big(Payload, weakref=True):
        x: int

    async with AgentManager() as manager:
        await manager.register(Worker("worker"))
        await manager.tell("worker", Work(seconds=50))
        content = Big(x=1)
        remembered = weakref.ref(content)
        asking = asyncio.ensure_future(_await(manager.ask("worker", content, message_type="other")))
        await asyncio.sleep(1)
        del content
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        del asking
        await asyncio.sleep(0)  # asyncio itself keeps a cancelled task's error until the next pass
        gc.collect()

        assert remembered() is None
        await manager.stop(drain=False)


async def test_an_ask_to_a_full_mailbox_waits_for_room_and_is_withdrawn_from_the_queue() -> None:
    async with AgentManager() as manager:
        worker = Worker("worker")
        await manager.register(worker, mailbox=MailboxPolicy(capacity=1))
        await manager.tell("worker", Work(number=1, seconds=5))
        await asyncio.sleep(1)
        await manager.tell("worker", Work(number=2))
        with pytest.raises(AskTimeout):
            await manager.ask("worker", Work(number=3), timeout=1)

        assert await manager.ask("worker", Work(number=4)) == 8
        assert worker.done == [1, 2, 4]
        assert manager.dead_letters.counts[Reason.EXPIRED] == 1


async def test_errors_of_delivery_reach_the_asker_at_once() -> None:
    async with AgentManager() as manager:
        await manager.register(Worker("worker_1"), mailbox=MailboxPolicy(capacity=1, overflow="fail"))
        with pytest.raises(UnknownAgent, match="did you mean 'worker_1'") as caught:
            await manager.ask("worker_l", Work())
        assert caught.value.suggestions == ("worker_1",)
        with pytest.raises(UnknownAgent, match="capability:flying"):
            await manager.ask("capability:flying", Work())
        await manager.tell("worker_1", Work(seconds=5))
        await asyncio.sleep(1)
        await manager.tell("worker_1", Work())
        with pytest.raises(MailboxFull):
            await manager.ask("worker_1", Work())
        with pytest.raises(ValueError, match="timeout above 0"):
            await manager.ask("worker_1", Work(), timeout=0)
    with pytest.raises(ManagerStopped):
        await manager.ask("worker_1", Work())


async def test_stopping_an_agent_tells_those_who_wait_for_it() -> None:
    async with AgentManager() as manager:
        await manager.register(Worker("worker"))
        await manager.tell("worker", Work(seconds=5))
        asking = [asyncio.ensure_future(_await(manager.ask("worker", Work()))) for _ in range(3)]
        await asyncio.sleep(1)

        await manager.unregister("worker")

        for outcome in await asyncio.gather(*asking, return_exceptions=True):
            assert isinstance(outcome, AgentStopped)
        assert manager.dead_letters.counts[Reason.STOPPED] == 3


async def test_gather_returns_answers_in_the_order_of_the_asks() -> None:
    async with AgentManager() as manager:
        await manager.register(Worker, count=5)

        answers = await manager.gather([manager.ask(f"worker_{n}", Work(number=n, seconds=6 - n)) for n in range(1, 6)])

        assert answers == [2, 4, 6, 8, 10]
        assert await manager.gather([]) == []


async def test_the_first_failure_ends_a_gather_and_withdraws_the_rest() -> None:
    async with AgentManager() as manager:
        await manager.register(Worker, count=3)
        asks = [manager.ask(f"worker_{n}", Work(number=n, seconds=n, fail=n == 2)) for n in (1, 2, 3)]

        with pytest.raises(TurnError, match="task 2"):
            await manager.gather(asks)

        assert manager.stats().open_asks == 0


async def test_a_quorum_needs_no_more_than_its_number_and_fails_when_it_cannot_be_had() -> None:
    async with AgentManager() as manager:
        await manager.register(Worker, count=3)

        def asks(*fails: int) -> list[Any]:
            return [manager.ask(f"worker_{n}", Work(number=n, seconds=n, fail=n in fails)) for n in (1, 2, 3)]

        assert await manager.gather(asks(), quorum=2) == [2, 4]
        assert await manager.gather(asks(1), quorum=2) == [4, 6]
        with pytest.raises(QuorumFailed, match="2 of 3 asks failed") as caught:
            await manager.gather(asks(1, 2), quorum=2)
        assert len(caught.value.errors) == 2
        with pytest.raises(ValueError, match="quorum of 4"):
            await manager.gather(asks(), quorum=4)


async def test_an_ask_that_is_added_while_another_task_waits_ends_at_its_deadline() -> None:
    async with AgentManager() as manager:
        await manager.register(Worker, count=2)
        began = asyncio.get_running_loop().time()
        with AskGroup[int]() as group:
            group.add(manager.ask("worker_1", Work(seconds=90), timeout=100))
            waiting = asyncio.ensure_future(anext(group))
            await asyncio.sleep(5)
            late = manager.ask("worker_2", Work(seconds=90), timeout=1)
            group.add(late)

            assert await waiting is late
            assert isinstance(late.error, AskTimeout)
            assert asyncio.get_running_loop().time() - began == pytest.approx(6, abs=0.1)
        await manager.stop(drain=False)


async def test_asks_of_a_group_end_at_their_deadlines_whether_or_not_anybody_looks() -> None:
    async with AgentManager() as manager:
        await manager.register(Worker, count=2)
        with AskGroup[int]() as group:
            asks = [manager.ask(f"worker_{n}", Work(seconds=n), timeout=1.5) for n in (1, 2)]
            for ask in asks:
                group.add(ask)
            await asyncio.sleep(10)

            assert [ask.done for ask in asks] == [True, True]
            assert isinstance(asks[1].error, AskTimeout)
            assert [ask async for ask in group] == asks


async def test_a_quorum_that_does_not_come_ends_at_the_deadlines_of_its_asks() -> None:
    async with AgentManager() as manager:
        await manager.register(Worker, count=3)
        asks = [manager.ask(f"worker_{n}", Work(seconds=n * 10), timeout=15) for n in (1, 2, 3)]

        with pytest.raises(QuorumFailed, match="2 of 3 asks failed") as caught:
            await manager.gather(asks, quorum=2)

        assert all(isinstance(error, AskTimeout) for error in caught.value.errors)
        await manager.stop(drain=False)


async def test_failures_can_be_gathered_in_the_place_of_answers() -> None:
    async with AgentManager() as manager:
        for name in ("a", "b", "c"):
            await manager.register(Worker(name))

        async def ask_all(message: All, ctx: AgentContext) -> list[str]:
            asks = [ctx.ask("a", Work(number=1)), ctx.ask("b", Work(fail=True)), ctx.ask("nobody", Work())]
            asks.append(ctx.ask("c", Work(number=4, seconds=1)))
            found = await ctx.gather(asks, return_exceptions=True)
            with pytest.raises(ValueError, match="nor with return_exceptions"):
                await ctx.gather(asks, 1, return_exceptions=True)  # type: ignore[call-overload]
            return [type(one).__name__ if isinstance(one, BaseException) else str(one) for one in found]

        await manager.register(ask_all)
        assert await manager.ask("ask_all", All()) == ["2", "TurnError", "UnknownAgent", "8"]


async def test_a_group_tells_its_asks_as_they_end_and_takes_more_meanwhile() -> None:
    async with AgentManager() as manager:
        for name in ("a", "b", "c"):
            await manager.register(Worker(name))

        async def ask_all(message: All, ctx: AgentContext) -> list[str]:
            told = []
            with AskGroup[int]() as group:
                for name, seconds in (("a", 2.0), ("b", 1.0), ("nobody", 0.0)):
                    group.add(ctx.ask(name, Work(number=ord(name[0]), seconds=seconds)))
                assert len(group) == 3
                async for ask in group:
                    told.append(ask.to if ask.error is None else type(ask.error).__name__)
                    if ask.to == "b":
                        group.add(ctx.ask("c", Work(seconds=0.5)))
            return told

        await manager.register(ask_all)
        assert await manager.ask("ask_all", All()) == ["UnknownAgent", "b", "c", "a"]


async def test_leaving_a_group_withdraws_what_is_under_way() -> None:
    async with AgentManager() as manager:
        slow = Considerate("slow")
        await manager.register(slow)
        await manager.register(Worker("a"))

        async def ask_all(message: All, ctx: AgentContext) -> list[str]:
            with AskGroup[int]() as group:
                for name, seconds in (("slow", 60.0), ("a", 1.0)):
                    group.add(ctx.ask(name, Work(number=1, seconds=seconds)))
                async for ask in group:
                    return [ask.to]
            return []

        await manager.register(ask_all)
        assert await manager.ask("ask_all", All()) == ["a"]
        await manager.settle()
        assert slow.cancelled == 1


async def test_asks_can_be_gathered_with_asyncio_too() -> None:
    async with AgentManager() as manager:
        await manager.register(Worker, count=2)

        answers = await asyncio.gather(*[manager.ask(f"worker_{n}", Work(number=n)) for n in (1, 2)])

        assert answers == [2, 4]


async def test_a_cancelled_gather_withdraws_everything() -> None:
    async with AgentManager() as manager:
        await manager.register(Worker, count=3)
        gathering = asyncio.ensure_future(
            manager.gather([manager.ask(f"worker_{n}", Work(seconds=9)) for n in (1, 2, 3)])
        )
        await asyncio.sleep(1)

        gathering.cancel()
        await asyncio.gather(gathering, return_exceptions=True)

        assert manager.stats().open_asks == 0


async def test_a_stream_brings_pieces_and_then_the_answer() -> None:
    class Teller(Agent):
        @handles
        async def on_work(self, message: Work, ctx: AgentContext) -> int:
            for piece in range(3):
                ctx.progress(None, piece)
                await asyncio.sleep(1)
            if ctx.attempt == 1 and message.fail:
                raise OSError
            return 99

    async with AgentManager() as manager:
        await manager.register(Teller("teller"))
        stream = manager.stream(manager.ask("teller", Work()))
        assert [piece async for piece in stream] == [0, 1, 2]
        assert await stream.reply() == 99

        again = manager.stream(manager.ask("teller", Work(fail=True)))
        pieces = []
        try:
            while True:
                pieces.append(await again.next_piece())
        except StopAsyncIteration:
            pass
        assert [(piece.content, piece.attempt) for piece in pieces] == [(0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (2, 2)]
        assert await again.reply() == 99

        late = manager.stream(manager.ask("teller", Work(), timeout=1.5))
        assert [piece async for piece in late] == [0, 1]
        with pytest.raises(AskTimeout):
            await late.reply()

        async with manager.stream(manager.ask("teller", Work())) as left_early:
            assert await anext(left_early) == 0
        assert manager.stats().open_asks == 0


async def test_a_slow_reader_of_a_stream_loses_the_oldest_pieces_not_the_answer() -> None:
    class Flood(Agent):
        @handles
        def on_work(self, message: Work, ctx: AgentContext) -> int:
            for piece in range(3000):
                ctx.progress(ctx.reply_to, piece)
            return 1

    async with AgentManager() as manager:
        await manager.register(Flood("flood"))
        stream = manager.stream(manager.ask("flood", Work()))

        assert await stream.reply() == 1
        pieces = [piece async for piece in stream]

        assert pieces == list(range(3000 - 1024, 3000))
        assert stream.lost == 3000 - 1024


async def _await(ask: Any) -> Any:
    return await ask
