"""Version vectors: what a replica has seen, as one number per replica; and dots, the names of single events.

Each replica numbers its own events 1, 2, 3, …; a *dot* is such a number with its replica. A version vector says of each
replica up to which number all its events are known, so two of them tell whether one state came before another or both
were made without knowledge of each other (D. S. Parker et al., "Detection of Mutual Inconsistency in Distributed
Systems", 1983).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar

import msgspec

__all__ = [
    "NOT_EMPTY",
    "Counter",
    "Dot",
    "Ordering",
    "ReplicaId",
    "VersionVector",
    "check_clocks",
    "check_counter",
    "check_known",
    "check_replica",
    "check_same",
    "larger",
]

LARGEST = 2**63 - 1
"""The largest number that every codec carries."""

NOT_EMPTY = msgspec.Meta(min_length=1)

ReplicaId = Annotated[str, NOT_EMPTY]
Counter = Annotated[int, msgspec.Meta(ge=1, le=LARGEST)]
Ordering = Literal["before", "after", "equal", "concurrent"]

T = TypeVar("T")


class Dot(msgspec.Struct, frozen=True, order=True, array_like=True):
    """The ``counter``-th event of ``replica``."""

    replica: ReplicaId
    counter: Counter


class VersionVector(msgspec.Struct, frozen=True, omit_defaults=True):
    """For each replica the number up to which all its events have been seen; 0 for one that is not listed.

    A value: ``clocks`` is not to be changed in place.
    """

    clocks: dict[ReplicaId, Counter] = {}

    def __post_init__(self) -> None:
        check_clocks(self.clocks)

    def __getitem__(self, replica: str) -> int:
        return self.clocks.get(replica, 0)

    def __contains__(self, dot: Dot) -> bool:
        return dot.counter <= self.clocks.get(dot.replica, 0)

    def next(self, replica: str) -> Dot:
        """The dot of the next event of ``replica``."""
        return Dot(check_replica(replica), check_counter(self[replica] + 1, replica))

    def observe(self, dot: Dot) -> VersionVector:
        """This vector after the event ``dot`` too.

        Raises:
            ValueError: an earlier event of that replica was not seen, which a version vector cannot say.
        """
        if dot in self:
            return self
        if dot.counter != self[dot.replica] + 1:
            raise ValueError(
                f"event {dot.counter} of {dot.replica!r} is not the one after {self[dot.replica]}; "
                "observe the events between, or keep a CausalContext"
            )
        return VersionVector(self.clocks | {dot.replica: dot.counter})

    def join(self, other: VersionVector) -> VersionVector:
        """What has been seen by either."""
        check_same(self, other)
        return VersionVector(larger(self.clocks, other.clocks))

    def dominates(self, other: VersionVector) -> bool:
        """Whether everything that ``other`` has seen has been seen here."""
        check_same(self, other)
        return all(self[replica] >= counter for replica, counter in other.clocks.items())

    def compare(self, other: VersionVector) -> Ordering:
        """Whether this came before or after ``other``, is the same, or was made without knowledge of it."""
        match self.dominates(other), other.dominates(self):
            case True, True:
                return "equal"
            case True, False:
                return "after"
            case False, True:
                return "before"
            case _:
                return "concurrent"

    def forget(self, replica: str) -> VersionVector:
        """This vector without a replica that will never write again, and whose events everyone has seen.

        Raises:
            ValueError: there is no such replica.
        """
        check_known(replica, self.clocks)
        return VersionVector({name: counter for name, counter in self.clocks.items() if name != replica})


def larger(mine: dict[str, int], theirs: dict[str, int]) -> dict[str, int]:
    """The larger number of each replica."""
    return mine | {replica: counter for replica, counter in theirs.items() if counter > mine.get(replica, 0)}


def check_replica(replica: Any) -> str:
    """``replica``, if it can be a replica's id."""
    if not isinstance(replica, str):
        raise TypeError(f"a replica id is text, not {type(replica).__name__}; give each replica a name of its own")
    if not replica:
        raise ValueError("a replica id is not empty; give each replica a name of its own")
    return replica


def check_counter(counter: Any, replica: str, least: int = 1) -> int:
    """``counter``, if it can be a number of ``replica``."""
    if not isinstance(counter, int) or isinstance(counter, bool):
        raise TypeError(f"the counter of {replica!r} is a whole number, not {type(counter).__name__}; send an int")
    if not least <= counter <= LARGEST:
        raise ValueError(f"the counter of {replica!r} is {counter}; it must lie between {least} and {LARGEST}")
    return counter


def check_clocks(clocks: Any) -> None:
    """Refuse what is not a map of replica ids to positive numbers."""
    if not isinstance(clocks, dict):
        raise TypeError(f"clocks are a dict of replica ids to counters, not {type(clocks).__name__}")
    for replica, counter in clocks.items():
        check_counter(counter, check_replica(replica))


def check_known(replica: str, known: Iterable[str]) -> None:
    """Refuse a replica that is not among ``known``."""
    names = sorted(known)
    if check_replica(replica) not in names:
        raise ValueError(f"unknown replica id {replica!r}; known are: {', '.join(names) or 'none'}")


def check_same(mine: T, theirs: Any) -> T:
    """``theirs``, if it is of the type of ``mine``: only values of one type can be joined."""
    if type(theirs) is not type(mine):
        raise TypeError(
            f"a {type(mine).__name__} cannot be joined or compared with a {type(theirs).__name__}; "
            "decode it with the type that it was made with"
        )
    return theirs
