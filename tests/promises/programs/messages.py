"""The messages of random programs. A ``label`` names a message in all runs of a program."""

from __future__ import annotations

import msgspec

from moot import Payload, ReplyTo, Request

__all__ = [
    "Bear",
    "Book",
    "Chain",
    "Due",
    "Flood",
    "Item",
    "Later",
    "Leaf",
    "Lines",
    "Note",
    "Onward",
    "Plain",
    "PlainLater",
    "Quit",
    "Tree",
]

Lines = list[str]


class Tree(Request[Lines]):
    """A handler of this does a few deeds, which are drawn from ``seed``."""

    label: str
    seed: int
    level: int


class Leaf(Request[Lines]):
    """Sleep, and fail the first ``fails`` times with the error named ``error``."""

    label: str
    sleep: float = 0.0
    error: str = ""
    fails: int = 0
    pieces: int = 0
    first: str = ""
    """What the handler waits for first."""


class Note(Payload):
    """As `Leaf`, but nobody waits for it."""

    label: str
    sleep: float = 0.0
    error: str = ""
    fails: int = 0


class Plain(Request[Lines]):
    label: str
    error: str = ""


class PlainLater(Request[Lines]):
    label: str
    sleep: float = 0.0
    error: str = ""


class Chain(Request[Lines]):
    """Sleep, ask the next agent of ``path`` the same, and sleep again."""

    label: str
    path: tuple[str, ...]
    sleep: float = 0.0
    catches: bool = False


class Later(Request[Lines]):
    label: str
    delay: float


class Due(Payload):
    to: ReplyTo
    label: str


class Onward(Request[Lines]):
    label: str
    to: str
    sleep: float = 0.0


class Flood(Request[Lines]):
    to: str
    notes: tuple[Note, ...]
    is_last: bool
    """Whether the handler leaves its runner's task cancelled."""


class Bear(Request[Lines]):
    """Spawn a child."""

    label: str
    name: str


class Quit(Request[Lines]):
    label: str


class Item(Request[Lines]):
    label: str


class Book(msgspec.Struct, frozen=True):
    """What an agent has handled, by sender."""

    heard: dict[str, tuple[str, ...]] = {}
