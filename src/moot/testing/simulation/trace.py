"""The trace of a simulation: what happened, in order, and a digest of all of it.

Two runs are the same when their digests are. An event holds nothing that differs
between processes: no address, no hash, no real time.
"""

from __future__ import annotations

import hashlib
from collections import deque

import msgspec

__all__ = ["Event", "Trace"]

_KEPT = 2_000
_HASHED_TOGETHER = 512


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One thing that happened: at ``time`` virtual seconds, ``what`` to a message on its way to ``agent``."""

    time: float
    what: str
    sender: str
    agent: str
    message_type: str
    sequence: int
    attempt: int = 0

    def __str__(self) -> str:
        again = f", run {self.attempt}" if self.attempt > 1 else ""
        way = f"{self.sender} -> {self.agent}"
        return f"{self.time:12.6f}  {way}  {self.message_type} #{self.sequence}  {self.what}{again}"


class Trace:
    """Keeps the newest events, and hashes all. ``turns`` counts the runs of handlers that ended."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque(maxlen=_KEPT)
        self.turns = 0
        self._new: list[Event] = []
        self._hash = hashlib.blake2b(digest_size=16)
        self._encode = msgspec.msgpack.Encoder().encode

    def add(self, event: Event) -> None:
        """One more."""
        self._new.append(event)
        if len(self._new) >= _HASHED_TOGETHER:
            self._flush()

    def digest(self) -> str:
        """The digest of all events so far."""
        self._flush()
        return self._hash.hexdigest()

    def _flush(self) -> None:
        for event in self._new:
            self._hash.update(self._encode(event))
        self.events.extend(self._new)
        self._new.clear()
