"""A group chat over messages: whoever's turn it is is asked to speak, and nobody else is heard.

What came of each turn is recorded before the next begins, failures and silence too. So a turn of the runtime that is
run again, after a crash or in another life of the process, finds the same conversation and goes on behind it, and who
spoke to whom never depends on who happens to answer the second time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Protocol

import msgspec

from moot import Agent, AgentContext, MootError, Payload, Request, handles
from moot.patterns.group_chat.rules import Chat, ChatRules, Line, Transcript, Turn, Utterance

__all__ = [
    "ChooseSpeaker",
    "Discuss",
    "GroupChatAgent",
    "Handoff",
    "RoundRobin",
    "Said",
    "Selector",
    "Speak",
    "Taking",
    "group_chat",
]

SHORTEST = 0.001
"""Seconds that a speaker has at least, however late the choice was made."""
SHOWN = 60
"""Characters of a name that does not exist which a note repeats."""


class Speak(Request[Utterance | str]):
    """It is your turn. ``history`` are the last lines, ``speakers`` who else can be named to be next."""

    topic: str
    history: tuple[Line, ...] = ()
    speakers: tuple[str, ...] = ()


class ChooseSpeaker(Request[str]):
    """Who of ``speakers`` is to speak next?"""

    topic: str
    history: tuple[Line, ...]
    speakers: tuple[str, ...]


class Discuss(Request[Transcript]):
    """Hold a chat about ``topic``; the answer is its transcript. Whoever streams is told each line."""

    topic: str


class Said(Payload):
    """Progress: a line of the chat."""

    line: Line


class Taking(Protocol):
    """How turns are taken. Where its choice is nobody who can speak, the next in order does."""

    hands_off: ClassVar[bool]
    """Whether whom the last speaker named is next."""

    async def choose(self, ctx: AgentContext[Any], topic: str, chat: Chat) -> str | None:
        """Who is next; None is the next in order."""
        ...


class RoundRobin(msgspec.Struct, frozen=True):
    """One after the other, in the order in which they were given."""

    hands_off: ClassVar[bool] = False

    async def choose(self, ctx: AgentContext[Any], topic: str, chat: Chat) -> str | None:
        return None


class Handoff(msgspec.Struct, frozen=True):
    """Whom the speaker names is next. Where that is nobody, unknown, excluded or the speaker, the next in order is."""

    hands_off: ClassVar[bool] = True

    async def choose(self, ctx: AgentContext[Any], topic: str, chat: Chat) -> str | None:
        return chat.named or chat.wanted


class Selector(msgspec.Struct, frozen=True):
    """Somebody chooses: a function of the chat, or an agent that is asked `ChooseSpeaker`, for up to ``timeout`` s."""

    by: str | Callable[[Chat], str]
    timeout: float = 30.0
    hands_off: ClassVar[bool] = False

    async def choose(self, ctx: AgentContext[Any], topic: str, chat: Chat) -> str | None:
        by: str | Callable[[Chat], str] = self.by
        if not isinstance(by, str):
            return by(chat)
        timeout = min(self.timeout, chat.rules.deadline - chat.seconds)
        chosen = await ctx.ask(by, ChooseSpeaker(topic, chat.shown, chat.present), timeout=timeout)
        return str(chosen).strip()


async def group_chat(
    ctx: AgentContext[Any],
    topic: str,
    speakers: str | Sequence[str],
    *,
    taking: Taking | None = None,
    rules: ChatRules | None = None,
) -> Transcript:
    """Have ``speakers`` talk about ``topic`` until a rule ends it; turns are taken in order unless ``taking`` says how.

    ``speakers`` are ids, or ``capability:NAME`` for all who can. Whoever answers `Speak` can take part: what they
    answer is a text, or an `Utterance`. Who fails, is late or answers neither loses the turn. A handler that holds
    several chats does so one after the other.

    Raises:
        ValueError: nobody is to speak.
    """
    taking = taking or RoundRobin()
    found = await ctx.effect("speakers", lambda _: ctx.find(speakers), type=list[str])
    chat = Chat(tuple(found), rules or ChatRules(), taking.hands_off)
    if not found:
        raise ValueError(f"a chat needs a speaker or more; check whom {speakers!r} names")
    while (stop := chat.stop) is None:
        turn = await ctx.effect("a turn in a chat", partial(_turn, ctx, topic, chat, taking), type=Turn)
        chat = chat.after(turn)
        if turn.utterance is not None and turn.utterance.text.strip():
            ctx.progress(None, Said(chat.lines[-1]))
    return Transcript(stop, chat.turns, chat.excluded)


class GroupChatAgent(Agent):
    """Holds chats of its speakers for whoever asks, several at once."""

    concurrency = 16
    cancel_with_asker = True

    def __init__(
        self, agent_id: str, speakers: str | Sequence[str], taking: Taking | None = None, rules: ChatRules | None = None
    ) -> None:
        super().__init__(agent_id)
        self.speakers = speakers if isinstance(speakers, str) else tuple(speakers)
        self.taking = taking
        self.rules = rules

    @handles
    async def discuss(self, message: Discuss, ctx: AgentContext) -> Transcript:
        return await group_chat(ctx, message.topic, self.speakers, taking=self.taking, rules=self.rules)


async def _turn(ctx: AgentContext[Any], topic: str, chat: Chat, taking: Taking, _key: str) -> Turn:
    """Find out whose turn it is, ask them to speak, and say what came of it."""
    now = asyncio.get_running_loop().time
    began = now()
    speaker, note = await _next(ctx, topic, chat, taking)
    others = tuple(other for other in chat.present if other != speaker)
    timeout = min(chat.rules.timeout, chat.rules.deadline - chat.seconds - (now() - began))
    said: Utterance | None = None
    error = ""
    try:
        answer = await ctx.ask(speaker, Speak(topic, chat.shown, others), timeout=max(timeout, SHORTEST))
        said = _utterance(answer)
    except MootError as failure:
        error = str(failure)
    except ValueError as failure:
        error = f"what it answered is no utterance: {failure}"
    return Turn(speaker, said, error, None, note, now() - began)


async def _next(ctx: AgentContext[Any], topic: str, chat: Chat, taking: Taking) -> tuple[str, str]:
    """Who speaks, and why it is not who was chosen."""
    try:
        chosen = await taking.choose(ctx, topic, chat)
    except MootError as failure:
        return chat.next_in_order, f"nobody was chosen: {failure}"
    if chosen is None or chosen == chat.named or (chosen in chat.present and not chat.hands_off):
        return chosen or chat.next_in_order, ""
    return chat.next_in_order, f"{chosen[:SHOWN]!r} cannot be next"


def _utterance(answer: Any) -> Utterance:
    """What was said; on every backend only what could be kept. Raises `ValueError`: nothing that could have been."""
    try:
        said: Utterance | str = msgspec.msgpack.decode(msgspec.msgpack.encode(answer), type=Utterance | str)
    except (TypeError, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from error
    return Utterance(said) if isinstance(said, str) else said
