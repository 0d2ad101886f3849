"""What the set and the maps share: writes by key, and the causal context that tells a removal from a missing write."""

from __future__ import annotations

from typing import Any, Generic, Self, TypeVar

import msgspec

from moot.state.crdt.causal import CausalContext
from moot.state.crdt.stores import join_stores, since, writes_of
from moot.state.crdt.version_vector import VersionVector, check_same

__all__ = ["Keyed"]

K = TypeVar("K")


class Keyed(msgspec.Struct, Generic[K], frozen=True, omit_defaults=True):
    """Keys with the writes that are still there, of which nothing is kept once they are removed."""

    entries: dict[Any, tuple[Any, ...]] = {}
    context: CausalContext = CausalContext()

    def __contains__(self, key: object) -> bool:
        return key in self.entries

    def __len__(self) -> int:
        return len(self.entries)

    def remove(self, *keys: K) -> Self:
        """The delta that takes ``keys`` out, as far as they are in: all that the writes seen here have done to them."""
        return type(self)({}, CausalContext.of(writes_of(self.entries, keys)))

    def join(self, other: Self) -> Self:
        """The writes that neither has seen overwritten or removed."""
        check_same(self, other)
        entries = join_stores(self.entries, self.context, other.entries, other.context)
        return type(self)(entries, self.context.join(other.context))

    @property
    def digest(self) -> VersionVector:
        """What has been seen without a gap."""
        return self.context.vector

    def since(self, vector: VersionVector) -> Self:
        """The writes that are not in ``vector``, and what is no more."""
        return type(self)(*since(self.entries, self.context, vector))
