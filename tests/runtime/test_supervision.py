"""Who fails is resumed, restarted, stopped or escalated, as the parent's policy says; mail and state survive."""

from __future__ import annotations

import asyncio
import signal
from typing import Any, ClassVar

import msgspec
import pytest

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    AgentStopped,
    Backoff,
    MailboxPolicy,
    Payload,
    Reason,
    Request,
    RetryPolicy,
    Supervision,
    SupervisionFailed,
    Terminated,
    TimeoutPolicy,
    TurnError,
    handles,
)
from moot.policies import Directive

AT_ONCE = Backoff(first=0, limit=0)


class Work(Request[str]):
    text: str = ""
    fail: bool = False
    seconds: float = 0.0


class Note(Payload):
    text: str


class Total(msgspec.Struct, frozen=True):
    texts: tuple[str, ...] = ()


class Worker(Agent[Total]):
    """Keeps what it handled in its state, and in an attribute that a restart forgets."""

    log: ClassVar[list[str]] = []
    retry = RetryPolicy(max_attempts=1)

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.remembered = 0

    async def on_start(self, ctx: AgentContext[Total]) -> None:
        self.log.append(f"start {self.id}")

    async def on_stop(self, ctx: AgentContext[Total]) -> None:
        self.log.append(f"stop {self.id}")

    @handles
    async def on_work(self, message: Work, ctx: AgentContext[Total]) -> str:
        self.remembered += 1
        ctx.state = Total(texts=(*ctx.state.texts, message.text))
        await asyncio.sleep(message.seconds)
        if message.fail:
            raise ValueError(message.text)
        return f"{self.remembered} of {len(ctx.state.texts)}"


@pytest.fixture(autouse=True)
def empty_log() -> None:
    Worker.log = []


def supervision(directive: Directive = "restart", **more: Any) -> Supervision:
    return Supervision(directives=((ValueError, directive),), backoff=AT_ONCE, **more)


async def test_by_default_an_agent_whose_turn_failed_goes_on() -> None:
    async with AgentManager() as manager:
        await manager.register(Worker("worker"))
        with pytest.raises(TurnError):
            await manager.ask("worker", Work(fail=True))

        assert await manager.ask("worker", Work()) == "2 of 1"
        assert Worker.log == ["start worker"]


async def test_a_restarted_agent_is_constructed_anew_and_keeps_its_mail_and_its_committed_state() -> None:
    async with AgentManager(supervision=supervision()) as manager:
        await manager.register(Worker("worker"))
        await manager.ask("worker", Work(text="a"))
        failing = asyncio.ensure_future(_result(manager.ask("worker", Work(text="b", fail=True))))
        waiting = asyncio.ensure_future(_result(manager.ask("worker", Work(text="c"))))

        assert isinstance(await failing, TurnError)
        assert await waiting == "1 of 2"
        assert Worker.log == ["start worker", "stop worker", "start worker"]


@pytest.mark.parametrize("errors", [[ValueError("boom")], [OSError("gone"), ExceptionGroup("inner", [ValueError()])]])
async def test_a_directive_holds_for_an_error_that_came_in_a_group(errors: list[Exception]) -> None:
    class Grouping(Worker):
        @handles
        async def on_note(self, message: Note) -> None:
            raise ExceptionGroup("several", errors)

    async with AgentManager(supervision=supervision()) as manager:
        await manager.register(Grouping("worker"))
        with pytest.raises(TurnError, match="ValueError"):
            await manager.ask("worker", Note("x"))
        await manager.settle()

        assert Worker.log == ["start worker", "stop worker", "start worker"]


async def test_a_directive_holds_for_a_hook_whose_errors_came_in_a_group() -> None:
    class Unable(Worker):
        async def on_start(self, ctx: AgentContext[Total]) -> None:
            self.log.append(f"start {self.id}")
            if len(self.log) > 2:
                raise ExceptionGroup("several", [ConnectionError("nobody there")])

    policy = Supervision(directives=((ValueError, "restart"), (ConnectionError, "stop")), backoff=AT_ONCE)
    async with AgentManager(supervision=policy) as manager:
        await manager.register(Unable("worker"))
        with pytest.raises(TurnError):
            await manager.ask("worker", Work(fail=True))
        await manager.settle()

        assert "worker" not in manager.directory
        assert Worker.log == ["start worker", "stop worker", "start worker"]


async def test_a_stopped_agent_is_gone_and_its_mail_becomes_dead_letters() -> None:
    async with AgentManager(supervision=supervision("stop")) as manager:
        await manager.register(Worker("worker"))
        failing = asyncio.ensure_future(_result(manager.ask("worker", Work(fail=True, seconds=1))))
        waiting = asyncio.ensure_future(_result(manager.ask("worker", Work())))

        assert isinstance(await failing, TurnError)
        assert isinstance(await waiting, AgentStopped)
        await manager.settle()
        assert "worker" not in manager.directory
        assert [letter.reason for letter in manager.dead_letters] == [Reason.FAILED, Reason.STOPPED]


async def test_too_many_restarts_escalate_and_at_the_top_the_manager_stops() -> None:
    manager = AgentManager(supervision=supervision(max_restarts=2, within=30))
    with pytest.raises(SupervisionFailed, match=r"'worker' failed for good after 2 restart\(s\): ValueError: boom"):
        await _fail(manager, Worker, times=3)
    assert Worker.log.count("start worker") == 3


async def test_restarts_that_are_long_ago_do_not_count() -> None:
    async with AgentManager(supervision=supervision(max_restarts=1, within=30)) as manager:
        await manager.register(Worker("worker"))
        for _ in range(4):
            await _result(manager.ask("worker", Work(fail=True)))
            await asyncio.sleep(31)

        assert await manager.ask("worker", Work()) == "1 of 1"


@pytest.mark.parametrize(
    ("strategy", "restarted"),
    [("one_for_one", "b"), ("one_for_all", "abc"), ("rest_for_one", "bc")],
)
async def test_the_strategy_says_who_is_restarted_with_the_one_that_failed(strategy: Any, restarted: str) -> None:
    async with AgentManager(supervision=supervision(strategy=strategy)) as manager:
        for name in "abc":
            await manager.register(Worker(name))
        Worker.log.clear()

        await _result(manager.ask("b", Work(fail=True)))
        await manager.settle()

        stopped = [f"stop {name}" for name in reversed(restarted)]
        assert Worker.log == stopped + [f"start {name}" for name in restarted]


async def test_turns_that_a_restart_interrupts_are_run_again_before_anything_else() -> None:
    async with AgentManager(supervision=supervision(strategy="one_for_all")) as manager:
        await manager.register(Worker("a"))
        await manager.register(Worker("b"))
        first = asyncio.ensure_future(_result(manager.ask("a", Work(text="first", seconds=10))))
        second = asyncio.ensure_future(_result(manager.ask("a", Work(text="second"))))
        await asyncio.sleep(1)

        await _result(manager.ask("b", Work(fail=True)))

        assert await first == "1 of 1"
        assert await second == "2 of 2"
        assert [letter.message.to for letter in manager.dead_letters] == ["b"]


class Parent(Agent):
    supervision = supervision(max_restarts=1)
    log: ClassVar[list[str]] = []
    child: type[Agent[Any]] = Worker

    async def on_start(self, ctx: AgentContext) -> None:
        self.log.append("start parent")
        await ctx.spawn(self.child("child"))

    @handles
    async def on_end(self, message: Terminated) -> None:
        self.log.append(f"{message.agent_id} {message.reason} {message.error}")


class Watching(Parent):
    async def on_start(self, ctx: AgentContext) -> None:
        await super().on_start(ctx)
        ctx.watch("child")


async def test_a_parent_supervises_its_children_and_is_restarted_itself_when_that_fails() -> None:
    Parent.log = []
    async with AgentManager() as manager:
        await manager.register(Parent("parent"))
        for _ in range(2):
            await _result(manager.ask("child", Work(fail=True)))
            await manager.settle()

        assert Parent.log == ["start parent", "start parent"]
        assert await manager.ask("child", Work()) == "1 of 1"


class Leaf(Worker):
    restart = "temporary"


class WithLeaf(Watching):
    child = Leaf


async def test_a_temporary_child_is_never_restarted_and_who_watches_it_is_told() -> None:
    Parent.log = []
    async with AgentManager() as manager:
        await manager.register(WithLeaf("parent"))
        await _result(manager.ask("child", Work(text="no", fail=True)))
        await manager.settle()

        assert Parent.log == ["start parent", "child failed ValueError: no"]


class Quitter(Worker):
    @handles
    async def on_note(self, message: Note, ctx: AgentContext[Total]) -> None:
        ctx.stop()


class Permanent(Quitter):
    restart = "permanent"


async def test_an_agent_can_stop_itself_and_a_permanent_one_begins_anew() -> None:
    async with AgentManager(supervision=supervision()) as manager:
        await manager.register(Quitter("once"))
        await manager.register(Permanent("always"))
        await manager.tell("once", Note(text=""))
        await manager.tell("always", Note(text=""))
        await manager.settle()

        assert "once" not in manager.directory
        assert await manager.ask("always", Work()) == "1 of 1"
        assert Worker.log.count("start always") == 2


class Watcher(Agent):
    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.told: list[Terminated] = []

    @handles
    async def on_note(self, message: Note, ctx: AgentContext) -> None:
        (ctx.watch if ctx.message.priority == 0 else ctx.unwatch)(message.text)

    @handles
    async def on_end(self, message: Terminated) -> None:
        self.told.append(message)


async def test_a_watcher_is_told_of_the_end_and_not_of_a_restart() -> None:
    async with AgentManager(supervision=supervision()) as manager:
        watcher = Watcher("watcher")
        await manager.register(watcher)
        await manager.register(Worker("worker"))
        await manager.tell("watcher", Note(text="worker"))
        await manager.tell("watcher", Note(text="nobody"))
        await _result(manager.ask("worker", Work(fail=True)))
        await manager.settle()
        assert watcher.told == [Terminated(agent_id="nobody", reason="unknown")]

        await manager.unregister("worker")
        await manager.settle()

        assert watcher.told[1:] == [Terminated(agent_id="worker", reason="stopped")]


class Fragile(Worker):
    """Cannot start again after its first time."""

    starts: ClassVar[int] = 0
    good: ClassVar[frozenset[int]] = frozenset({1})

    async def on_start(self, ctx: AgentContext[Total]) -> None:
        type(self).starts += 1
        await super().on_start(ctx)
        if self.starts not in self.good:
            raise OSError("the disk is full")


async def test_an_agent_that_cannot_start_again_is_tried_again_and_then_escalated() -> None:
    Fragile.starts, Fragile.good = 0, frozenset({1, 3})
    async with AgentManager(supervision=supervision(max_restarts=3)) as manager:
        await manager.register(Fragile("worker"))
        await _result(manager.ask("worker", Work(fail=True)))
        assert await manager.ask("worker", Work()) == "1 of 1"
        assert Fragile.starts == 3

    Fragile.starts, Fragile.good = 0, frozenset({1})
    with pytest.raises(SupervisionFailed, match="OSError: the disk is full"):
        await _fail(AgentManager(supervision=supervision(max_restarts=3)), Fragile, times=1)
    assert Fragile.starts == 4


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_one_that_cannot_start_again_and_is_stopped_leaves_its_siblings_at_work(strategy: Any) -> None:
    Fragile.starts, Fragile.good = 0, frozenset({1})
    policy = Supervision(
        directives=((ValueError, "restart"), (OSError, "stop")), strategy=strategy, backoff=AT_ONCE, max_restarts=3
    )
    async with AgentManager(supervision=policy) as manager:
        await manager.register(Fragile("fragile"))
        await manager.register(Worker("sibling"))
        await _result(manager.ask("fragile", Work(fail=True)))

        assert await manager.ask("sibling", Work(), timeout=5) == "1 of 1"
        assert "fragile" not in manager.directory


async def test_a_group_whose_failure_goes_up_is_not_made_anew() -> None:
    Fragile.starts, Fragile.good = 0, frozenset({1})
    Worker.log.clear()
    policy = supervision(strategy="one_for_all", max_restarts=2)

    async def live() -> None:
        async with AgentManager(supervision=policy) as manager:
            await manager.register(Fragile("fragile"))
            await manager.register(Worker("sibling"))
            await _result(manager.ask("fragile", Work(fail=True)))
            await manager.settle()

    with pytest.raises(SupervisionFailed, match="OSError: the disk is full"):
        await live()

    assert Worker.log.count("start sibling") == 1


class Stubborn(Worker):
    """Swallows its cancellation."""

    @handles
    async def on_note(self, message: Note, ctx: AgentContext[Total]) -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                self.log.append("swallowed")
                if message.text == "ends":
                    await asyncio.sleep(60)
                    ctx.send("worker", Work())


async def test_a_turn_that_takes_longer_than_its_run_timeout_has_failed() -> None:
    async with AgentManager() as manager:
        await manager.register(Worker("worker"), timeouts=TimeoutPolicy(run_timeout=5))

        with pytest.raises(TurnError, match=r"TurnTimeout: agent 'worker' did not handle 'work' within 5 s"):
            await manager.ask("worker", Work(text="slow", seconds=6))

        assert await manager.ask("worker", Work(text="quick", seconds=4)) == "2 of 1"


async def test_a_timed_out_turn_is_retried_as_often_as_its_policy_says() -> None:
    async with AgentManager() as manager:
        await manager.register(
            Worker("worker"), timeouts=TimeoutPolicy(run_timeout=5), retry=RetryPolicy(max_attempts=3, backoff=AT_ONCE)
        )

        with pytest.raises(TurnError) as caught:
            await manager.ask("worker", Work(seconds=6))

        assert caught.value.attempts == 3


async def test_a_handler_that_swallows_its_cancellation_is_abandoned_and_its_agent_restarted() -> None:
    async with AgentManager(supervision=Supervision(backoff=AT_ONCE)) as manager:
        await manager.register(Stubborn("worker"), timeouts=TimeoutPolicy(run_timeout=5))
        await manager.tell("worker", Note(text="ends"))

        assert await manager.ask("worker", Work()) == "1 of 1"
        await asyncio.sleep(100)

        assert Worker.log == ["start worker", "swallowed", "stop worker", "start worker"]
        (letter,) = manager.dead_letters
        assert (letter.reason, letter.message.message_type) == (Reason.FAILED, "note")


class Late(Worker):
    """Ends long after its cancellation, and handles numbers meanwhile and after."""

    retry = RetryPolicy(max_attempts=1)
    at_work: ClassVar[int] = 0

    @handles
    async def on_note(self, message: Note) -> None:
        type(self).at_work += 1
        assert self.at_work == 1 or message.text == "next"
        try:
            await asyncio.sleep(100 if message.text == "hangs" else 1)
        except asyncio.CancelledError:
            await asyncio.sleep(6)
        type(self).at_work -= 1
        if message.text == "fails":
            raise ValueError


async def test_an_abandoned_handler_that_ends_later_takes_no_more_mail() -> None:
    Late.at_work = 0
    async with AgentManager(supervision=Supervision(backoff=AT_ONCE)) as manager:
        await manager.register(Late("worker"), timeouts=TimeoutPolicy(run_timeout=2))
        await manager.tell("worker", Note(text="hangs"))
        for _ in range(10):
            await manager.tell("worker", Note(text="fails"))
        await asyncio.sleep(100)

        assert [letter.reason for letter in manager.dead_letters] == [Reason.FAILED] * 11


async def test_a_run_timeout_does_not_count_the_wait_for_the_next_run() -> None:
    class Once(Agent):
        runs = 0

        @handles
        async def on_work(self, message: Work) -> str:
            Once.runs += 1
            if Once.runs == 1:
                raise OSError
            return "done"

    async with AgentManager() as manager:
        slow = RetryPolicy(backoff=Backoff(first=20, limit=20))
        await manager.register(Once("once"), timeouts=TimeoutPolicy(run_timeout=0.5), retry=slow)

        assert await manager.ask("once", Work(), timeout=60) == "done"


class SlowStart(Worker):
    async def on_start(self, ctx: AgentContext[Total]) -> None:
        await asyncio.sleep(5)
        await super().on_start(ctx)


async def test_no_turn_runs_between_the_hooks_of_a_restart() -> None:
    async with AgentManager(supervision=supervision(strategy="one_for_all")) as manager:
        await manager.register(Worker("a"))
        await manager.register(SlowStart("b"), timeouts=TimeoutPolicy(run_timeout=2))
        Worker.log.clear()
        interrupted = asyncio.ensure_future(_result(manager.ask("b", Work(text="in the middle", seconds=1))))
        await asyncio.sleep(0.5)
        queued = asyncio.ensure_future(_result(manager.ask("b", Work(text="queued", seconds=1))))
        await _result(manager.ask("a", Work(fail=True)))

        assert (await interrupted, await queued) == ("1 of 1", "2 of 2")
        assert Worker.log == ["stop b", "stop a", "start a", "start b"]


async def test_an_agent_that_was_ready_when_its_restart_began_waits_for_it() -> None:
    async with AgentManager(supervision=supervision(strategy="one_for_all")) as manager:
        for name in "abc":
            await manager.register(Worker(name))
        manager.tell_nowait("a", Work(fail=True))
        manager.tell_nowait("b", Work(seconds=1))
        manager.tell_nowait("c", Work(seconds=60))
        await manager.settle()

        assert await manager.ask("c", Work()) == "2 of 2"


class Clinging(Worker):
    """Does not let go in its hooks."""

    hook: ClassVar[str] = "stop"

    async def on_start(self, ctx: AgentContext[Total]) -> None:
        await super().on_start(ctx)
        if self.hook == "start" and self.log.count(f"start {self.id}") > 1:
            await self.cling()

    async def on_stop(self, ctx: AgentContext[Total]) -> None:
        await super().on_stop(ctx)
        if self.hook == "stop":
            await self.cling()

    async def cling(self) -> None:
        until = asyncio.get_running_loop().time() + 1000
        while (left := until - asyncio.get_running_loop().time()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                self.log.append("swallowed")


@pytest.mark.parametrize("hook", ["stop", "start"])
async def test_a_stop_does_not_wait_for_a_hook_that_swallows_its_cancellation(hook: str) -> None:
    Clinging.hook = hook
    manager = AgentManager(supervision=supervision())
    await manager.start()
    await manager.register(Clinging("worker"))
    if hook == "start":
        await _result(manager.ask("worker", Work(fail=True)))
        await asyncio.sleep(1)
    began = asyncio.get_running_loop().time()

    await manager.stop(timeout=1)

    assert asyncio.get_running_loop().time() - began < 30
    assert "swallowed" in Worker.log
    await asyncio.sleep(1100)  # the hook ends at last, and finds nothing to do any more


async def test_unregistering_in_the_middle_of_a_restart_runs_each_hook_once() -> None:
    async with AgentManager(supervision=supervision()) as manager:
        registering = asyncio.ensure_future(manager.register(SlowStart("worker")))
        await registering
        await _result(manager.ask("worker", Work(fail=True)))
        await asyncio.sleep(1)

        await manager.unregister("worker")
        await asyncio.sleep(60)

        assert Worker.log == ["start worker", "stop worker"]
        assert "worker" not in manager.directory


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_lowest", "drop_newest", "block"])
async def test_the_news_of_an_end_is_displaced_by_nothing(overflow: Any) -> None:
    class Busy(Watcher):
        @handles
        async def on_work(self, message: Work) -> None:
            await asyncio.sleep(10)

    async with AgentManager() as manager:
        busy = Busy("busy")
        await manager.register(busy, mailbox=MailboxPolicy(2, overflow=overflow))
        await manager.register(Worker("worker"))
        await manager.tell("busy", Note(text="worker"))
        await manager.settle()
        for _ in range(3):
            manager.tell_nowait("busy", Work()) if overflow != "block" else await manager.tell("busy", Work())
        await manager.unregister("worker")
        for _ in range(3):
            await manager.tell("busy", Work(), timeout=60)
        await manager.settle()

        assert busy.told == [Terminated(agent_id="worker", reason="stopped")]


async def test_an_agent_that_is_taken_out_twice_at_once_stops_once() -> None:
    async with AgentManager(supervision=supervision("stop")) as manager:
        await manager.register(Worker("worker"))
        failing = asyncio.ensure_future(_result(manager.ask("worker", Work(fail=True, seconds=1))))
        await asyncio.sleep(0.5)
        leaving = asyncio.ensure_future(manager.unregister("worker"))

        assert isinstance(await failing, TurnError)
        await leaving

        assert Worker.log == ["start worker", "stop worker"]


async def test_a_stop_during_a_restart_loses_nothing() -> None:
    manager = AgentManager(
        supervision=Supervision(directives=((ValueError, "restart"),), backoff=Backoff(first=1000, limit=1000))
    )
    await manager.start()
    await manager.register(Worker("a"))
    await manager.register(Worker("b"))
    await _result(manager.ask("a", Work(fail=True)))
    waiting = asyncio.ensure_future(_result(manager.ask("a", Work())))
    await asyncio.sleep(1)

    await manager.stop(drain=False)

    assert isinstance(await waiting, AgentStopped)
    assert [letter.reason for letter in manager.dead_letters] == [Reason.FAILED, Reason.STOPPED]
    assert manager.stats().open_asks == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_second_signal_does_not_wait_for_a_restart(number: signal.Signals) -> None:
    manager = AgentManager(
        supervision=Supervision(directives=((ValueError, "restart"),), backoff=Backoff(first=1000, limit=1000)),
        seed=1,  # the pause is drawn, and could be over before the second signal
    )
    await manager.start()
    await manager.register(Worker("a"))
    await _result(manager.ask("a", Work(fail=True)))
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(manager.run_until_stopped())
    await asyncio.sleep(1)
    begun = loop.time()

    signal.raise_signal(number)
    await asyncio.sleep(1)
    assert not running.done()
    signal.raise_signal(number)
    await running

    assert loop.time() - begun < 2
    assert Worker.log == ["start a", "stop a"]


async def _fail(manager: AgentManager, worker: type[Worker], times: int) -> None:
    """Let the worker of a new manager fail, then ask it something."""
    async with manager:
        await manager.register(worker("worker"))
        for _ in range(times):
            await _result(manager.ask("worker", Work(text="boom", fail=True)))
        await manager.ask("worker", Work())


async def _result(ask: Any) -> Any:
    """The answer, or the error in its place."""
    return (await asyncio.gather(ask, return_exceptions=True))[0]


async def test_an_answer_to_what_its_on_start_sent_does_not_keep_a_restarting_agent_spinning() -> None:
    handled: list[Any] = []

    class Greeter(Agent):
        async def on_start(self, ctx: AgentContext) -> None:
            ctx.send("echo", Note(text="hello"))

        @handles
        async def on_note(self, message: Note, ctx: AgentContext) -> None:
            handled.append(message.text)
            await asyncio.sleep(0.1)
            if len(handled) == 1:
                ctx.progress("echo", Note(text="about to fail"))
                raise ValueError("once")

    class Echo(Agent):
        @handles
        async def on_note(self, message: Note, ctx: AgentContext) -> None:
            if len(handled) < 4:
                ctx.send("greeter", Note(text=f"back {message.text}"))

    async with AgentManager(supervision=supervision(max_restarts=9)) as manager:
        await manager.register(Echo("echo"))
        await manager.register(Greeter("greeter"))
        await asyncio.sleep(3)

    assert handled[:2] == ["back hello", "back about to fail"]
    assert "back hello" in handled[2:]
