"""What every replicated type can do, whatever it holds."""

from __future__ import annotations

from typing import Any, Protocol, Self

from moot.state.crdt.version_vector import VersionVector

__all__ = ["CRDT"]


class CRDT(Protocol):
    """A frozen value of which each replica has its own, and which always can be joined with that of another.

    The join is associative, commutative and idempotent: it does not matter in which order, how often or by which way
    values arrive. What changes a value returns a *delta*, a small value of the same type; joining it gives the new
    state, here and everywhere. A replica joins its own deltas before it makes the next one.
    """

    def join(self, other: Self) -> Self:
        """The least value that knows all that either knows.

        Raises:
            TypeError: the other is of another type.
        """
        ...

    @property
    def value(self) -> Any:
        """What a reader sees, as plain Python."""
        ...

    @property
    def digest(self) -> VersionVector:
        """What has been seen here, small enough to be sent often."""
        ...

    def since(self, vector: VersionVector) -> Self:
        """The delta for a peer whose digest is ``vector``; joining it is as good as joining the whole."""
        ...
