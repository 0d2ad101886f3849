"""A batch is one turn for several messages, and each of them is owed what it would be owed alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    AgentMessage,
    Backoff,
    BatchPolicy,
    InvalidPayload,
    MailboxPolicy,
    Payload,
    RateLimit,
    Reason,
    Request,
    RetryPolicy,
    Supervision,
    TimeoutPolicy,
    TurnError,
    handles,
)
from moot.agent.handlers import function_table
from moot.testing import FakeContext


class Reading(Payload):
    value: int


class Flush(Payload):
    value: int = 0


class Double(Request[int]):
    value: int


class Store(Agent[int]):
    """Collects readings; 13 is poison. Counts what it has committed."""

    def __init__(self, agent_id: str = "store") -> None:
        super().__init__(agent_id)
        self.batches: list[tuple[float, list[int]]] = []

    def initial_state(self) -> int:
        return 0

    @handles(batch=BatchPolicy(max_size=4, max_wait=10))
    async def store(self, messages: list[Reading], ctx: AgentContext[int]) -> None:
        self.note([message.value for message in messages])
        ctx.state += len(messages)
        ctx.send("log", Flush(sum(message.value for message in messages)))
        if any(message.value == 13 for message in messages):
            raise ValueError("an unlucky number")

    @handles
    def flush(self, message: Flush) -> None:
        self.note([-1])

    @handles(batch=BatchPolicy(max_size=3))
    def double(self, messages: list[Double]) -> list[int]:
        self.note([message.value for message in messages])
        if any(message.value == 13 for message in messages):
            raise ValueError("an unlucky number")
        return [2 * message.value for message in messages]

    def note(self, values: list[int]) -> None:
        self.batches.append((round(asyncio.get_running_loop().time(), 2), values))


class Log(Agent):
    def __init__(self) -> None:
        super().__init__("log")
        self.seen: list[int] = []

    @handles
    def flush(self, message: Flush) -> None:
        self.seen.append(message.value)


async def running(manager: AgentManager, **policies: Any) -> tuple[Store, Log]:
    store, log = Store(), Log()
    await manager.register(store, **policies)
    await manager.register(log)
    return store, log


# what is collected


async def test_a_batch_is_what_waits_up_to_its_size() -> None:
    async with AgentManager() as manager:
        store, log = await running(manager)
        for value in range(6):
            manager.tell_nowait("store", Reading(value))

        await manager.settle()

        assert store.batches == [(0, [0, 1, 2, 3]), (10, [4, 5])]
        assert log.seen == [6, 9]
        assert manager.stats().turns == 4


async def test_the_first_waits_for_others_only_so_long() -> None:
    async with AgentManager() as manager:
        store, _ = await running(manager)
        for value in range(4):
            await manager.tell("store", Reading(value))
            await asyncio.sleep(4)

        await manager.settle()

        assert store.batches == [(10, [0, 1, 2]), (22, [3])]


async def test_the_waiting_ends_when_the_batch_is_full() -> None:
    async with AgentManager() as manager:
        store, _ = await running(manager)
        for value in range(4):
            await manager.tell("store", Reading(value))
            await asyncio.sleep(1)

        assert store.batches == [(3, [0, 1, 2, 3])]


async def test_a_batch_ends_at_the_first_message_of_another_type() -> None:
    async with AgentManager() as manager:
        store, _ = await running(manager)
        for content in (Reading(1), Reading(2), Flush(), Reading(3), Flush()):
            await manager.tell("store", content)
            await asyncio.sleep(1)

        assert store.batches == [(2, [1, 2]), (2, [-1]), (4, [3]), (4, [-1])]


async def test_a_full_mailbox_waits_for_nobody() -> None:
    async with AgentManager() as manager:
        store, _ = await running(manager, mailbox=MailboxPolicy(2))
        for value in range(3):
            await manager.tell("store", Reading(value))

        await manager.settle()

        assert store.batches == [(0, [0, 1]), (10, [2])]


async def test_without_a_wait_a_batch_is_what_is_there() -> None:
    async with AgentManager() as manager:
        store, _ = await running(manager)

        answers = await asyncio.gather(*(_double(manager, value) for value in range(5)))

        assert answers == [0, 2, 4, 6, 8]
        assert store.batches == [(0, [0, 1, 2]), (0, [3, 4])]


async def _double(manager: AgentManager, value: int, timeout: float = 100) -> int:
    return await manager.ask("store", Double(value), timeout=timeout)


async def test_no_runner_waits_for_a_batch_and_settling_does() -> None:
    async with AgentManager() as manager:
        store, _ = await running(manager)
        await manager.tell("store", Reading(1))
        await asyncio.sleep(1)
        pool = manager._running("look").pool
        assert not pool._ready
        assert not pool.is_idle

        await manager.settle()

        assert store.batches == [(10, [1])]
        assert pool.is_idle


async def test_a_batch_has_no_more_members_than_there_are_tokens() -> None:
    async with AgentManager() as manager:
        store, _ = await running(manager, rate_limit=RateLimit(1, per=100, burst=2))
        for value in range(4):
            manager.tell_nowait("store", Reading(value))

        await manager.settle()

        assert [values for _, values in store.batches] == [[0, 1], [2], [3]]


# what its members are owed


async def test_one_poison_message_does_not_kill_the_others() -> None:
    async with AgentManager() as manager:
        store, log = await running(manager)
        for value in (1, 13, 2, 3):
            manager.tell_nowait("store", Reading(value))

        await manager.settle()

        assert [values for _, values in store.batches] == [[1, 13, 2, 3], [1], [13], [2], [3]]
        assert log.seen == [1, 2, 3]
        assert manager.directory.cells["store"].state == 3
        assert [letter.message.content for letter in manager.dead_letters] == [Reading(13)]
        assert manager.dead_letters.counts == {Reason.FAILED: 1}


async def test_each_asker_gets_its_own_answer_or_its_own_error() -> None:
    async with AgentManager() as manager:
        await running(manager)

        answers = await asyncio.gather(*(_double(manager, value) for value in (1, 13, 2)), return_exceptions=True)

        assert answers[0] == 2
        assert isinstance(answers[1], TurnError)
        assert answers[1].error == "ValueError"
        assert answers[2] == 4


async def test_content_that_does_not_convert_fails_alone() -> None:
    async with AgentManager() as manager:
        store, _ = await running(manager)

        answers = await asyncio.gather(
            manager.ask("store", {"value": 1}, message_type="double"),
            manager.ask("store", {"value": "one"}, message_type="double"),
            manager.ask("store", {"value": 3}, message_type="double"),
            return_exceptions=True,
        )

        assert answers[0] == 2
        assert isinstance(answers[1], InvalidPayload)
        assert answers[2] == 6
        assert [values for _, values in store.batches] == [[1], [3]]


async def test_asked_and_told_messages_meet_in_one_batch() -> None:
    async with AgentManager() as manager:
        store, _ = await running(manager)
        manager.tell_nowait("store", Double(1))
        assert await _double(manager, 2) == 4

        assert store.batches == [(0, [1, 2])]


@pytest.mark.parametrize("answer", [None, [], [1, 2, 3], 7, "ab"])
async def test_a_wrong_number_of_answers_is_an_error_that_says_so(answer: Any) -> None:
    class Wrong(Agent):
        @handles(batch=BatchPolicy(max_size=2))
        def double(self, messages: list[Double]) -> Any:
            return answer

    async with AgentManager() as manager:
        await manager.register(Wrong("store"))

        answers = await asyncio.gather(_double(manager, 1), _double(manager, 2), return_exceptions=True)

        for error in answers:
            assert isinstance(error, TurnError)
            assert "return a list with one answer for each message" in error.text


async def test_the_turn_has_the_earliest_deadline_and_all_envelopes() -> None:
    seen: list[tuple[float, list[AgentMessage], AgentMessage]] = []

    class Slow(Agent):
        @handles(batch=BatchPolicy(max_size=3))
        async def double(self, messages: list[Double], ctx: AgentContext) -> list[int]:
            seen.append((round((ctx.deadline or 0) - ctx.now(), 1), list(ctx.messages), ctx.message))
            return [message.value for message in messages]

    async with AgentManager() as manager:
        await manager.register(Slow("store"))

        await asyncio.gather(*(_double(manager, value, timeout) for value, timeout in enumerate((90, 7, 80))))

        (left, messages, message) = seen[0]
        assert left == 7
        assert [one.content for one in messages] == [Double(0), Double(1), Double(2)]
        assert (message.sender, message.content, message.sequence) == ("outside", Double(0), messages[0].sequence)
        assert message.id not in {one.id for one in messages}


async def test_a_batch_cannot_be_answered_or_passed_on_as_a_whole() -> None:
    tried: list[str] = []

    class Trying(Agent):
        @handles(batch=BatchPolicy(max_size=2))
        async def double(self, messages: list[Double], ctx: AgentContext) -> list[int]:
            for attempt in (lambda: ctx.reply(1), lambda: ctx.forward("x"), ctx.defer):
                with pytest.raises(RuntimeError, match="there is no one message to") as error:
                    attempt()
                tried.append(str(error.value).split(" one message to ")[1].split(";")[0])
            return [0, 0]

    async with AgentManager() as manager:
        await manager.register(Trying("store"))
        await asyncio.gather(_double(manager, 1), _double(manager, 2))

    assert tried == ["reply to", "forward", "defer"]


async def test_an_ask_that_is_withdrawn_leaves_its_batch_before_that_begins() -> None:
    class Waiting(Agent):
        seen: list[int]

        @handles(batch=BatchPolicy(max_size=3, max_wait=20))
        def double(self, messages: list[Double]) -> list[int]:
            self.seen += [message.value for message in messages]
            return [message.value for message in messages]

    async with AgentManager() as manager:
        waiting = Waiting("store")
        waiting.seen = []
        await manager.register(waiting)
        early, late = (asyncio.ensure_future(_double(manager, *args)) for args in ((1, 5), (2, 100)))

        assert await late == 2
        with pytest.raises(TimeoutError):
            await early

        assert waiting.seen == [2]


async def test_a_new_batch_waits_anew_after_all_of_the_last_were_withdrawn() -> None:
    async with AgentManager() as manager:
        store, _ = await running(manager)

        with pytest.raises(TimeoutError):
            await manager.ask("store", Reading(1), timeout=2)
        await asyncio.sleep(100)
        began = asyncio.get_running_loop().time()
        await manager.tell("store", Reading(2))
        await manager.settle()

        ((at, values),) = store.batches
        assert values == [2]
        assert at == pytest.approx(began + 10, abs=0.1)


async def test_told_messages_that_are_late_are_no_members() -> None:
    async with AgentManager() as manager:
        store, _ = await running(manager)
        sender = manager.get_message_sender()
        now = manager._running("look").now()
        for value, left in enumerate((5, 100, 5)):
            await sender(AgentMessage("me", "store", Reading(value), "reading", deadline=now + left))

        await manager.settle()

        assert store.batches == [(10, [1])]
        assert manager.dead_letters.counts == {Reason.EXPIRED: 2}


async def test_what_a_stopped_batch_did_not_come_to_is_a_dead_letter_each() -> None:
    class Stuck(Agent):
        @handles(batch=BatchPolicy(max_size=3))
        async def double(self, messages: list[Double]) -> list[int]:
            await asyncio.sleep(1000)
            return []

    manager = AgentManager()
    await manager.register(Stuck("store"))
    await manager.start()
    asks = [asyncio.ensure_future(_double(manager, value)) for value in range(5)]
    await asyncio.sleep(1)

    await manager.stop(drain=False)

    assert [type(ask.exception()).__name__ for ask in asks] == ["AgentStopped"] * 5
    assert manager.dead_letters.counts == {Reason.STOPPED: 5}


# what is checked at registration


async def refused(agent: Any, match: str) -> None:
    async with AgentManager() as manager:
        with pytest.raises(TypeError, match=match):
            await manager.register(agent)


async def test_a_batch_handler_must_take_a_list() -> None:
    class NoList(Agent):
        @handles(batch=BatchPolicy())
        def one(self, message: Reading) -> None: ...

    class NoPayload(Agent):
        @handles(batch=BatchPolicy())
        def numbers(self, messages: list[int]) -> None: ...

    class NoBatch(Agent):
        @handles
        def several(self, messages: list[Reading]) -> None: ...

    class Silent(Agent):
        @handles(batch=BatchPolicy())
        def silent(self, messages) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    await refused(NoList("a"), "has batch=, so it is given a list")
    await refused(NoPayload("a"), "annotate its first parameter with a Payload class")
    await refused(NoBatch("a"), "or with batch=, which is what takes a list")
    await refused(Silent("a"), "has batch=, so it is given a list")


@pytest.mark.parametrize("options", [{"batch": 3}, {"rate": 10}, {}])
def test_what_handles_cannot_mean_is_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"takes a (BatchPolicy|RateLimit|method)"):
        handles(**options)


async def test_types_can_be_named_and_unions_make_batches_of_one_type() -> None:
    class Named(Agent):
        seen: list[Any]

        @handles("raw", batch=BatchPolicy())
        def raw(self, messages: list[dict[str, int]]) -> None:
            self.seen.append(messages)

        @handles(Double, batch=BatchPolicy())
        def named(self, messages: Any) -> list[int]:
            self.seen.append(messages)
            return [0 for _ in messages]

        @handles(batch=BatchPolicy())
        def either(self, messages: list[Reading | Flush]) -> None:
            self.seen.append(messages)

    async with AgentManager() as manager:
        named = Named("a")
        named.seen = []
        await manager.register(named)
        for content, kind in (
            *(({"n": n}, "raw") for n in range(2)),
            *((content, None) for content in (Double(1), Reading(1), Reading(2), Flush())),
        ):
            manager.tell_nowait("a", content, message_type=kind)
        await manager.settle()

        assert named.seen == [[{"n": 0}, {"n": 1}], [Double(1)], [Reading(1), Reading(2)], [Flush()]]


async def test_a_card_describes_the_message_and_not_the_list() -> None:
    async with AgentManager() as manager:
        await running(manager)

        schemas = {one.message_type: one.content for one in manager.card("store").handles}

        assert schemas["reading"] is not None
        assert "Reading" in schemas["reading"]["$ref"]


def test_a_function_can_take_batches() -> None:
    @handles(batch=BatchPolicy())
    def store(messages: list[Reading]) -> None: ...

    (handler,) = function_table(store)

    assert (handler.message_type, handler.batch) == ("reading", BatchPolicy())


async def test_a_fake_context_runs_a_batch_handler() -> None:
    assert await FakeContext.of(message=Double(4)).handle(Store()) == [8]
    ctx = FakeContext.of(message=[Double(1), Double(2)])
    assert await ctx.handle(Store()) == [2, 4]
    assert [message.content for message in ctx.messages] == [Double(1), Double(2)]


# beside supervision, time limits and repetition


async def test_a_batch_that_runs_too_long_is_run_as_singles_each_with_a_time_of_its_own() -> None:
    class Slow(Agent):
        timeouts = TimeoutPolicy(run_timeout=10)
        retry = RetryPolicy(max_attempts=1)

        @handles(batch=BatchPolicy(max_size=3))
        async def double(self, messages: list[Double]) -> list[int]:
            for message in messages:
                await asyncio.sleep(message.value)
            return [message.value for message in messages]

    async with AgentManager() as manager:
        await manager.register(Slow("store"))

        answers = await asyncio.gather(*(_double(manager, value) for value in (6, 20, 7)), return_exceptions=True)

        assert (answers[0], answers[2]) == (6, 7)
        assert isinstance(answers[1], TurnError)
        assert answers[1].error == "TurnTimeout"
        assert manager.dead_letters.counts == {Reason.FAILED: 1}


async def test_a_batch_whose_handler_does_not_end_is_given_up_with_all_its_members() -> None:
    release = asyncio.Event()

    class Stubborn(Agent):
        timeouts = TimeoutPolicy(run_timeout=10)

        @handles(batch=BatchPolicy(max_size=3))
        async def double(self, messages: list[Double]) -> list[int]:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue
            return [message.value for message in messages]

    async with AgentManager() as manager:
        await manager.register(Stubborn("store"))

        answers = await asyncio.gather(*(_double(manager, value) for value in range(3)), return_exceptions=True)

        assert [getattr(answer, "error", None) for answer in answers] == ["TurnTimeout"] * 3
        assert manager.dead_letters.counts == {Reason.FAILED: 3}
        release.set()


async def test_a_restart_in_the_middle_of_a_batch_runs_it_again_and_one_between_singles_loses_none() -> None:
    made: list[Restarted] = []
    seen: list[tuple[int, list[int]]] = []

    class Restarted(Agent):
        def __init__(self, agent_id: str) -> None:
            super().__init__(agent_id)
            made.append(self)

        @handles(batch=BatchPolicy(max_size=4))
        async def double(self, messages: list[Double]) -> list[int]:
            values = [message.value for message in messages]
            seen.append((len(made), values))
            await asyncio.sleep(1)
            if 13 in values:
                raise ValueError("an unlucky number")
            return values

        @handles
        def flush(self, message: Flush) -> None:
            raise ValueError("restart me")

    policy = Supervision(directives=((ValueError, "restart"),), backoff=Backoff(0, 0))
    async with AgentManager(supervision=policy) as manager:
        await manager.register(Restarted("store"))

        answers = await asyncio.gather(*(_double(manager, value) for value in (1, 13, 2)), return_exceptions=True)

        assert (answers[0], answers[2]) == (1, 2)
        assert isinstance(answers[1], TurnError)
        assert seen == [(1, [1, 13, 2]), (1, [1]), (1, [13]), (2, [2])]


async def test_an_interrupted_batch_is_a_batch_again_after_the_restart() -> None:
    seen: list[list[int]] = []

    class Wide(Agent):
        concurrency = 2

        @handles(batch=BatchPolicy(max_size=4))
        async def double(self, messages: list[Double]) -> list[int]:
            seen.append([message.value for message in messages])
            await asyncio.sleep(10)
            return [message.value for message in messages]

        @handles
        def flush(self, message: Flush) -> None:
            raise ValueError("restart me")

    policy = Supervision(directives=((ValueError, "restart"),), backoff=Backoff(0, 0))
    async with AgentManager(supervision=policy) as manager:
        await manager.register(Wide("store"))
        asks = [asyncio.ensure_future(_double(manager, value)) for value in range(3)]
        await asyncio.sleep(1)
        await manager.tell("store", Flush())

        assert await asyncio.gather(*asks) == [0, 1, 2]
        assert seen == [[0, 1, 2], [0, 1, 2]]


async def test_a_message_that_comes_twice_is_one_member_once_and_may_still_be_run_alone() -> None:
    async with AgentManager() as manager:
        store, _ = await running(manager)
        manager._running("repeat").delivery.may_repeat = True
        messages = [AgentMessage("me", "store", Double(value), "double", value, "link") for value in (1, 13, 13, 1, 2)]
        outside = manager._gateway
        assert outside is not None
        for message in messages:
            outside.accept(message)

        await manager.settle()

        assert [values for _, values in store.batches] == [[1, 13, 2], [1], [13], [2]]
        assert manager.dead_letters.counts == {Reason.FAILED: 1}


async def test_a_member_that_is_withdrawn_while_the_others_run_alone_does_not_run() -> None:
    async with AgentManager() as manager:
        seen: list[list[int]] = []

        class Slow(Agent):
            @handles(batch=BatchPolicy(max_size=4))
            async def double(self, messages: list[Double]) -> list[int]:
                values = [message.value for message in messages]
                seen.append(values)
                if 13 in values:
                    raise ValueError("an unlucky number")
                await asyncio.sleep(10)
                return values

        await manager.register(Slow("store"))
        waits = ((1, 100), (13, 100), (2, 5), (3, 100))
        asks = [asyncio.ensure_future(_double(manager, value, timeout)) for value, timeout in waits]
        await asyncio.gather(*asks, return_exceptions=True)

        assert seen == [[1, 13, 2, 3], [1], [13], [3]]


async def test_a_deadlock_through_a_later_member_of_a_batch_is_found_before_any_timeout() -> None:
    class Batcher(Agent):
        retry = RetryPolicy(max_attempts=1)

        @handles(batch=BatchPolicy(max_size=2))
        async def double(self, messages: list[Double], ctx: AgentContext) -> list[int]:
            await asyncio.sleep(1)  # so that the friend waits already, and not by a chain that is seen when it asks
            return [await ctx.ask("friend", Reading(message.value), timeout=500) or 0 for message in messages]

    class Friend(Agent):
        retry = RetryPolicy(max_attempts=1)

        @handles
        async def go(self, message: Flush, ctx: AgentContext) -> int:
            return await ctx.ask("store", Double(2), timeout=500)

        @handles
        def reading(self, message: Reading) -> int:
            return 2 * message.value

    async with AgentManager() as manager:
        await manager.register(Batcher("store"))
        await manager.register(Friend("friend"))
        outside = asyncio.ensure_future(_double(manager, 1))
        await manager.tell("friend", Flush())
        begun = asyncio.get_running_loop().time()

        await manager.settle()
        await asyncio.gather(outside, return_exceptions=True)

        assert asyncio.get_running_loop().time() - begun < 100
        assert any("DeadlockError" in letter.error for letter in manager.dead_letters)
