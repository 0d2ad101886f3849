"""A set that many replicas add to and remove from, without tombstones.

A removal takes away the additions that it has seen. One made elsewhere at the same time was not seen, so it stays: add
wins. What is kept is one dot for each replica that added an element still there, and the causal context, which does not
grow as long as events arrive without gaps.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Annotated, Generic, TypeVar

from moot.state.crdt.causal import CausalContext
from moot.state.crdt.keyed import Keyed
from moot.state.crdt.version_vector import NOT_EMPTY, Dot

__all__ = ["ORSet"]

T = TypeVar("T", bound=Hashable)


class ORSet(Keyed[T], Generic[T], frozen=True, omit_defaults=True):
    """A set in which a removal and an addition made at the same time leave the element in.

    Elements are map keys on the wire: text goes everywhere, numbers need ``ORSet[int]`` to be read from JSON.
    """

    entries: dict[T, Annotated[tuple[Dot, ...], NOT_EMPTY]] = {}

    @property
    def value(self) -> frozenset[T]:
        """The elements."""
        return frozenset(self.entries)

    def add(self, replica: str, *elements: T) -> ORSet[T]:
        """The delta that puts ``elements`` in; many in one call cost little more than one."""
        first = self.context.next(replica)
        here = self.entries
        entries: dict[T, tuple[Dot, ...]] = {}
        dots: list[Dot] = []
        for element in elements:
            if element in entries:
                continue
            dot = Dot(replica, first.counter + len(entries)) if entries else first
            entries[element] = (dot,)
            dots.append(dot)
            if element in here:
                dots += here[element]
        return ORSet(entries, CausalContext.of(dots))
