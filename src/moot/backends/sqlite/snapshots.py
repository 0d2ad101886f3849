"""Snapshots: what a file held at a moment, as values for whoever looks at it from outside."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = [
    "UNREADABLE",
    "AgentMail",
    "AgentSnapshot",
    "GivenSnapshot",
    "LetterSnapshot",
    "MailSnapshot",
    "Overview",
    "SharedSnapshot",
    "TimerSnapshot",
    "TurnSnapshot",
    "WaitingSnapshot",
]

UNREADABLE = "unreadable"
"""Stands for the reason or the message type of what cannot be decoded."""


class AgentSnapshot(msgspec.Struct, frozen=True):
    """An id that the file knows. ``oldest`` is the message type of the mail that waits longest; sizes in bytes."""

    agent_id: str
    mail: int
    oldest: str | None
    state_version: int | None
    state_bytes: int | None


class TimerSnapshot(msgspec.Struct, frozen=True):
    """A timer, due at so many seconds since the Unix epoch, and then ``every`` so many seconds if that is not 0."""

    due: float
    agent_id: str
    message_type: str
    every: float


class TurnSnapshot(msgspec.Struct, frozen=True):
    """A turn that is not over, and the answers that it has recorded."""

    turn: str
    records: int
    bytes: int


class GivenSnapshot(msgspec.Struct, frozen=True):
    """An id that a caller gave; the address is empty for an ask of a turn. ``at`` is in seconds since the epoch."""

    address: str
    idempotency_key: str
    at: float
    is_answered: bool


class SharedSnapshot(msgspec.Struct, frozen=True):
    """A shared key, its version and the size of its value."""

    key: str
    version: int
    bytes: int


class Overview(msgspec.Struct, frozen=True):
    """What a file holds. ``totals`` count everything; the lists may be shorter. Sizes in bytes."""

    path: str
    bytes: int
    log_bytes: int
    batch: int
    totals: dict[str, int]
    agents: list[AgentSnapshot]
    timers: list[TimerSnapshot]
    turns: list[TurnSnapshot]
    given: list[GivenSnapshot]
    letters: dict[str, int]
    shared: list[SharedSnapshot]


class WaitingSnapshot(msgspec.Struct, frozen=True):
    """The mail that waits for an agent: how many messages, and their bytes.

    ``unclaimed_since``: the first time at which it waited and the agent was not there, in seconds since the epoch; None
    if the agent was there when the system looked last.
    """

    agent_id: str
    mail: int
    bytes: int
    unclaimed_since: float | None


class MailSnapshot(msgspec.Struct, frozen=True, rename={"sender": "from"}):
    """A message that waits. ``attempts``: the process died so often while it was handled."""

    id: str
    sender: str
    message_type: str
    attempts: int
    content: Any


class AgentMail(msgspec.Struct, frozen=True):
    """An agent's mail, oldest first (``waiting`` counts all), and its state."""

    agent_id: str
    waiting: int
    mail: list[MailSnapshot]
    state_version: int | None
    state_bytes: int | None
    state: Any


class LetterSnapshot(msgspec.Struct, frozen=True, rename={"sender": "from"}):
    """A dead letter: ``agent_id`` is whose mail it was. One that cannot be decoded says so in ``error``."""

    id: int
    agent_id: str
    reason: str
    error: str
    attempts: int = 0
    at: float = 0.0
    message_id: str = ""
    sender: str = ""
    to: str = ""
    message_type: str = UNREADABLE
    content: Any = None
