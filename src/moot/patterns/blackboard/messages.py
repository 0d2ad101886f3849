"""What a blackboard holds, and what it and its sources say to each other."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from moot import Payload, Request

__all__ = [
    "Activation",
    "Entry",
    "GiveBack",
    "Hypothesis",
    "Interest",
    "Post",
    "Posted",
    "ReadBoard",
    "Refusal",
    "Renew",
    "Solution",
    "Solve",
    "StopReason",
    "Subscribe",
]


class StopReason(StrEnum):
    """Why a board has ended."""

    SOLVED = "solved"
    """There is an entry that is the goal."""
    EXHAUSTED = "exhausted"
    """Nobody works, and nothing that is left can be given to anybody."""
    BUDGET = "budget"
    """Sources were activated as often as may be."""
    DEADLINE = "deadline"
    """The time is over."""


class Refusal(StrEnum):
    """Why a post was not taken."""

    LAPSED = "lapsed"
    """The claim is not the sender's, or not any more: another may have it."""
    OVER = "over"
    """The board has ended."""
    FULL = "full"
    """It holds as many entries as it may."""
    INVALID = "invalid"
    """A level that it does not have, no text as a key, a confidence outside 0 to 1, or too many at once."""


class Hypothesis(msgspec.Struct, frozen=True):
    """What a source says: ``content`` at a level under a key, with a confidence from 0 to 1.

    ``of`` are the keys of the entries that it was made of.
    """

    level: str
    key: str
    content: Any
    confidence: float = 1.0
    of: tuple[str, ...] = ()

    def is_valid(self, levels: tuple[str, ...]) -> bool:
        """Whether a board of these levels can hold it."""
        key: Any = self.key
        confidence: Any = self.confidence
        of: Any = self.of
        return (
            self.level in levels
            and isinstance(key, str)
            and type(confidence) in (int, float)
            and 0 <= confidence <= 1  # (which nan is not)
            and isinstance(of, (tuple, list))
            and all(isinstance(one, str) for one in of)
        )


class Entry(msgspec.Struct, frozen=True):
    """A hypothesis on the board: who posted it, and its version, from 1, which rises when a better one replaces it."""

    level: str
    key: str
    content: Any
    confidence: float
    of: tuple[str, ...]
    author: str
    version: int = 1


class Interest(msgspec.Struct, frozen=True):
    """Entries that concern a source: of a level, with keys that begin so, and of this confidence at least."""

    level: str
    key: str = ""
    confidence: float = 0.0
    priority: float = 0.0

    def matches(self, entry: Entry) -> bool:
        """Whether an entry concerns the source."""
        return entry.level == self.level and entry.key.startswith(self.key) and entry.confidence >= self.confidence


class Subscribe(Payload):
    """The sender is a source of this ``kind``; said again and again, so that a lost one does no harm.

    Sources of one kind know the same: what concerns the kind is given to one of them.
    """

    kind: str
    interests: tuple[Interest, ...]


class Activation(Payload):
    """A source has the claim on an entry until ``expires``; what it finds it posts with the ``token``."""

    entry: Entry
    token: int
    expires: float
    problem: str = ""


class Posted(msgspec.Struct, frozen=True):
    """Whether a post was taken, and if not, why."""

    accepted: bool
    refusal: Refusal | None = None


class Post(Request[Posted]):
    """What a source has found under its claim; it ends the claim unless there is ``more`` to come."""

    token: int
    hypotheses: tuple[Hypothesis, ...] = ()
    more: bool = False


class Renew(Request[bool]):
    """The sender still works; its claim begins anew. False if it has none any more."""

    token: int


class GiveBack(Payload):
    """The sender cannot do it; another may."""

    token: int
    error: str = ""


class ReadBoard(Request[tuple[Entry, ...]]):
    """The entries of a level, or all."""

    level: str = ""


class Solution(msgspec.Struct, frozen=True):
    """How a board ended. ``goal`` is the entry that solved it.

    ``history`` are the activations in order, ``"kind: key"``; ``abandoned`` those that nobody brought to an end.
    """

    problem: str
    reason: StopReason
    entries: tuple[Entry, ...]
    goal: Entry | None
    history: tuple[str, ...]
    abandoned: tuple[str, ...] = ()


class Solve(Request[Solution]):
    """Begin with these hypotheses. Asked again with the same ``problem``, it is not begun again.

    At most ``budget`` activations and ``seconds`` are spent on it.
    """

    problem: str
    hypotheses: tuple[Hypothesis, ...]
    budget: int = 100
    seconds: float = 60.0
