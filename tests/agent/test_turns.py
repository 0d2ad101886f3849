"""A turn is a transaction: what its handler did takes effect together when it returns, or not at all when it raises."""

from __future__ import annotations

import asyncio
import contextvars
import warnings
from typing import Any

import pytest

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    AgentMessage,
    Backoff,
    DeliveryError,
    InvalidPayload,
    Payload,
    Reason,
    Request,
    Retry,
    RetryPolicy,
    StateConflict,
    TurnError,
    handles,
)


def deep(error: Exception, depth: int) -> Exception:
    """A group in a group in a group."""
    for _ in range(depth):
        error = ExceptionGroup("one", [error])
    return error


class Go(Request[Any]):
    fail: bool = False


class Note(Payload):
    text: str


class Count(Request[int]):
    pass


class Listener(Agent):
    topics = ("news",)

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.heard: list[str] = []

    @handles
    def on_note(self, message: Note) -> None:
        self.heard.append(message.text)


class Counter(Agent):
    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.count = 0

    @handles
    def on_count(self, message: Count) -> int:
        self.count += 1
        return self.count


class Flaky(Agent[dict[str, int]]):
    """Does everything a turn can do, and then fails if told to."""

    retry = RetryPolicy(max_attempts=1)

    def initial_state(self) -> dict[str, int]:
        return {"turns": 0}

    @handles
    async def on_go(self, message: Go, ctx: AgentContext[dict[str, int]]) -> str:
        await ctx.send("listener", Note("one"))
        ctx.send("listener", Note("two"))
        await ctx.publish("news", Note("three"))
        ctx.subscribe("flaky-topic")
        ctx.schedule(1, Note("four"), to="listener")
        ctx.state = {"turns": ctx.state["turns"] + 1}
        await ctx.shared_state.set("key", "written")
        assert await ctx.shared_state.get("key") == "written"
        await ctx.spawn(Listener("child"))
        ctx.reply("done")
        if message.fail:
            raise ValueError("on purpose")
        return "unused"


async def test_a_handler_that_raises_leaves_nothing_behind() -> None:
    async with AgentManager() as manager:
        listener = Listener("listener")
        await manager.register(listener)
        await manager.register(Flaky("flaky"))

        with pytest.raises(TurnError, match="on purpose") as caught:
            await manager.ask("flaky", Go(fail=True))
        await asyncio.sleep(5)
        await manager.settle()

        assert (caught.value.error, caught.value.attempts) == ("ValueError", 1)
        assert listener.heard == []
        assert await manager.shared_state.get("key") is None
        assert "child" not in manager.directory
        assert await manager.publish("flaky-topic", Note("?")) == 0
        (letter,) = manager.dead_letters
        assert letter.reason is Reason.FAILED
        assert "on purpose" in letter.error


async def test_a_handler_that_returns_makes_it_all_true() -> None:
    async with AgentManager() as manager:
        listener = Listener("listener")
        await manager.register(listener)
        await manager.register(Flaky("flaky"))

        assert await manager.ask("flaky", Go()) == "done"
        await manager.settle()
        assert listener.heard == ["one", "two", "three"]
        await asyncio.sleep(2)
        await manager.settle()

        assert listener.heard == ["one", "two", "three", "four"]
        assert await manager.shared_state.get("key") == "written"
        assert "child" in manager.directory


async def test_nothing_is_seen_before_the_handler_returns() -> None:
    gate = asyncio.Event()

    class Slow(Agent):
        @handles
        async def on_go(self, message: Go, ctx: AgentContext) -> None:
            ctx.send("listener", Note("early?"))
            await ctx.shared_state.set("key", 1)
            ctx.progress("listener", Note("at once"))
            await gate.wait()

    async with AgentManager() as manager:
        listener = Listener("listener")
        await manager.register(listener)
        await manager.register(Slow("slow"))
        await manager.tell("slow", Go())
        await asyncio.sleep(1)
        assert listener.heard == ["at once"]
        assert await manager.shared_state.get("key") is None

        gate.set()
        await manager.settle()

        assert listener.heard == ["at once", "early?"]


async def test_an_ask_made_in_a_turn_stays_when_the_turn_rolls_back_and_a_run_again_finds_its_answer() -> None:
    class Asker(Agent):
        retry = RetryPolicy(max_attempts=3)

        @handles
        async def on_go(self, message: Go, ctx: AgentContext) -> list[int]:
            first = await ctx.ask("counter", Count())
            second = await ctx.ask("counter", Count())
            if ctx.attempt < 3:
                raise OSError("try again")
            return [first, second]

    async with AgentManager() as manager:
        counter = Counter("counter")
        await manager.register(counter)
        await manager.register(Asker("asker"))

        assert await manager.ask("asker", Go()) == [1, 2]
        assert counter.count == 2


async def test_retry_fresh_forgets_the_answers() -> None:
    class Asker(Agent):
        @handles
        async def on_go(self, message: Go, ctx: AgentContext) -> int:
            answer = await ctx.ask("counter", Count())
            if ctx.attempt == 1:
                raise Retry("stale", fresh=True, after=0)
            return answer

    async with AgentManager() as manager:
        await manager.register(Counter("counter"))
        await manager.register(Asker("asker"))

        assert await manager.ask("asker", Go()) == 2


async def test_records_are_found_by_content_not_by_position() -> None:
    class Ask(Request[str]):
        word: str

    class Echo(Agent):
        asked: list[str] = []

        @handles(Ask)
        def on_ask(self, message: Ask) -> str:
            self.asked.append(message.word)
            return message.word.upper()

    class Wavering(Agent):
        @handles
        async def on_go(self, message: Go, ctx: AgentContext) -> list[str]:
            words = ["a", "b"] if ctx.attempt == 1 else ["c", "b", "a", "b"]
            answers = [await ctx.ask("echo", Ask(word)) for word in words]
            if ctx.attempt == 1:
                raise OSError
            return answers

    async with AgentManager() as manager:
        echo = Echo("echo")
        await manager.register(echo)
        await manager.register(Wavering("wavering"))

        assert await manager.ask("wavering", Go()) == ["C", "B", "A", "B"]
        assert echo.asked == ["a", "b", "c", "b"]


@pytest.mark.parametrize(("error", "runs"), [(OSError, 3), (TimeoutError, 3), (DeliveryError, 3), (ValueError, 1)])
async def test_errors_that_may_pass_are_retried_in_place_and_others_are_not(error: type[Exception], runs: int) -> None:
    attempts: list[int] = []

    class Failing(Agent):
        @handles
        def on_go(self, message: Go, ctx: AgentContext) -> None:
            attempts.append(ctx.attempt)
            raise error("again")

    async with AgentManager() as manager:
        await manager.register(Failing("failing"))

        with pytest.raises(TurnError) as caught:
            await manager.ask("failing", Go())

        assert attempts == list(range(1, runs + 1))
        assert caught.value.attempts == runs
        (letter,) = manager.dead_letters
        assert letter.attempts == runs


@pytest.mark.parametrize(
    ("errors", "runs", "told"),
    [
        ([TimeoutError("late")], 3, "TimeoutError: late"),
        ([TimeoutError("late"), OSError("gone")], 3, "TimeoutError: late"),
        ([TimeoutError("late"), ValueError("wrong")], 1, "ValueError: wrong"),
        ([ExceptionGroup("inner", [OSError("gone"), KeyError("key")]), TimeoutError()], 1, "KeyError: 'key'"),
        ([Retry("once more")], 3, "Retry: once more"),
        ([TimeoutError("late"), Retry("once more")], 3, "Retry: once more"),
        ([StateConflict("key", 1, 2), OSError("gone")], 3, "OSError: gone"),
        ([deep(ValueError("wrong"), 5000)], 1, "ValueError: wrong"),
    ],
)
async def test_a_group_of_errors_counts_as_the_one_of_them_that_decides(
    errors: list[Exception], runs: int, told: str
) -> None:
    attempts: list[int] = []

    class Failing(Agent):
        @handles
        async def on_go(self, message: Go, ctx: AgentContext) -> None:
            attempts.append(ctx.attempt)
            raise ExceptionGroup("several", errors)

    async with AgentManager() as manager:
        await manager.register(Failing("failing"))

        with pytest.raises(TurnError) as caught:
            await manager.ask("failing", Go())

        assert len(attempts) == runs
        assert f"{caught.value.error}: {caught.value.text}" == told
        (letter,) = manager.dead_letters
        assert told in str(letter.error)


async def test_a_lost_race_in_a_task_group_runs_the_turn_again_without_counting_as_an_attempt() -> None:
    runs: list[int] = []

    class Racing(Agent):
        retry = RetryPolicy(max_attempts=1)

        @handles
        async def on_go(self, message: Go, ctx: AgentContext) -> int:
            runs.append(ctx.attempt)
            if len(runs) < 4:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_lose())
            return len(runs)

    async def _lose() -> None:
        raise StateConflict("key", 1, 2)

    async with AgentManager() as manager:
        await manager.register(Racing("racing"))

        assert await manager.ask("racing", Go()) == 4
        assert runs == [1, 1, 1, 1]


async def test_a_message_error_in_a_group_is_told_to_the_asker_as_it_is() -> None:
    class Refusing(Agent):
        @handles
        async def on_go(self, message: Go, ctx: AgentContext) -> None:
            raise ExceptionGroup("several", [InvalidPayload("go", "there is nowhere to go")])

    async with AgentManager() as manager:
        await manager.register(Refusing("refusing"))

        with pytest.raises(InvalidPayload, match="there is nowhere to go"):
            await manager.ask("refusing", Go())
        assert manager.dead_letters.counts == {Reason.INVALID: 1}


async def test_a_retry_keeps_the_order_of_messages() -> None:
    heard: list[str] = []

    class Hesitant(Agent):
        retry = RetryPolicy(backoff=Backoff(first=1, limit=1))

        @handles
        def on_note(self, message: Note, ctx: AgentContext) -> None:
            if message.text == "b" and ctx.attempt < 3:
                raise OSError
            heard.append(message.text)

    async with AgentManager() as manager:
        await manager.register(Hesitant("hesitant"))
        for text in "abc":
            await manager.tell("hesitant", Note(text))
        await manager.settle()

    assert heard == ["a", "b", "c"]


async def test_a_lost_race_for_shared_state_runs_the_turn_again_without_counting_as_an_attempt() -> None:
    attempts: list[int] = []

    class Racer(Agent):
        concurrency = 5
        retry = RetryPolicy(max_attempts=1)

        @handles
        async def on_count(self, message: Count, ctx: AgentContext) -> int:
            attempts.append(ctx.attempt)
            value: int = await ctx.shared_state.get("n", 0)
            await asyncio.sleep(1)
            await ctx.shared_state.set("n", value + 1)
            return value

    async with AgentManager() as manager:
        await manager.register(Racer("racer"))

        got = await manager.gather([manager.ask("racer", Count()) for _ in range(5)])

        assert sorted(got) == [0, 1, 2, 3, 4]
        assert await manager.shared_state.get("n") == 5
        assert len(attempts) > 5
        assert set(attempts) == {1}


async def test_a_compare_and_set_that_always_fails_ends() -> None:
    class Stubborn(Agent):
        retry = RetryPolicy(max_attempts=1)

        @handles
        async def on_go(self, message: Go, ctx: AgentContext) -> None:
            await ctx.shared_state.compare_and_set("k", 1, 99)

    async with AgentManager() as manager:
        await manager.register(Stubborn("stubborn"))

        with pytest.raises(TurnError, match=StateConflict.__name__):
            await manager.ask("stubborn", Go())


async def test_after_the_turn_every_call_raises() -> None:
    kept: list[AgentContext] = []

    class Keeper(Agent):
        @handles
        def on_go(self, message: Go, ctx: AgentContext) -> None:
            kept.append(ctx)

    async with AgentManager() as manager:
        await manager.register(Keeper("keeper"))
        await manager.ask("keeper", Go())

        for call in (
            lambda ctx: ctx.send("keeper", Go()),
            lambda ctx: ctx.reply(1),
            lambda ctx: ctx.ask("keeper", Go()),
            lambda ctx: ctx.schedule(1, Go()),
            lambda ctx: ctx.progress("keeper", Go()),
            lambda ctx: ctx.shared_state,
            lambda ctx: setattr(ctx, "state", 1),
        ):
            with pytest.raises(RuntimeError, match="turn of 'keeper' is over"):
                call(kept[0])


async def test_a_turn_that_holds_unsent_messages_to_an_agent_may_not_ask_it() -> None:
    class Muddled(Agent):
        @handles
        async def on_go(self, message: Go, ctx: AgentContext) -> None:
            ctx.send("counter", Count())
            await ctx.ask("counter", Count())

    async with AgentManager() as manager:
        await manager.register(Counter("counter"))
        await manager.register(Muddled("muddled"))

        with pytest.raises(TurnError, match="ask first, or split the turn"):
            await manager.ask("muddled", Go())


async def test_an_ask_that_was_never_awaited_is_not_sent_and_is_warned_of() -> None:
    class Forgetful(Agent):
        @handles
        async def on_go(self, message: Go, ctx: AgentContext) -> str:
            await ctx.shared_state.set("mark", ctx.attempt)
            ctx.ask("counter", Count())
            return "fine"

    async with AgentManager() as manager:
        counter = Counter("counter")
        await manager.register(counter)
        await manager.register(Forgetful("forgetful"))

        with pytest.raises(TurnError, match="never awaited"):
            await manager.ask("forgetful", Go())
        assert await manager.shared_state.get("mark") is None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert await manager.ask("forgetful", Go()) == "fine"
        assert counter.count == 0


async def test_time_and_random_numbers_are_fixed_in_a_turn_and_repeat_with_the_seed() -> None:
    drawn: list[tuple[int, float]] = []

    class Dice(Agent):
        @handles
        async def on_go(self, message: Go, ctx: AgentContext) -> None:
            began = ctx.now()
            await asyncio.sleep(5)
            assert ctx.now() == began
            drawn.append((ctx.attempt, ctx.random.random()))
            if ctx.attempt == 1:
                raise OSError

    for _ in range(2):
        async with AgentManager(seed=7) as manager:
            await manager.register(Dice("dice"))
            await manager.ask("dice", Go())

    assert len({value for _, value in drawn}) == 1
    assert [attempt for attempt, _ in drawn] == [1, 2, 1, 2]


async def test_context_variables_of_one_turn_are_not_seen_by_another_agent() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="clean")
    seen: list[str] = []

    class Setter(Agent):
        @handles
        def on_go(self, message: Go) -> None:
            variable.set("dirty")

    class Reader(Agent):
        @handles
        def on_note(self, message: Note) -> None:
            seen.append(variable.get())

    async with AgentManager() as manager:
        await manager.register(Setter("setter"))
        await manager.register(Reader("reader"))
        await manager.tell("setter", Go())
        await manager.tell("reader", Note("?"))
        await manager.settle()

    assert seen == ["clean"]


async def test_a_waiting_handler_holds_up_nobody() -> None:
    gate = asyncio.Event()

    class Waiting(Agent):
        @handles
        async def on_go(self, message: Go) -> None:
            await gate.wait()

    async with AgentManager() as manager:
        for number in range(50):
            await manager.register(Waiting(f"waiting_{number}"))
            await manager.tell(f"waiting_{number}", Go())
        await manager.register(Counter("counter"))

        assert await manager.ask("counter", Count(), timeout=1) == 1
        gate.set()


async def test_an_agent_handles_one_message_at_a_time_unless_it_says_otherwise() -> None:
    peak = {"one": 0, "three": 0}
    now = {"one": 0, "three": 0}

    class Busy(Agent):
        @handles
        async def on_go(self, message: Go) -> None:
            now[self.id] += 1
            peak[self.id] = max(peak[self.id], now[self.id])
            await asyncio.sleep(1)
            now[self.id] -= 1

    class BusyThrice(Busy):
        concurrency = 3

    async with AgentManager() as manager:
        await manager.register(Busy("one"))
        await manager.register(BusyThrice("three"))
        for _ in range(9):
            await manager.tell("one", Go())
            await manager.tell("three", Go())
        await manager.settle()

    assert peak == {"one": 1, "three": 3}


async def test_a_deferred_ask_is_answered_in_a_later_turn() -> None:
    class Done(Payload):
        pass

    class Clerk(Agent):
        @handles
        async def on_go(self, message: Go, ctx: AgentContext) -> str:
            self.waiting = ctx.defer()
            return "not the answer"

        @handles
        async def on_done(self, message: Done, ctx: AgentContext) -> None:
            ctx.send(self.waiting, "the answer")

    async with AgentManager() as manager:
        await manager.register(Clerk("clerk"))
        ask = asyncio.ensure_future(_await(manager.ask("clerk", Go())))
        await asyncio.sleep(1)
        assert not ask.done()
        await manager.tell("clerk", Done())

        assert await ask == "the answer"


async def test_only_an_ask_can_be_deferred() -> None:
    class Clerk(Agent):
        @handles
        async def on_go(self, message: Go, ctx: AgentContext) -> None:
            ctx.defer()

    async with AgentManager() as manager:
        await manager.register(Clerk("clerk"))
        await manager.tell("clerk", Go())
        await manager.settle()

        (letter,) = manager.dead_letters
        assert "only an ask can be deferred" in letter.error


async def test_a_manager_built_on_defer_serves_a_hundred_tasks_at_once() -> None:
    class Work(Payload):
        number: int

    class Result(Payload):
        number: int

    class Task(Request[int]):
        number: int

    class Worker(Agent):
        @handles
        async def on_work(self, message: Work, ctx: AgentContext) -> None:
            await asyncio.sleep(10)
            ctx.send("boss", Result(message.number))

    class Boss(Agent):
        def __init__(self, agent_id: str) -> None:
            super().__init__(agent_id)
            self.waiting: dict[int, Any] = {}

        @handles
        async def on_task(self, message: Task, ctx: AgentContext) -> None:
            self.waiting[message.number] = ctx.defer()
            ctx.send(f"worker_{message.number + 1}", Work(message.number))

        @handles
        async def on_result(self, message: Result, ctx: AgentContext) -> None:
            ctx.send(self.waiting.pop(message.number), message.number * 2)

    async with AgentManager() as manager:
        await manager.register(Worker, count=100)
        await manager.register(Boss("boss"))
        began = asyncio.get_running_loop().time()

        answers = await manager.gather([manager.ask("boss", Task(number)) for number in range(100)])

        assert answers == [number * 2 for number in range(100)]
        assert asyncio.get_running_loop().time() - began < 11


async def test_a_forwarded_ask_is_answered_by_whoever_handles_it() -> None:
    class Desk(Agent):
        @handles
        def on_count(self, message: Count, ctx: AgentContext) -> None:
            ctx.forward("counter")

    async with AgentManager() as manager:
        await manager.register(Desk("desk"))
        await manager.register(Counter("counter"))

        assert await manager.ask("desk", Count()) == 1


async def test_run_sync_returns_what_the_function_returns() -> None:
    class Blocking(Agent):
        @handles
        async def on_go(self, message: Go, ctx: AgentContext) -> int:
            return await ctx.run_sync(sum, [1, 2, 3])

    async with AgentManager() as manager:
        await manager.register(Blocking("blocking"))

        assert await manager.ask("blocking", Go()) == 6


async def test_content_of_the_wrong_shape_is_a_message_error_for_the_asker_and_is_never_retried() -> None:
    class Strict(Agent):
        @handles
        def on_note(self, message: Note) -> str:
            return message.text

    async with AgentManager() as manager:
        await manager.register(Strict("strict"))

        assert await manager.ask("strict", {"text": "dict"}, message_type="note") == "dict"
        for content in ({"text": 1}, {}, None, [1], "x"):
            with pytest.raises(Exception, match="invalid content for message type 'note'"):
                await manager.ask("strict", content, message_type="note")
        with pytest.raises(Exception, match="does not handle 'other'; it handles: note"):
            await manager.ask("strict", {}, message_type="other")
        assert manager.dead_letters.counts[Reason.INVALID] == 6


async def test_an_agent_may_handle_untyped_messages_whole() -> None:
    class Matching(Agent):
        async def handle_message(self, message: AgentMessage, ctx: AgentContext) -> Any:
            match message.message_type:
                case "double":
                    return message.content["n"] * 2
                case other:
                    return f"{other} from {message.sender}"

    async with AgentManager() as manager:
        await manager.register(Matching("matching"))

        assert await manager.ask("matching", {"n": 21}, message_type="double") == 42
        assert await manager.ask("matching", {}, message_type="hum") == "hum from outside"


async def _await(ask: Any) -> Any:
    return await ask
