"""The ready queue: the cells that have something to do, in the order in which they run.

In production it is a deque, first in, first out. A simulator draws the next cell.
"""

from __future__ import annotations

from typing import Protocol

from moot.runtime.cell import Cell

__all__ = ["ReadyQueue"]


class ReadyQueue(Protocol):
    """The cells that have something to do. The queue chooses the next one: a seam for a simulator.

    A queue may also have ``turns_per_visit``: how many turns a cell runs in one visit.
    """

    def __len__(self) -> int: ...

    def append(self, cell: Cell, /) -> None:
        """``cell`` became ready."""
        ...

    def popleft(self) -> Cell:
        """The next cell to run."""
        ...
