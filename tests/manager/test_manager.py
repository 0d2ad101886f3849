"""The manager starts, carries, stops: no future is stranded, no message vanishes, and misuse is told what to do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    AgentMessage,
    AgentStopped,
    DeadLetter,
    DuplicateAgent,
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
from moot.messaging.dedup import SeenIds


class Ping(Request[str]):
    seconds: float = 0.0


class Note(Payload):
    text: str


class Echo(Agent):
    capabilities = ("echo",)
    events: list[str]

    def __init__(self, agent_id: str, events: list[str] | None = None, *, fail_start: bool = False) -> None:
        super().__init__(agent_id)
        self.events = events if events is not None else []
        self.fail_start = fail_start

    async def on_start(self, ctx: AgentContext) -> None:
        self.events.append(f"{self.id} starts")
        if self.fail_start:
            raise ValueError("cannot start")

    async def on_stop(self, ctx: AgentContext) -> None:
        self.events.append(f"{self.id} stops")

    @handles
    async def on_ping(self, message: Ping) -> str:
        await asyncio.sleep(message.seconds)
        self.events.append(f"{self.id} pong")
        return self.id

    @handles
    def on_note(self, message: Note) -> None:
        self.events.append(message.text)


async def test_agents_registered_before_the_start_begin_with_it_in_order_and_stop_in_reverse() -> None:
    events: list[str] = []
    manager = AgentManager()
    for name in "abc":
        await manager.register(Echo(name, events))
    assert events == []

    async with manager:
        assert events == ["a starts", "b starts", "c starts"]

    assert events[3:] == ["c stops", "b stops", "a stops"]


async def test_stop_drains_what_was_accepted() -> None:
    events: list[str] = []
    manager = AgentManager()
    await manager.register(Echo("echo", events))
    await manager.start()
    for number in range(5):
        await manager.tell("echo", Ping(seconds=1))
        await manager.tell("echo", Note(str(number)))

    await manager.stop()

    assert [event for event in events if event.isdigit()] == list("01234")
    assert not manager.dead_letters


async def test_a_stop_that_does_not_drain_cancels_and_strands_no_future() -> None:
    manager = AgentManager()
    await manager.register(Echo("echo"), mailbox=MailboxPolicy(capacity=1))
    await manager.start()
    asks = [asyncio.ensure_future(_await(manager.ask("echo", Ping(seconds=99), timeout=999))) for _ in range(3)]
    tells = [asyncio.ensure_future(manager.tell("echo", Note("x"), timeout=999)) for _ in range(3)]
    settling = asyncio.ensure_future(manager.settle())
    await asyncio.sleep(1)

    await manager.stop(drain=False)

    for outcome in await asyncio.gather(*asks, *tells, return_exceptions=True):
        assert isinstance(outcome, AgentStopped | ManagerStopped)
    await settling
    assert len(manager.dead_letters) == 6
    assert manager.stats().open_asks == 0


async def test_a_drain_that_takes_too_long_gives_up_after_its_timeout() -> None:
    manager = AgentManager()
    await manager.register(Echo("echo"))
    await manager.start()
    asking = asyncio.ensure_future(_await(manager.ask("echo", Ping(seconds=500), timeout=999)))
    await asyncio.sleep(1)
    began = asyncio.get_running_loop().time()

    await manager.stop(timeout=3)

    assert asyncio.get_running_loop().time() - began < 10
    with pytest.raises((AgentStopped, ManagerStopped)):
        await asking


async def test_a_handler_that_swallows_its_cancellation_does_not_hold_up_the_stop() -> None:
    released = False

    class Immortal(Agent):
        @handles
        async def on_ping(self, message: Ping) -> None:
            while not released:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(1000)

    manager = AgentManager()
    await manager.register(Immortal("immortal"))
    await manager.start()
    await manager.tell("immortal", Ping())
    await asyncio.sleep(1)
    began = asyncio.get_running_loop().time()

    await manager.stop(drain=False)

    assert asyncio.get_running_loop().time() - began < 20
    assert manager.stats().open_asks == 0
    released = True


async def test_stopping_twice_or_before_the_start_is_harmless_and_a_manager_runs_once() -> None:
    manager = AgentManager()
    await manager.stop()
    await manager.start()
    await asyncio.gather(manager.stop(), manager.stop())
    await manager.stop()

    with pytest.raises(RuntimeError, match="runs once"):
        await manager.start()


async def test_what_needs_a_running_manager_says_so() -> None:
    manager = AgentManager()
    await manager.register(Echo("echo"))
    calls: list[Callable[[], Any]] = [
        lambda: manager.tell("echo", Note("x")),
        lambda: manager.publish("news", Note("x")),
        lambda: manager.settle(),
        lambda: manager.unregister("echo"),
        lambda: manager.get_message_sender()(AgentMessage("me", "echo", {}, "note")),
    ]
    for call in calls:
        with pytest.raises(ManagerStopped, match="start"):
            await call()
    with pytest.raises(ManagerStopped):
        manager.tell_nowait("echo", Note("x"))


async def test_an_agent_that_cannot_start_is_not_registered() -> None:
    async with AgentManager() as manager:
        with pytest.raises(ValueError, match="cannot start"):
            await manager.register(Echo("bad", fail_start=True))

        assert "bad" not in manager.directory
        await manager.register(Echo("bad"))


async def test_ids_are_unique_and_an_id_is_free_again_after_its_agent_was_unregistered() -> None:
    async with AgentManager() as manager:
        await manager.register(Echo("echo"))
        with pytest.raises(DuplicateAgent, match="'echo' is registered already"):
            await manager.register(Echo("echo"))
        await manager.unregister("echo")
        with pytest.raises(UnknownAgent):
            await manager.unregister("echo")
        await manager.register(Echo("echo"))

        assert await manager.ask("echo", Ping()) == "echo"


async def test_what_is_no_agent_is_refused() -> None:
    async with AgentManager() as manager:
        for thing in (42, "echo", object(), None, int):
            with pytest.raises(TypeError, match="agent"):
                await manager.register(thing)  # type: ignore[call-overload]
        with pytest.raises(ValueError, match="at least 1"):
            await manager.register(Echo, count=0)
    for url in ("", "memory", "postgres://x", "memory://x"):
        with pytest.raises(ValueError, match="memory://"):
            AgentManager(url)


async def test_a_class_is_registered_in_numbers_and_functions_are_agents() -> None:
    class Upper(Request[str]):
        text: str

    async def upper(message: Upper) -> str:
        return message.text.upper()

    def everything(message: AgentMessage, ctx: AgentContext) -> str:
        return f"{ctx.agent_id} got {message.message_type}"

    async with AgentManager() as manager:
        assert await manager.register(Echo, count=2) == ["echo_1", "echo_2"]
        assert await manager.register(upper) == "upper"
        assert await manager.register(everything) == "everything"

        assert await manager.ask("upper", Upper("abc")) == "ABC"
        assert await manager.ask("everything", {}, message_type="anything") == "everything got anything"


async def test_a_hosted_agent_is_made_when_it_is_first_addressed() -> None:
    made: list[str] = []

    def make(agent_id: str) -> Echo:
        made.append(agent_id)
        return Echo(agent_id)

    async with AgentManager() as manager:
        manager.host(make, domain="room")
        assert made == []

        assert await manager.ask("room/kitchen", Ping()) == "room/kitchen"
        assert await manager.ask("room/kitchen", Ping()) == "room/kitchen"
        await manager.tell("room/attic", Note("hi"))
        await manager.settle()

        assert made == ["room/kitchen", "room/attic"]
        with pytest.raises(UnknownAgent):
            await manager.ask("room/", Ping())
        with pytest.raises(ValueError, match="hosted already"):
            manager.host(make, domain="room")


async def test_a_hosted_agent_that_cannot_start_makes_dead_letters_and_answers_its_asker() -> None:
    async with AgentManager() as manager:
        manager.host(lambda agent_id: Echo(agent_id, fail_start=True), domain="room")

        with pytest.raises(AgentStopped):
            await manager.ask("room/attic", Ping())

        assert manager.dead_letters.counts[Reason.STOPPED] == 1
        assert "room/attic" not in manager.directory


async def test_tell_waits_for_room_up_to_its_timeout_and_tell_nowait_does_not_wait() -> None:
    async with AgentManager() as manager:
        events: list[str] = []
        await manager.register(Echo("echo", events), mailbox=MailboxPolicy(capacity=1))
        await manager.tell("echo", Ping(seconds=10))
        await asyncio.sleep(1)
        await manager.tell("echo", Note("first"))
        with pytest.raises(MailboxFull, match="try again in about"):
            manager.tell_nowait("echo", Note("refused"))
        with pytest.raises(MailboxFull):
            await manager.tell("echo", Note("late"), timeout=2)
        cancelled = asyncio.ensure_future(manager.tell("echo", Note("cancelled")))
        await asyncio.sleep(1)
        cancelled.cancel()
        await manager.tell("echo", Note("second"), timeout=20)
        await manager.settle()

        assert events == ["echo starts", "echo pong", "first", "second"]


async def test_an_agent_cannot_unregister_itself_in_its_own_turn() -> None:
    class Lemming(Agent):
        @handles
        async def on_ping(self, message: Ping) -> str:
            with pytest.raises(RuntimeError, match="let another do it"):
                await manager.unregister(self.id)
            return "still here"

    async with AgentManager() as manager:
        await manager.register(Lemming("lemming"))

        assert await manager.ask("lemming", Ping()) == "still here"


async def test_children_stop_with_their_parent_and_before_it() -> None:
    events: list[str] = []

    class Parent(Echo):
        @handles(Note)
        async def on_spawn(self, message: Note, ctx: AgentContext) -> None:
            await ctx.spawn(Parent(message.text, events))

    async with AgentManager() as manager:
        await manager.register(Parent("a", events))
        await manager.tell("a", Note("a/b"))
        await manager.settle()
        await manager.tell("a/b", Note("a/b/c"))
        await manager.settle()

        await manager.unregister("a")

        assert events[-3:] == ["a/b/c stops", "a/b stops", "a stops"]
        assert len(manager.directory) == 0


async def test_a_turn_finds_whom_an_address_means_itself_too_and_ids_once() -> None:
    class Finder(Agent):
        capabilities = ("echo",)

        @handles
        async def find(self, message: Note, ctx: AgentContext) -> None:
            wanted: list[Any] = ["capability:echo", ["capability:echo"], "capability:none", "a", ["a", "b", "a"], []]
            found.extend(ctx.find(to) for to in wanted)

    found: list[list[str]] = []
    async with AgentManager() as manager:
        await manager.register(Echo("a"))
        await manager.register(Finder("b"))
        await manager.tell("b", Note("?"))
        await manager.settle()

    assert found == [["a", "b"], ["a", "b"], [], ["a"], ["a", "b"], []]


async def test_capabilities_are_answered_by_the_shortest_mailbox_and_in_turn_among_equals() -> None:
    async with AgentManager() as manager:
        for name in "abc":
            await manager.register(Echo(name))
        assert manager.find("echo") == ["a", "b", "c"]

        answers = [await manager.ask("capability:echo", Ping()) for _ in range(6)]
        assert sorted(answers) == ["a", "a", "b", "b", "c", "c"]

        for busy in ("a", "c"):
            for _ in range(3):
                await manager.tell(busy, Ping(seconds=1))
        assert await manager.ask("capability:echo", Ping()) == "b"


async def test_publishing_reaches_all_subscribers_and_never_waits() -> None:
    class Reader(Echo):
        topics = ("news",)

    async with AgentManager() as manager:
        events: list[str] = []
        await manager.register(Reader("quick", events))
        await manager.register(Reader("slow", events), mailbox=MailboxPolicy(capacity=1))
        await manager.tell("slow", Ping(seconds=5))
        await asyncio.sleep(1)

        assert await manager.publish("news", Note("one")) == 2
        assert await manager.publish("news", Note("two")) == 1
        assert await manager.publish("weather", Note("nobody")) == 0
        await manager.settle()

        assert events.count("one") == 2
        assert events.count("two") == 1
        assert manager.dead_letters.counts == {Reason.OVERFLOW: 1}


async def test_messages_to_unknown_and_stopped_agents_are_dead_letters_and_can_be_sent_again() -> None:
    class Sender(Agent):
        @handles
        def on_note(self, message: Note, ctx: AgentContext) -> None:
            ctx.send("nobody", Note(message.text))

    async with AgentManager() as manager:
        await manager.register(Sender("sender"))
        await manager.tell("sender", Note("lost"))
        await manager.settle()
        (letter,) = manager.dead_letters.list(Reason.UNKNOWN_AGENT)
        with pytest.raises(UnknownAgent):
            await manager.requeue(letter.id)
        assert len(manager.dead_letters) == 1

        events: list[str] = []
        await manager.register(Echo("nobody", events))
        sent = await manager.requeue(letter.id)
        await manager.settle()

        assert events[-1] == "lost"
        assert sent != letter.message.id
        assert not manager.dead_letters
        with pytest.raises(KeyError):
            await manager.requeue(letter.id)


def test_a_dead_letter_that_is_sent_again_stays_in_its_conversation_whatever_run_numbers_it() -> None:
    old = AgentMessage("a", "b", Note("lost"), "note", sequence=9, incarnation="run1", conversation=4)
    letter = DeadLetter(id=1, message=old, reason=Reason.FAILED, error="", attempts=1, at=0.0)

    again = msgspec.structs.replace(letter.again(), sequence=2, incarnation="run2")

    assert again.conversation_id == old.conversation_id == "run1-4"
    assert again.causation == "run1-9"


async def test_the_message_sender_delivers_whole_envelopes() -> None:
    seen: list[AgentMessage] = []

    def keep(message: AgentMessage) -> None:
        seen.append(message)

    async with AgentManager() as manager:
        await manager.register(keep)
        sender = manager.get_message_sender("user")
        await sender(AgentMessage("user", "keep", {"a": 1}, "thing", priority=3, idempotency_key="mine"))
        await sender.send("keep", {"b": 2}, message_type="thing")
        with pytest.raises(TypeError, match="AgentMessage"):
            await sender({"from": "user"})  # type: ignore[arg-type]
        with pytest.raises(UnknownAgent):
            await sender(AgentMessage("user", "kep", {}, "thing"))
        await manager.settle()

    assert [(m.sender, m.content, m.message_type) for m in seen] == [
        ("user", {"a": 1}, "thing"),
        ("user", {"b": 2}, "thing"),
    ]
    assert (seen[0].id, seen[0].priority) == ("mine", 3)


async def test_of_messages_with_one_given_id_only_the_first_is_handled() -> None:
    events: list[str] = []
    async with AgentManager() as manager:
        await manager.register(Echo("echo", events), mailbox=MailboxPolicy(capacity=1))
        for text in ("first", "again"):
            await manager.tell("echo", Note(text), message_id="order-1")
        await manager.tell("echo", Note("other"), message_id="order-2")
        await manager.settle()
        assert events[1:] == ["first", "other"]

        await manager.tell("echo", Ping(seconds=10))
        await asyncio.sleep(1)
        await manager.tell("echo", Note("fills"))
        with pytest.raises(MailboxFull):
            await manager.tell("echo", Note("late"), message_id="order-3", timeout=1)
        await manager.settle()
        await manager.tell("echo", Note("in time"), message_id="order-3")
        await manager.settle()

        assert events[-1] == "in time"


def test_the_window_of_seen_ids_is_bounded() -> None:
    seen = SeenIds(window=10)
    for number in range(1000):
        seen.add(number)
        assert number in seen
        assert len(seen) <= 20
    assert all(number in seen for number in range(990, 1000))
    assert 0 not in seen


async def test_an_envelope_past_its_deadline_is_a_dead_letter() -> None:
    async with AgentManager() as manager:
        events: list[str] = []
        await manager.register(Echo("echo", events))
        sender = manager.get_message_sender()

        await sender(AgentMessage("me", "echo", Note("late"), "note", deadline=1.0))
        await manager.settle()

        assert "late" not in events
        assert manager.dead_letters.counts[Reason.EXPIRED] == 1


async def test_an_agent_has_a_card_with_schemas() -> None:
    async with AgentManager() as manager:
        await manager.register(Echo("echo"))

        card = manager.card("echo")

        assert (card.id, card.kind, card.capabilities) == ("echo", "Echo", ("echo",))
        ping = next(handled for handled in card.handles if handled.message_type == "ping")
        assert ping.content is not None
        assert "seconds" in str(ping.content)
        assert ping.reply == {"type": "string"}
        assert manager.directory.cards() == [card]


async def test_an_agent_keeps_its_constructor_arguments() -> None:
    events: list[str] = []
    agent = Echo("echo", events, fail_start=True)

    again = agent.construct_again()

    assert (again.id, again.events, again.fail_start) == ("echo", events, True)
    assert again is not agent


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_drain_and_stop_cleanly(signal_number: signal.Signals) -> None:
    program = textwrap.dedent("""
        import asyncio
        from moot import Agent, AgentManager, Payload, handles

        class Note(Payload):
            text: str

        class Slow(Agent):
            @handles
            async def on_note(self, message: Note) -> None:
                print("begins", flush=True)
                await asyncio.sleep(0.2)
                print("ends", flush=True)
            async def on_stop(self, ctx) -> None:
                print("stops", flush=True)

        async def main() -> None:
            manager = AgentManager()
            await manager.register(Slow("slow"))
            await manager.start()
            await manager.tell("slow", Note("x"))
            await manager.run_until_stopped()
            print("clean", flush=True)

        asyncio.run(main())
    """)
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begins\n"

    os.kill(process.pid, signal_number)
    out, err = process.communicate(timeout=20)

    assert (out, err, process.returncode) == ("ends\nstops\nclean\n", "", 0)


async def test_the_statistics_count_each_message_once() -> None:
    async with AgentManager() as manager:
        await manager.register(lambda message: message.id)
        before = manager.stats().messages
        await manager.tell("<lambda>", {}, message_type="a")
        await manager.ask("<lambda>", {}, message_type="b")
        await manager.settle()

        assert manager.stats().messages - before == 2
        assert manager.stats().turns == 2


async def _await(ask: Any) -> Any:
    return await ask


async def test_no_agent_has_the_name_of_those_who_are_none() -> None:
    async with AgentManager() as manager:
        with pytest.raises(ValueError, match="'outside' is no agent id"):
            await manager.register(Agent("outside"))


async def test_an_ask_that_was_let_in_goes_out_anew_while_the_system_drains_if_the_one_before_it_failed() -> None:
    class Once(Agent):
        retry = RetryPolicy(max_attempts=1)
        asked = 0

        @handles
        async def ping(self, message: Ping) -> str:
            self.asked += 1
            if self.asked == 1:
                await asyncio.sleep(1)
                raise ValueError("not yet")
            return "pong"

    manager = AgentManager()
    await manager.start()
    await manager.register(Once("once"))
    asks = [manager.ask("once", Ping(), message_id="same") for _ in range(2)]
    answers = [asyncio.ensure_future(manager.gather([ask])) for ask in asks]
    await asyncio.sleep(0.5)

    await manager.stop()

    with pytest.raises(TurnError, match="not yet"):
        await answers[0]
    assert await answers[1] == ["pong"]


async def test_an_answered_ask_with_an_id_has_no_deadline_any_more() -> None:
    class Slow(Agent):
        @handles
        async def ping(self, message: Ping) -> str:
            await asyncio.sleep(0.1)
            return "pong"

    async with AgentManager() as manager:
        await manager.register(Slow("slow"))
        for number in range(10):
            assert await manager.ask("slow", Ping(), message_id=f"ping {number}", timeout=600) == "pong"

        assert manager._system is not None
        assert len(manager._system.wheel) == 0


class Picks:
    async def select(self, *facts: object) -> None: ...


class Wraps:
    def intercept(self, *facts: object) -> None: ...


@pytest.mark.parametrize(
    "option",
    [{"selector": 5}, {"selector": Picks}, {"selector": Picks()}, {"interceptor": Wraps()}, {"mail_observer": "me"}],
    ids=str,
)
def test_an_option_that_could_not_be_called_is_refused_at_once(option: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="takes an object with"):
        AgentManager(**option)
