"""The rules of a group chat: whose turn it is, what a speaker is shown, and when it is over, and why.

A `Chat` is a frozen value made of the turns so far; whoever holds one can tell what comes next. Every chat ends: each
turn counts, also one in which nothing was said, and there are only so many.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import StrEnum

import msgspec

from moot.policies.fields import check_fields

__all__ = ["Chat", "ChatRules", "Line", "StopReason", "Transcript", "Turn", "Utterance", "adds_something"]


class Utterance(msgspec.Struct, frozen=True):
    """What a speaker says; ``to`` names who is to speak next, and ``done`` finds that nothing is left to say."""

    text: str
    to: str | None = None
    done: bool = False


class Line(msgspec.Struct, frozen=True):
    """What was said, and who said it."""

    speaker: str
    text: str


class Turn(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn: what the speaker said or, in ``error``, why nothing; ``handed_by`` is who named them to be next.

    ``note`` says why who speaks is not who was named or chosen. It took so many ``seconds``.
    """

    speaker: str
    utterance: Utterance | None = None
    error: str = ""
    handed_by: str | None = None
    note: str = ""
    seconds: float = 0.0


class StopReason(StrEnum):
    """Why a chat is over."""

    DONE = "done"
    """A speaker found that nothing is left to say, and one is enough."""
    AGREED = "agreed"
    """All who are left found so in their last words, or ``agreed`` says that they do."""
    TURNS = "turns"
    DEADLINE = "deadline"
    HANDOFFS = "handoffs"
    """One more handoff would have been one too many."""
    PING_PONG = "ping_pong"
    """Handoffs followed each other and nothing new was said."""
    FAILED_SPEAKERS = "failed_speakers"
    """Too few are left who can speak."""


def adds_something(line: Line, before: Sequence[Line]) -> bool:
    """Whether nobody has said this before, in the same words."""
    return _words(line.text) not in {_words(earlier.text) for earlier in before}


class ChatRules(msgspec.Struct, frozen=True):
    """When a chat ends, and what its speakers are given. Durations are in seconds.

    ``ends``: the first who is done ends it (``anyone``), or all who are left in their last words (``everyone``);
    ``agreed`` may end it besides. ``ping_pong`` handoffs in a row that add nothing, as ``adds`` sees it, end it.
    A speaker who fails ``failures`` times in a row is excluded. ``timeout`` is for one turn, ``deadline`` for all. A
    speaker is shown the last ``history`` lines, up to ``characters``; what is longer than ``longest`` is cut.
    """

    turns: int = 20
    handoffs: int = 10
    ping_pong: int = 3
    failures: int = 2
    ends: str = "anyone"
    agreed: Callable[[Chat], bool] | None = None
    adds: Callable[[Line, Sequence[Line]], bool] = adds_something
    timeout: float = 30.0
    deadline: float = 600.0
    history: int = 50
    characters: int = 20_000
    longest: int = 4_000

    def __post_init__(self) -> None:
        check_fields(self)
        counts = (self.turns, self.ping_pong, self.failures, self.history, self.characters, self.longest)
        if min(counts) < 1 or self.handoffs < 0:
            raise ValueError(f"the bounds of a chat are 1 or more (handoffs: 0 or more); these are {counts}")
        if self.ends not in ("anyone", "everyone"):
            raise ValueError(f"ends is 'anyone' or 'everyone', not {self.ends!r}")
        if not (self.timeout > 0 and self.deadline > 0 and min(self.timeout, self.deadline) < math.inf):
            raise ValueError(
                f"timeout and deadline are above 0 s, and one has an end, not {self.timeout:g} and {self.deadline:g}"
            )


class Transcript(msgspec.Struct, frozen=True):
    """A chat that is over: why, its turns, and who was excluded with their last failure."""

    stop: StopReason
    turns: tuple[Turn, ...]
    excluded: dict[str, str] = {}

    @property
    def lines(self) -> tuple[Line, ...]:
        """What was said."""
        return _lines(self.turns)


class Chat(msgspec.Struct, frozen=True):
    """A chat under way, as a value: who speaks, by which rules, and the turns so far.

    With ``hands_off`` whoever the last speaker has named is next.
    """

    speakers: tuple[str, ...]
    rules: ChatRules = msgspec.field(default_factory=ChatRules)
    hands_off: bool = False
    turns: tuple[Turn, ...] = ()

    @property
    def lines(self) -> tuple[Line, ...]:
        """What has been said."""
        return _lines(self.turns)

    @property
    def excluded(self) -> dict[str, str]:
        """Who has failed too often in a row, and how the last time."""
        found = {}
        for speaker in self.speakers:
            own = [turn for turn in self.turns if turn.speaker == speaker][-self.rules.failures :]
            if len(own) == self.rules.failures and all(turn.utterance is None for turn in own):
                found[speaker] = own[-1].error
        return found

    @property
    def present(self) -> tuple[str, ...]:
        """Who can still be asked to speak, in order."""
        excluded = self.excluded
        return tuple(speaker for speaker in self.speakers if speaker not in excluded)

    @property
    def next_in_order(self) -> str:
        """Who comes after the last speaker, of those present."""
        if not self.turns:
            return self.present[0]
        last = self.speakers.index(self.turns[-1].speaker)
        order = self.speakers[last + 1 :] + self.speakers[: last + 1]
        return next(speaker for speaker in order if speaker in self.present)

    @property
    def wanted(self) -> str | None:
        """Whom the last speaker has named to be next, whether they can be or not."""
        last = self.turns[-1].utterance if self.turns and self.hands_off else None
        return None if last is None else last.to

    @property
    def named(self) -> str | None:
        """Whom the last speaker has named to be next, if it is somebody else who is present."""
        wanted = self.wanted
        return wanted if wanted in self.present and wanted != self.turns[-1].speaker else None

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return sum(turn.seconds for turn in self.turns)

    @property
    def shown(self) -> tuple[Line, ...]:
        """What a speaker is shown: the last lines that fit."""
        lines = list(self.lines[-self.rules.history :])
        while len(lines) > 1 and sum(len(line.text) for line in lines) > self.rules.characters:
            del lines[0]
        return tuple(lines)

    def after(self, turn: Turn) -> Chat:
        """The chat with one more turn.

        Raises:
            ValueError: it is over, or it is not that speaker's turn.
        """
        named = self.named
        if self.stop is not None or turn.speaker not in ((named,) if named else self.present):
            raise ValueError(
                f"it is not {turn.speaker!r}'s turn: the chat is over, somebody else is next, or they are out"
            )
        turn = msgspec.structs.replace(turn, handed_by=self.turns[-1].speaker if named else None)
        said = turn.utterance
        if said is not None and len(said.text) > self.rules.longest:
            said = msgspec.structs.replace(said, text=f"{said.text[: self.rules.longest - 1]}…")
            turn = msgspec.structs.replace(turn, utterance=said)
        return msgspec.structs.replace(self, turns=(*self.turns, turn))

    @property
    def is_ping_pong(self) -> bool:
        """Whether the last turns, as many as make a ping-pong, were handoffs and have added nothing."""
        turns = self.turns
        if len(turns) <= self.rules.ping_pong:
            return False
        for index in range(len(turns) - self.rules.ping_pong, len(turns)):
            turn = turns[index]
            if turn.handed_by is None or turn.utterance is None:
                return False
            line = Line(turn.speaker, turn.utterance.text)
            if line.text.strip() and self.rules.adds(line, _lines(turns[:index])):
                return False
        return True

    @property
    def stop(self) -> StopReason | None:
        """Why it is over; None while it is not."""
        rules = self.rules
        present = self.present
        last = {turn.speaker: turn.utterance for turn in self.turns}
        done = [speaker for speaker in present if (said := last.get(speaker)) is not None and said.done]
        handoffs = sum(turn.handed_by is not None for turn in self.turns)
        agreed = bool(self.turns) and rules.agreed is not None and rules.agreed(self)
        reasons = (
            (len(present) < min(2, len(self.speakers)), StopReason.FAILED_SPEAKERS),
            (rules.ends == "anyone" and bool(done), StopReason.DONE),
            (len(done) == len(present) or agreed, StopReason.AGREED),
            (self.is_ping_pong, StopReason.PING_PONG),
            (self.named is not None and handoffs >= rules.handoffs, StopReason.HANDOFFS),
            (len(self.turns) >= rules.turns, StopReason.TURNS),
            (self.seconds >= rules.deadline, StopReason.DEADLINE),
        )
        return next((reason for holds, reason in reasons if holds), None)


def _lines(turns: Sequence[Turn]) -> tuple[Line, ...]:
    said = ((turn.speaker, turn.utterance) for turn in turns)
    return tuple(Line(speaker, words.text) for speaker, words in said if words is not None and words.text.strip())


def _words(text: str) -> str:
    return " ".join("".join(letter if letter.isalnum() else " " for letter in text.casefold()).split())
