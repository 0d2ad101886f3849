"""Unread mail: messages that only the file has, known by their numbers until somebody reads them.

A number takes eight bytes. So a file with a gigabyte of mail opens in a few megabytes, and an
agent that works through a gigabyte of its own has a page of it in memory at a time.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from moot.backends.base import Unread
from moot.backends.sqlite.schema import connect_readonly

__all__ = ["UnreadMail", "UnreadQueue"]

_PAGE = 256
_PAGE_BYTES = 1 << 16
_SPENT = 4096

_Row = tuple[Any, ...]


class UnreadQueue:
    """The unread mail of one agent: numbers in order, of which those before ``first`` are read; their bytes.

    ``marks``: up to which number it was unclaimed at which time.
    """

    __slots__ = ("bytes", "first", "marks", "mids")

    def __init__(self) -> None:
        self.mids: array[int] = array("q")
        self.first = 0
        self.bytes = 0
        self.marks: deque[tuple[int, float]] = deque()

    def __len__(self) -> int:
        return len(self.mids) - self.first

    def page(self, up_to: int | None) -> array[int]:
        """The numbers that come next, none above ``up_to``."""
        mids = self.mids[self.first : self.first + _PAGE]
        if up_to is not None:
            while mids and mids[-1] > up_to:
                mids.pop()
        return mids

    def advance(self, count: int, size: int) -> None:
        """So many have been read."""
        self.first += count
        self.bytes -= size
        if self.first >= _SPENT and self.first * 2 >= len(self.mids):
            del self.mids[: self.first]
            self.first = 0

    def marked(self, before: float) -> int | None:
        """The last number that was unclaimed at ``before`` or earlier."""
        return max((mid for mid, at in self.marks if at <= before), default=None)

    def passed(self) -> int | None:
        """Forget the marks of what has been read; the last number of them, None if there were none."""
        last = None
        while self.marks and (not self or self.marks[0][0] < self.mids[self.first]):
            last, _ = self.marks.popleft()
        return last


class UnreadMail(Mapping[str, Unread]):
    """The unread mail of all agents of the file at ``path``, which is read by a connection of its own."""

    def __init__(self, path: Path, queues: dict[str, UnreadQueue]) -> None:
        self._path = path
        self._queues = queues
        self.connection: sqlite3.Connection | None = None

    def __len__(self) -> int:
        return len(self._queues)

    def __iter__(self) -> Iterator[str]:
        return iter(self._queues)

    def __getitem__(self, agent_id: str) -> Unread:
        queue = self._queues[agent_id]
        times = [at for _, at in queue.marks]
        return Unread(len(queue), queue.bytes, min(times, default=None), max(times, default=None))

    def add(self, agent_id: str, mid: int, size: int) -> None:
        """One more is unread."""
        queue = self._queues.get(agent_id)
        if queue is None:
            queue = self._queues[agent_id] = UnreadQueue()
        queue.mids.append(mid)
        queue.bytes += size

    def put_back(self, agent_id: str, mids: list[int], size: int) -> None:
        """These were read, or never unread, and are unread now."""
        queue = self._queues.setdefault(agent_id, UnreadQueue())
        queue.mids = array("q", sorted([*mids, *queue.mids[queue.first :]]))
        queue.first = 0
        queue.bytes += size

    def mark(self, agent_id: str, at: float) -> int | None:
        """All that is unread now was unclaimed at ``at``; the last number, None if it is marked already."""
        queue = self._queues.get(agent_id)
        if queue is None:
            return None
        mid = queue.mids[-1]
        if queue.marks and queue.marks[-1][0] == mid:
            return None  # and of one message the first mark counts
        queue.marks.append((mid, at))
        return mid

    def claim(self, agent_id: str) -> int | None:
        """Forget the marks; the last number that had one, None if none had."""
        queue = self._queues.get(agent_id)
        if queue is None or not queue.marks:
            return None
        last = max(mid for mid, _ in queue.marks)
        queue.marks.clear()
        return last

    def read(
        self, agent_id: str, before: float | None, pending: Iterable[Mapping[int, _Row]]
    ) -> tuple[list[_Row], int | None]:
        """The rows of the next page, and the last number whose mark is needed no more; None if none is.

        Rows that are not in the file yet are in one of ``pending``.

        Raises:
            sqlite3.Error, OSError, BackendError: the file cannot be read; what is unread stays so.
        """
        queue = self._queues.get(agent_id)
        if queue is None:
            return [], None
        up_to = queue.marked(before) if before is not None else None
        if before is not None and up_to is None:
            return [], None
        mids = queue.page(up_to)
        held = {mid: rows[mid] for rows in pending for mid in mids if mid in rows}
        found, count, size = self._rows(mids, held)
        queue.advance(count, size)
        passed = queue.passed()
        if not queue:
            del self._queues[agent_id]
        return found, passed

    def _rows(self, mids: array[int], held: dict[int, _Row]) -> tuple[list[_Row], int, int]:
        """Rows up to the size of a page, of how many numbers, and their bytes."""
        wanted = [mid for mid in mids if mid not in held]
        stored = self._stored(wanted)
        row = next(stored, None)
        rows: list[_Row] = []
        size = 0
        for count, mid in enumerate(mids):
            if rows and size >= _PAGE_BYTES:
                return rows, count, size
            if mid in held:
                rows.append(held[mid])
            elif row is not None and row[0] == mid:
                rows.append(row)
                row = next(stored, None)
            else:
                continue  # somebody has taken it out of the file
            size += len(rows[-1][-1])
        return rows, len(mids), size

    def _stored(self, mids: list[int]) -> Iterator[_Row]:
        if not mids:
            return
        if self.connection is None:
            self.connection = connect_readonly(self._path)
        places = ", ".join("?" * len(mids))
        query = f"SELECT * FROM mail WHERE mid IN ({places}) ORDER BY mid"  # noqa: S608 - question marks
        cursor = self.connection.execute(query, mids)
        try:
            yield from cursor
        finally:
            cursor.close()  # else the log could not be used again

    def close(self) -> None:
        """Let go of the file."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()
