"""Repeats: an ask that a caller from outside makes again, under an id of its own choosing.

A caller that lost its connection or its patience asks again with the same id. Only the
first goes out: the others wait for it, or are answered from its record. Failures are
not recorded: when the first one fails, the next in line goes out in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from moot.asks import Ask
from moot.errors import DeliveryError

__all__ = ["Repeats"]


class _Record(msgspec.Struct, eq=False):
    """One id at one address: the ask that went out, those that wait for it, and its answer once it is there."""

    leader: Ask[Any] | None
    followers: list[Ask[Any]] = []
    answer: Any = None


class Repeats:
    """Remembers the answers of the last ``window`` ids. ``send(ask)`` lets one go out."""

    def __init__(self, send: Callable[[Ask[Any]], None], window: int = 10_000) -> None:
        self._send = send
        self._window = window
        self._records: dict[tuple[str, str], _Record] = {}

    def __len__(self) -> int:
        return len(self._records)

    def post(self, ask: Ask[Any], given_id: str) -> None:
        """Send an ask, or let it share what was sent before under its id. Raises what sending raises."""
        key = (ask.to, given_id)
        record = self._records.get(key)
        if record is None:
            self._lead(key, ask, _Record(ask))
        elif record.leader is None:
            ask.resolve(record.answer)
        else:
            record.followers.append(ask)

    def _lead(self, key: tuple[str, str], ask: Ask[Any], record: _Record) -> None:
        self._send(ask)
        record.leader = ask
        self._records[key] = record
        self._forget_oldest()
        ask.when_done(lambda ended: self._ended(key, record, ended))

    def _ended(self, key: tuple[str, str], record: _Record, leader: Ask[Any]) -> None:
        followers, record.followers = record.followers, []
        if leader.error is None:
            record.leader, record.answer = None, leader.answer
            for follower in followers:
                follower.resolve(leader.answer)
            return
        del self._records[key]
        for follower in followers:
            if not follower.done:
                try:
                    self.post(follower, key[1])
                except DeliveryError as error:
                    follower.fail(error)

    def _forget_oldest(self) -> None:
        """Keep to the window; what is still under way is not forgotten."""
        surplus = len(self._records) - self._window
        if surplus > 0:
            answered = (key for key, record in self._records.items() if record.leader is None)
            for key in [key for key, _ in zip(answered, range(surplus), strict=False)]:
                del self._records[key]
