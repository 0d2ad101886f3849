"""A group chat: whoever's turn it is speaks, every chat ends, and it is known why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moot import Agent, AgentContext, AgentManager, Payload, ReplyTo, TurnError, handles
from moot.patterns.group_chat import (
    Chat,
    ChatRules,
    ChooseSpeaker,
    Discuss,
    GroupChatAgent,
    Handoff,
    Line,
    RoundRobin,
    Said,
    Selector,
    Speak,
    StopReason,
    Taking,
    Transcript,
    Turn,
    Utterance,
    group_chat,
)
from moot.testing import SimulatedBackend
from tests.lives import two_lives

Script = Callable[[Speak], Any]


class Speaker(Agent):
    cancel_with_asker = True

    def __init__(self, agent_id: str, script: Script) -> None:
        super().__init__(agent_id)
        self.script = script
        self.heard: list[Speak] = []

    @handles
    async def speak(self, message: Speak) -> Any:
        self.heard.append(message)
        answer = self.script(message)
        if isinstance(answer, float):
            await asyncio.sleep(answer)
        if isinstance(answer, Exception):
            raise answer
        return answer


def numbered(name: str, to: str | None = None) -> Script:
    """Says something new each time."""
    return lambda message: Utterance(f"{name} after {len(message.history)} lines", to)


def says(text: str, to: str | None = None, *, done: bool = False) -> Script:
    return lambda message: Utterance(text, to, done)


async def chat(scripts: dict[str, Script], taking: Taking | None = None, rules: ChatRules | None = None) -> Transcript:
    async with AgentManager() as manager:
        for name, script in scripts.items():
            await manager.register(Speaker(name, script))
        await manager.register(GroupChatAgent("chair", list(scripts), taking, rules))
        return await manager.ask("chair", Discuss("tea"), timeout=10_000)


def speakers_of(transcript: Transcript) -> str:
    return "".join(turn.speaker for turn in transcript.turns)


async def test_turns_go_round_until_somebody_is_done() -> None:
    def script(message: Speak) -> Utterance:
        return Utterance(f"line {len(message.history)}", "a", done=len(message.history) == 4)

    found = await chat({"a": script, "b": script, "c": script}, RoundRobin())

    assert (speakers_of(found), found.stop) == ("abcab", StopReason.DONE)
    assert found.lines[1] == Line("b", "line 1")


async def test_speakers_are_found_by_what_they_can_do_and_a_text_is_one_name() -> None:
    class Able(Speaker):
        capabilities = ("talking",)

    async with AgentManager() as manager:
        for name in ("a", "bob"):
            await manager.register(Able(name, numbered(name)))
        for chair, speakers in {"all": "capability:talking", "one": "bob", "nobody": "capability:singing"}.items():
            await manager.register(GroupChatAgent(chair, speakers, rules=ChatRules(turns=2)))

        assert speakers_of(await manager.ask("all", Discuss("tea"))) == "abob"
        assert speakers_of(await manager.ask("one", Discuss("tea"))) == "bobbob"
        with pytest.raises(TurnError, match="check whom 'capability:singing' names"):
            await manager.ask("nobody", Discuss("tea"))


async def test_a_chat_that_never_agrees_ends_with_its_turns() -> None:
    found = await chat({"a": numbered("a"), "b": numbered("b")}, rules=ChatRules(turns=7, ends="everyone"))

    assert (speakers_of(found), found.stop) == ("abababa", StopReason.TURNS)


async def test_everybodys_last_words_can_end_it_and_so_can_a_function() -> None:
    scripts = {
        "a": says("yes", done=True),
        "b": says("yes", done=True),
        "c": lambda m: Utterance("hm", done=len(m.history) > 4),
    }
    same = ChatRules(agreed=lambda chat: len(chat.lines) > 1 and chat.lines[-1].text == chat.lines[-2].text)

    everyone = await chat(scripts, rules=ChatRules(ends="everyone"))
    function = await chat({"a": says("tea"), "b": says("tea")}, rules=same)

    assert (speakers_of(everyone), everyone.stop) == ("abcabc", StopReason.AGREED)
    assert (speakers_of(function), function.stop) == ("ab", StopReason.AGREED)


async def test_whoever_is_named_speaks_next() -> None:
    scripts = {
        "a": says("who knows?", "c"),
        "b": says("done", done=True),
        "c": says("ask b", "b"),
    }

    found = await chat(scripts, Handoff())

    assert speakers_of(found) == "acb"
    assert [turn.handed_by for turn in found.turns] == [None, "a", "c"]


async def test_a_ping_pong_ends_when_nothing_new_is_said() -> None:
    scripts = {"a": says("take it, b", "b"), "b": says("No: yours!", "a"), "c": numbered("c")}

    found = await chat(scripts, Handoff(), ChatRules(turns=100, handoffs=100, ping_pong=4))

    assert (speakers_of(found), found.stop) == ("ababab", StopReason.PING_PONG)


async def test_a_circle_of_handoffs_is_a_ping_pong_too() -> None:
    found = await chat({"a": says("b?", "b"), "b": says("c?", "c"), "c": says("a?", "a")}, Handoff())

    assert (speakers_of(found), found.stop) == ("abcabc", StopReason.PING_PONG)


async def test_handoffs_that_always_say_something_new_are_bounded() -> None:
    found = await chat({"a": numbered("a", "b"), "b": numbered("b", "a")}, Handoff(), ChatRules(turns=100, handoffs=5))

    assert (speakers_of(found), found.stop) == ("ababab", StopReason.HANDOFFS)


@pytest.mark.parametrize("name", ["nobody", "a", "x" * 1000])
async def test_a_handoff_to_nobody_who_can_speak_goes_to_the_next_in_order(name: str) -> None:
    found = await chat({"a": says("hm", name), "b": says("b", done=True)}, Handoff())

    assert speakers_of(found) == "ab"
    assert "cannot be next" in found.turns[1].note
    assert len(found.turns[1].note) < 100
    assert found.turns[1].handed_by is None


async def test_a_function_selects() -> None:
    found = await chat(
        {"a": numbered("a"), "b": numbered("b")},
        Selector(lambda chat: "b" if len(chat.lines) < 2 else "zed"),
        ChatRules(turns=4),
    )

    assert speakers_of(found) == "bbab"
    assert [bool(turn.note) for turn in found.turns] == [False, False, True, True]


@pytest.mark.parametrize(
    ("choice", "expected", "has_note"),
    [(" b ", "bbb", False), ("zed", "aba", True), (["b"], "aba", True), (ValueError("no idea"), "aba", True)],
)
async def test_an_agent_selects_and_what_it_says_is_not_trusted(choice: Any, expected: str, has_note: bool) -> None:
    asked: list[ChooseSpeaker] = []

    class Moderator(Agent):
        @handles
        async def choose(self, message: ChooseSpeaker) -> Any:
            asked.append(message)
            if isinstance(choice, Exception):
                raise choice
            return choice

    async with AgentManager() as manager:
        for agent in (Speaker("a", numbered("a")), Speaker("b", numbered("b")), Moderator("moderator")):
            await manager.register(agent)
        await manager.register(GroupChatAgent("chair", ["a", "b"], Selector("moderator"), ChatRules(turns=3)))
        found = await manager.ask("chair", Discuss("tea"))

    assert speakers_of(found) == expected
    assert all(bool(turn.note) == has_note for turn in found.turns)
    assert asked[0].speakers == ("a", "b")


async def test_a_selector_that_hangs_costs_its_timeout_and_no_more() -> None:
    async with AgentManager() as manager:
        for agent in (Speaker("a", numbered("a")), Speaker("b", numbered("b")), Speaker("moderator", lambda _: 1e6)):
            await manager.register(agent)
        await manager.register(GroupChatAgent("chair", ["a", "b"], Selector("moderator", 5.0), ChatRules(turns=3)))
        found = await manager.ask("chair", Discuss("tea"), timeout=1000)

    assert (speakers_of(found), found.stop) == ("aba", StopReason.TURNS)


async def test_who_fails_is_skipped_and_after_that_excluded() -> None:
    scripts: dict[str, Script] = {
        "a": numbered("a"),
        "b": lambda _: ValueError("lost my voice"),
        "c": lambda _: 1e6,
        "d": lambda _: {"text": 3},
        "e": numbered("e"),
    }

    found = await chat(scripts, rules=ChatRules(turns=14, timeout=5))

    assert speakers_of(found) == "abcdeabcdeaeae"
    assert "lost my voice" in found.excluded["b"]
    assert "5 s" in found.excluded["c"]
    assert "is refused" in found.excluded["d"]


@pytest.mark.parametrize("answer", [None, 42, 10**40, "\ud800", {"to": "a"}, Utterance(3), [["a"]] * 3, object()])  # type: ignore[arg-type]
async def test_rubbish_is_no_utterance(answer: Any) -> None:
    found = await chat({"a": numbered("a"), "b": lambda _: answer}, rules=ChatRules(failures=1))

    assert "is refused" in found.excluded["b"]


async def test_one_failure_is_forgiven() -> None:
    flaky = iter([ValueError("cough")] + ["fine"] * 9)

    found = await chat({"a": numbered("a"), "b": lambda _: next(flaky)}, rules=ChatRules(turns=8))

    assert found.excluded == {}


async def test_a_chat_without_enough_speakers_ends() -> None:
    found = await chat({"a": numbered("a"), "b": lambda _: ValueError("no")}, rules=ChatRules(failures=1))

    assert (speakers_of(found), found.stop) == ("ab", StopReason.FAILED_SPEAKERS)


async def test_a_chat_has_a_deadline() -> None:
    def slow(message: Speak) -> float:
        return 20.0

    loop = asyncio.get_running_loop()
    began = loop.time()
    found = await chat({"a": slow, "b": slow}, rules=ChatRules(deadline=50, timeout=25, failures=100, turns=100))

    assert found.stop is StopReason.DEADLINE
    assert loop.time() - began == pytest.approx(50, abs=1)


async def test_a_speaker_is_shown_the_last_lines_that_fit() -> None:
    rules = ChatRules(turns=9, history=4, characters=25, longest=10)
    async with AgentManager() as manager:
        long = Speaker("a", says("x" * 1000))
        for agent in (long, Speaker("b", says("b"))):
            await manager.register(agent)
        await manager.register(GroupChatAgent("chair", ["a", "b"], None, rules))
        found = await manager.ask("chair", Discuss("tea"))

    assert found.lines[0].text == "x" * 9 + "…"
    assert [line.text[0] for line in long.heard[-1].history] == ["x", "b", "x", "b"]
    assert long.heard[-1].speakers == ("b",)


async def test_a_person_may_take_long_and_answers_in_a_later_turn() -> None:
    class Typed(Payload):
        text: str

    class Person(Agent):
        waiting: ReplyTo

        @handles
        async def speak(self, message: Speak, ctx: AgentContext) -> None:
            self.waiting = ctx.defer()
            ctx.schedule(3000, Typed("I have thought about it"))

        @handles
        async def typed(self, message: Typed, ctx: AgentContext) -> None:
            ctx.send(self.waiting, message.text)

    async with AgentManager() as manager:
        await manager.register(Person("person"))
        await manager.register(Speaker("a", says("and?", done=True)))
        rules = ChatRules(timeout=4000, deadline=10_000)
        await manager.register(GroupChatAgent("chair", ["person", "a"], None, rules))
        lines: list[Line] = []
        async with manager.stream(manager.ask("chair", Discuss("tea"), timeout=10_000)) as stream:
            async for said in stream:
                assert isinstance(said, Said)
                lines.append(said.line)

    assert lines == [Line("person", "I have thought about it"), Line("a", "and?")]


class Start(Payload):
    pass


async def test_another_life_of_the_process_finds_the_same_conversation() -> None:
    disk = SimulatedBackend()
    asked: list[str] = []
    found: list[Transcript] = []

    class Talker(Agent):
        cancel_with_asker = True

        @handles
        async def speak(self, message: Speak) -> str:
            asked.append(self.id)
            if self.id == "late" and len(asked) < 4:
                await asyncio.sleep(1000)
            if len(asked) == 5:
                disk.fail()
                await asyncio.Event().wait()
            return f"{self.id} {len(message.history)}"

    class Client(Agent):
        @handles
        async def start(self, message: Start, ctx: AgentContext) -> None:
            found.append(await group_chat(ctx, "tea", ["a", "late", "b"], rules=ChatRules(turns=6, timeout=5)))

    await two_lives(disk, lambda: [Talker("a"), Talker("late"), Talker("b"), Client("client")], Start())

    assert asked == ["a", "late", "b", "a", "late", "late", "b"]
    assert [turn.speaker for turn in found[0].turns] == ["a", "late", "b", "a", "late", "b"]
    assert found[0].turns[1].utterance is None  # it would answer now, and is not asked again


async def test_nobody_to_speak_is_refused() -> None:
    with pytest.raises(Exception, match="needs a speaker"):
        await chat({})


@pytest.mark.parametrize(
    "wrong",
    [
        {"turns": 0},
        {"handoffs": -1},
        {"ends": "never"},
        {"timeout": 0},
        {"deadline": float("nan")},
        {"timeout": float("inf"), "deadline": float("inf")},
    ],
)
def test_rules_that_end_no_chat_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"bounds|ends is|timeout and deadline|deadline is"):
        ChatRules(**wrong)


NAMES = ("a", "b", "c")
RULES = ChatRules(turns=12, handoffs=4, ping_pong=2, failures=2, ends="everyone")


class ChatMachine(RuleBasedStateMachine):
    """Any turns whatever, against counters of what happened."""

    def __init__(self) -> None:
        super().__init__()
        self.chat = Chat(NAMES, RULES, hands_off=True)
        self.failures = dict.fromkeys(NAMES, 0)
        self.done = dict.fromkeys(NAMES, False)
        self.handoffs = self.idle = 0
        self.said: list[str] = []
        self.next: str | None = None

    def is_over(self) -> bool:
        return self.chat.stop is not None

    def due(self) -> str:
        present = [name for name in NAMES if self.failures[name] < 2]
        assert list(self.chat.present) == present
        assert self.chat.named == self.next
        return self.next or self.chat.next_in_order

    @precondition(lambda self: not self.is_over())
    @rule(
        text=st.sampled_from(["x", "X!", "y", "z", ""]),
        to=st.sampled_from([*NAMES, "nobody", None]),
        done=st.booleans(),
    )
    def speak(self, text: str, to: str | None, done: bool) -> None:
        speaker = self.due()
        is_handoff = self.next is not None
        is_new = bool(text) and text.casefold().strip("!") not in self.said
        self.handoffs += is_handoff
        self.idle = self.idle + 1 if is_handoff and not is_new else 0
        self.failures[speaker] = 0
        self.done[speaker] = done
        self.said += [text.casefold().strip("!")] if text else []

        self.chat = self.chat.after(Turn(speaker, Utterance(text, to, done)))

        self.next = to if to in NAMES and to != speaker and self.failures[to] < 2 else None

    @precondition(lambda self: not self.is_over())
    @rule()
    def fail(self) -> None:
        speaker = self.due()
        self.handoffs += self.next is not None
        self.idle = 0
        self.failures[speaker] += 1
        self.done[speaker] = False
        self.next = None

        self.chat = self.chat.after(Turn(speaker, error="silence"))

    @precondition(lambda self: not self.is_over())
    @rule(name=st.sampled_from([*NAMES, "stranger"]))
    def speak_out_of_turn(self, name: str) -> None:
        allowed = [self.next] if self.next else self.chat.present
        if name not in allowed:
            with pytest.raises(ValueError, match=r"not .*'s turn"):
                self.chat.after(Turn(name, Utterance("me! me!")))

    @precondition(lambda self: self.is_over())
    @rule(name=st.sampled_from(NAMES))
    def speak_when_it_is_over(self, name: str) -> None:
        with pytest.raises(ValueError, match="over"):
            self.chat.after(Turn(name, Utterance("one more thing")))

    @invariant()
    def it_ends_exactly_when_a_bound_is_reached(self) -> None:
        present = self.chat.present
        expected = {
            StopReason.FAILED_SPEAKERS: len(present) < 2,
            StopReason.AGREED: all(self.done[name] for name in present),
            StopReason.PING_PONG: self.idle >= 2,
            StopReason.HANDOFFS: self.next is not None and self.handoffs >= 4,
            StopReason.TURNS: len(self.chat.turns) >= 12,
        }
        assert self.chat.stop == next((reason for reason, holds in expected.items() if holds), None)
        assert sum(turn.handed_by is not None for turn in self.chat.turns) == self.handoffs

    @invariant()
    def its_turns_can_be_kept(self) -> None:
        kept = msgspec.msgpack.decode(msgspec.msgpack.encode(self.chat.turns), type=tuple[Turn, ...])
        assert kept == self.chat.turns


TestChatMachine = ChatMachine.TestCase
