"""Agents begin and end once and in order, whatever happens meanwhile, and nobody who waits for it is left waiting."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    AgentMessage,
    AgentStopped,
    AskTimeout,
    Backoff,
    DeliveryError,
    MailboxFull,
    MailboxPolicy,
    ManagerStopped,
    Payload,
    Reason,
    Request,
    RetryPolicy,
    TurnError,
    UnknownAgent,
    handles,
)


class Ping(Request[str]):
    seconds: float = 0.0


class Note(Payload):
    text: str


class Resident(Agent):
    """Says when it starts and stops; can take its time for either."""

    def __init__(self, agent_id: str, events: list[str], *, start: float = 0, stop: float = 0) -> None:
        super().__init__(agent_id)
        self.events = events
        self.start_seconds = start
        self.stop_seconds = stop

    async def on_start(self, ctx: AgentContext) -> None:
        self.events.append(f"{self.id} starts")
        await asyncio.sleep(self.start_seconds)
        self.events.append(f"{self.id} started")

    async def on_stop(self, ctx: AgentContext) -> None:
        await asyncio.sleep(self.stop_seconds)
        self.events.append(f"{self.id} stopped")

    @handles
    async def on_ping(self, message: Ping) -> str:
        await asyncio.sleep(message.seconds)
        self.events.append(f"{self.id} pong")
        return self.id

    @handles
    def on_note(self, message: Note) -> None:
        self.events.append(message.text)


class Refusing(Resident):
    """Fails to stop."""

    async def on_stop(self, ctx: AgentContext) -> None:
        raise ValueError("cannot stop")


async def outcome(awaitable: Any) -> Any:
    """What comes of it, as a value."""
    results = await asyncio.gather(awaitable, return_exceptions=True)
    return results[0]


def begin(awaitable: Any) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(outcome(awaitable))


# starting


async def test_an_agent_of_several_turns_at_once_handles_nothing_before_it_has_started() -> None:
    class Wide(Resident):
        concurrency = 5

    events: list[str] = []
    async with AgentManager() as manager:
        registering = begin(manager.register(Wide("wide", events, start=5)))
        await asyncio.sleep(1)
        asks = [begin(manager.ask("wide", Ping(seconds=1))) for _ in range(5)]
        await asyncio.gather(registering, *asks)
        events_then = list(events)
        assert asyncio.get_running_loop().time() == pytest.approx(6)

    assert events_then == ["wide starts", "wide started", *["wide pong"] * 5]


@pytest.mark.parametrize("drain", [True, False])
async def test_a_stop_while_agents_start_ends_the_start_and_stops_what_has_started(drain: bool) -> None:
    events: list[str] = []
    manager = AgentManager()
    for name in "abc":
        await manager.register(Resident(name, events, start=2))
    starting = begin(manager.start())
    await asyncio.sleep(1)

    await manager.stop(drain=drain)

    assert await starting is None if drain else isinstance(await starting, DeliveryError)
    assert [event[0] for event in events if event.endswith("started")] == sorted(
        event[0] for event in events if event.endswith("stopped")
    )
    assert not len(manager.directory)


@pytest.mark.parametrize("passes", range(4))
async def test_a_registration_under_way_ends_when_the_manager_stops(passes: int) -> None:
    manager = AgentManager()
    await manager.start()
    registering = begin(manager.register(Resident("a", [], start=100)))
    for _ in range(passes):
        await asyncio.sleep(0)

    await manager.stop(drain=False)

    assert isinstance(await registering, DeliveryError)


async def test_an_agent_that_is_unregistered_before_it_could_start_never_starts() -> None:
    events: list[str] = []
    async with AgentManager() as manager:
        registering = begin(manager.register(Resident("a", events)))
        for _ in range(2):  # it is in the directory, and nothing of it has run
            await asyncio.sleep(0)
        assert "a" in manager.directory
        await manager.unregister("a")

        assert isinstance(await registering, AgentStopped)
        await manager.settle()
        assert events == []


async def test_an_agent_that_is_unregistered_while_it_starts_starts_first_and_stops_then() -> None:
    events: list[str] = []
    async with AgentManager() as manager:
        registering = begin(manager.register(Resident("a", events, start=3)))
        await asyncio.sleep(1)

        await manager.unregister("a")

        assert await registering == "a"
        assert events == ["a starts", "a started", "a stopped"]


async def test_a_start_that_fails_stops_what_has_started() -> None:
    class Broken(Agent):
        async def on_start(self, ctx: AgentContext) -> None:
            raise ValueError("cannot start")

        @handles
        def on_note(self, message: Note) -> None: ...

    events: list[str] = []
    manager = AgentManager()
    await manager.register(Resident("a", events))
    await manager.register(Broken("b"))
    await manager.register(Resident("c", events))

    with pytest.raises(ValueError, match="cannot start"):
        await manager.start()

    assert events == ["a starts", "a started", "a stopped"]
    with pytest.raises(ManagerStopped):
        await manager.tell("a", Note("x"))


async def test_a_failed_start_takes_out_only_itself() -> None:
    class Broken(Resident):
        async def on_start(self, ctx: AgentContext) -> None:
            await asyncio.sleep(5)
            raise ValueError("cannot start")

    events: list[str] = []
    async with AgentManager() as manager:
        registering = begin(manager.register(Broken("a", [])))
        await asyncio.sleep(1)
        leaving = begin(manager.unregister("a"))
        await asyncio.sleep(1)
        await manager.register(Resident("a", events))
        await asyncio.gather(registering, leaving)

        assert await manager.ask("a", Ping()) == "a"


async def test_a_registration_that_is_cancelled_leaves_no_agent() -> None:
    events: list[str] = []
    async with AgentManager() as manager:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(manager.register(Resident("a", events, start=5)), 1)

        assert "a" not in manager.directory
    assert events == ["a starts"]


async def test_hooks_may_be_plain_functions() -> None:
    events: list[str] = []

    class Plain(Agent):
        def on_start(self, ctx: AgentContext) -> None:  # type: ignore[override]
            events.append("starts")

        def on_stop(self, ctx: AgentContext) -> None:  # type: ignore[override]
            events.append("stops")

        @handles
        def on_note(self, message: Note) -> None: ...

    async with AgentManager() as manager:
        await manager.register(Plain("plain"))

    assert events == ["starts", "stops"]


# stopping


async def test_an_agent_that_fails_to_stop_leaves_no_mail_behind() -> None:
    async with AgentManager() as manager:
        await manager.register(Refusing("a", []))
        await manager.tell("a", Ping(seconds=5))
        asking = begin(manager.ask("a", Ping(), timeout=1000))
        await manager.tell("a", Note("left"))
        await asyncio.sleep(1)

        with pytest.raises(ValueError, match="cannot stop"):
            await manager.unregister("a")

        assert isinstance(await asking, AgentStopped)
        assert asyncio.get_running_loop().time() < 10
        assert manager.dead_letters.counts == {Reason.STOPPED: 2}


async def test_an_agent_stops_once_though_several_unregister_it() -> None:
    class Parent(Resident):
        @handles(Note)
        async def on_spawn(self, message: Note, ctx: AgentContext) -> None:
            await ctx.spawn(Resident("child", self.events, stop=2))

    events: list[str] = []
    async with AgentManager() as manager:
        await manager.register(Parent("parent", events))
        await manager.tell("parent", Note("spawn"))
        await manager.settle()
        first = begin(manager.unregister("parent"))
        await asyncio.sleep(1)
        second = begin(manager.unregister("parent"))
        assert await first is None
        assert isinstance(await second, UnknownAgent)

    assert events.count("parent stopped") == 1


async def test_a_child_cannot_unregister_its_parent_and_the_parent_goes_on() -> None:
    class Child(Agent):
        @handles
        async def on_ping(self, message: Ping) -> str:
            with pytest.raises(RuntimeError, match="let another do it"):
                await manager.unregister("parent")
            return "asked"

    class Parent(Resident):
        @handles(Note)
        async def on_spawn(self, message: Note, ctx: AgentContext) -> None:
            await ctx.spawn(Child("child"))

    async with AgentManager() as manager:
        await manager.register(Parent("parent", []))
        await manager.tell("parent", Note("spawn"))
        await manager.settle()

        assert await manager.ask("child", Ping()) == "asked"
        assert await manager.ask("parent", Ping()) == "parent"


async def test_an_agent_cannot_stop_its_manager_in_its_own_turn() -> None:
    class Weary(Agent):
        @handles
        async def on_ping(self, message: Ping) -> str:
            with pytest.raises(RuntimeError, match="inside its own turn"):
                await manager.stop()
            return "goes on"

    async with AgentManager() as manager:
        await manager.register(Weary("weary"))

        assert await manager.ask("weary", Ping()) == "goes on"
        assert await manager.ask("weary", Ping()) == "goes on"


async def test_a_stop_that_is_cancelled_goes_on_and_can_be_waited_for_again() -> None:
    events: list[str] = []
    manager = AgentManager()
    await manager.register(Resident("a", events))
    await manager.start()
    asking = begin(manager.ask("a", Ping(seconds=500), timeout=900))
    await asyncio.sleep(1)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(manager.stop(timeout=10), 2)
    await manager.stop()

    assert isinstance(await asking, DeliveryError)
    assert events == ["a starts", "a started", "a stopped"]


@pytest.mark.parametrize("drain", [True, False])
async def test_a_hook_that_does_not_end_does_not_hold_up_the_stop_of_the_others(drain: bool) -> None:
    events: list[str] = []
    manager = AgentManager()
    await manager.register(Resident("a", events))
    await manager.register(Resident("b", events, stop=100_000))
    await manager.start()

    await manager.stop(drain=drain, timeout=10)

    assert asyncio.get_running_loop().time() < 60
    assert "a stopped" in events


async def test_a_turn_that_begins_during_the_stop_and_does_not_end_is_cancelled() -> None:
    class Farewell(Resident):
        async def on_stop(self, ctx: AgentContext) -> None:
            ctx.send("a", Ping(seconds=100_000))

    events: list[str] = []
    manager = AgentManager()
    await manager.register(Resident("a", events))
    await manager.register(Resident("pause", events, stop=1))
    await manager.register(Farewell("b", events))
    await manager.start()

    await manager.stop(timeout=10)

    assert asyncio.get_running_loop().time() < 60
    assert manager.dead_letters.counts == {Reason.STOPPED: 1}


async def test_an_ask_made_in_on_stop_ends_when_nobody_is_left_to_answer() -> None:
    class Asking(Resident):
        async def on_stop(self, ctx: AgentContext) -> None:
            await ctx.ask("a", Ping(), timeout=10_000)

    manager = AgentManager()
    await manager.register(Resident("a", []))
    await manager.register(Asking("b", []))
    await manager.start()

    await manager.stop(drain=False)

    assert asyncio.get_running_loop().time() < 60


async def test_what_comes_while_the_agents_stop_is_refused_or_accounted_for() -> None:
    events: list[str] = []
    manager = AgentManager()
    await manager.register(Resident("a", events, stop=1))
    await manager.register(Resident("b", events, stop=3))
    await manager.start()
    stopping = begin(manager.stop())
    await asyncio.sleep(2)

    told = await outcome(manager.tell("a", Note("late")))
    registered = await outcome(manager.register(Resident("c", events)))
    await stopping

    assert told is None or isinstance(told, DeliveryError)
    assert (told is None) == ("late" in events or len(manager.dead_letters) == 1)
    assert isinstance(registered, ManagerStopped)
    assert not len(manager.directory)


async def test_a_message_that_waits_for_its_next_run_when_the_manager_stops_is_a_dead_letter() -> None:
    class Failing(Agent):
        retry = RetryPolicy(backoff=Backoff(first=1000, limit=1000))

        @handles
        def on_ping(self, message: Ping) -> str:
            raise OSError("again")

    manager = AgentManager(seed=1)
    await manager.register(Failing("failing"))
    await manager.start()
    asking = begin(manager.ask("failing", Ping(), timeout=9999))
    await asyncio.sleep(1)

    await manager.stop(drain=False)

    assert isinstance(await asking, AgentStopped)
    assert manager.dead_letters.counts == {Reason.STOPPED: 1}


async def test_an_asker_can_cancel_a_turn_that_waits_for_its_next_run() -> None:
    class Failing(Agent):
        cancel_with_asker = True
        retry = RetryPolicy(backoff=Backoff(first=1000, limit=1000))

        @handles
        def on_ping(self, message: Ping) -> str:
            if message.seconds:
                raise OSError("again")
            return "well"

    async with AgentManager(seed=1) as manager:
        await manager.register(Failing("failing"))
        with pytest.raises(AskTimeout):
            await manager.ask("failing", Ping(seconds=1), timeout=2)

        assert await manager.ask("failing", Ping(), timeout=2) == "well"
        assert manager.dead_letters.counts == {Reason.CANCELLED: 1}


async def test_a_handler_that_swallows_its_cancellation_handles_nothing_more_when_the_manager_stops() -> None:
    class Swallowing(Agent):
        turns = 0

        @handles
        async def on_ping(self, message: Ping) -> None:
            self.turns += 1
            try:
                await asyncio.sleep(message.seconds)
            except asyncio.CancelledError:
                pass

    agent = Swallowing("a")
    manager = AgentManager()
    await manager.register(agent)
    await manager.start()
    for _ in range(3):
        await manager.tell("a", Ping(seconds=1000))
    await asyncio.sleep(1)

    await manager.stop(drain=False)

    assert agent.turns == 1
    assert asyncio.get_running_loop().time() < 2
    assert manager.dead_letters.counts == {Reason.STOPPED: 2}


# the last turn of an agent that is being unregistered


async def test_the_last_turn_of_an_agent_and_its_on_stop_can_do_what_others_can() -> None:
    class Leaving(Resident):
        @handles(Ping)
        async def on_leave(self, message: Ping, ctx: AgentContext) -> str:
            await asyncio.sleep(5)
            ctx.progress("listener", Note("progress"))
            ctx.send("listener", Note("sent"))
            return "done"

        async def on_stop(self, ctx: AgentContext) -> None:
            ctx.progress("listener", Note("progress of the end"))
            ctx.send("listener", Note("sent at the end"))

    events: list[str] = []
    async with AgentManager() as manager:
        await manager.register(Resident("listener", events))
        await manager.register(Leaving("leaving", []))
        asking = begin(manager.ask("leaving", Ping()))
        await asyncio.sleep(1)

        await manager.unregister("leaving")
        await manager.settle()

        assert await asking == "done"
        assert events[2:] == ["progress", "sent", "progress of the end", "sent at the end"]


async def test_an_agent_that_is_stopping_spawns_nobody() -> None:
    class Leaving(Resident):
        @handles(Ping)
        async def on_leave(self, message: Ping, ctx: AgentContext) -> str:
            await asyncio.sleep(5)
            with pytest.raises(AgentStopped):
                await ctx.spawn(Resident("child", []))
            return "done"

    async with AgentManager() as manager:
        await manager.register(Leaving("leaving", []))
        asking = begin(manager.ask("leaving", Ping()))
        await asyncio.sleep(1)

        await manager.unregister("leaving")

        assert await asking == "done"
        assert not len(manager.directory)


# children


class Spawner(Agent):
    cancel_with_asker = True
    retry = RetryPolicy(max_attempts=1)

    def __init__(self, agent_id: str, child: Agent) -> None:
        super().__init__(agent_id)
        self.child = child

    @handles
    async def on_ping(self, message: Ping, ctx: AgentContext) -> str:
        await ctx.spawn(self.child)
        raise ValueError("on purpose")


async def test_a_child_that_is_starting_when_its_turn_is_cancelled_is_stopped() -> None:
    events: list[str] = []
    async with AgentManager() as manager:
        await manager.register(Spawner("parent", Resident("child", events, start=5)))
        with pytest.raises(AskTimeout):
            await manager.ask("parent", Ping(), timeout=1)
        await manager.settle()

        assert "child" not in manager.directory
    assert events == ["child starts"]


async def test_a_child_that_fails_to_stop_does_not_keep_its_turn_from_ending() -> None:
    async with AgentManager() as manager:
        await manager.register(Spawner("parent", Refusing("child", [])))

        with pytest.raises(TurnError, match="on purpose"):
            await manager.ask("parent", Ping())

        assert manager.dead_letters.counts == {Reason.FAILED: 1}
        assert "child" not in manager.directory


async def test_a_child_of_a_taken_id_is_refused_and_the_agent_who_has_it_stays() -> None:
    events: list[str] = []
    async with AgentManager() as manager:
        await manager.register(Resident("child", events))
        await manager.register(Spawner("parent", Resident("child", [])))

        with pytest.raises(TurnError, match="registered already"):
            await manager.ask("parent", Ping())

        assert await manager.ask("child", Ping()) == "child"


async def test_a_child_that_cannot_start_is_forgotten_by_its_parent() -> None:
    class Broken(Resident):
        async def on_start(self, ctx: AgentContext) -> None:
            raise ValueError("cannot start")

    class Patient(Resident):
        @handles(Note)
        async def on_spawn(self, message: Note, ctx: AgentContext) -> None:
            with pytest.raises(ValueError, match="cannot start"):
                await ctx.spawn(Broken("child", []))

    async with AgentManager() as manager:
        await manager.register(Patient("parent", []))
        await manager.tell("parent", Note("spawn"))
        await manager.settle()

        assert not manager.directory.cells["parent"].children
        assert not manager.dead_letters


async def test_a_stop_from_elsewhere_ends_run_until_stopped() -> None:
    manager = AgentManager()
    await manager.start()
    running = asyncio.ensure_future(manager.run_until_stopped())
    await asyncio.sleep(1)

    await manager.stop()
    await asyncio.wait_for(running, 5)


async def test_what_is_scheduled_for_after_the_stop_becomes_a_dead_letter() -> None:
    class Later(Payload):
        pass

    class Planner(Agent):
        @handles
        def on_later(self, message: Later, ctx: AgentContext) -> None:
            ctx.schedule(100, message)

    async with AgentManager() as manager:
        await manager.register(Planner("planner"))
        await manager.tell("planner", Later())

    assert manager.dead_letters.counts == {Reason.STOPPED: 1}


async def test_the_asker_of_a_forwarded_request_that_finds_no_room_is_told() -> None:
    class Question(Request[int]):
        seconds: float = 0.0

    class Desk(Agent):
        @handles
        def on_question(self, message: Question, ctx: AgentContext) -> None:
            ctx.forward("expert")

    class Expert(Agent):
        @handles
        async def on_question(self, message: Question) -> int:
            await asyncio.sleep(message.seconds)
            return 1

    async with AgentManager() as manager:
        await manager.register(Desk("desk"))
        await manager.register(Expert("expert"), mailbox=MailboxPolicy(capacity=1, overflow="fail"))
        await manager.tell("expert", Question(seconds=50))
        await asyncio.sleep(1)
        await manager.tell("expert", Question())

        with pytest.raises(MailboxFull, match=r"'expert' is full \(1 messages\)"):
            await manager.ask("desk", Question(), timeout=1000)


async def test_waiting_for_room_needs_an_end_and_a_refused_wait_delivers_nothing() -> None:
    handled: list[str] = []

    class Full(Agent):
        mailbox = MailboxPolicy(capacity=1)

        async def handle_message(self, message: AgentMessage, ctx: AgentContext) -> None:
            handled.append(message.message_type)
            await asyncio.sleep(50)

    async with AgentManager() as manager:
        await manager.register(Full("full"))
        for kind in ("first", "second"):
            await manager.tell("full", {}, message_type=kind)
            await asyncio.sleep(1)

        for endless in (float("inf"), float("nan")):
            with pytest.raises(ValueError, match="and an end"):
                await manager.tell("full", {}, message_type="third", timeout=endless)
        await manager.settle()

    assert handled == ["first", "second"]
