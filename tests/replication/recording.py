"""A replicator that writes down its changes, and what the values must show of those that are known.

A change is known by the dot that its delta was given. It is written down with what its writer had seen of the value,
so whatever the network did, the set of changes that a replica has seen says what it must show: an addition stands
unless a removal saw it, a count is a sum, a register keeps the writes that no other write saw.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from moot import AgentContext, Request, handles
from moot.replication import Add, Assign, Change, Decrement, Increment, Put, Remove, Replica, Replicator, Update
from moot.state.crdt import CausalContext


class Made(NamedTuple):
    """A change, and what its writer had seen of its value."""

    change: Change
    seen: CausalContext


Dots = dict[tuple[str, int], Made]
Log = dict[str, Dots]
"""By value, and by the dot of the delta."""


class Peek(Request[Replica]):
    """The state of a replica, as it is."""


class Recorder(Replicator):
    def __init__(self, agent_id: str, peers: tuple[str, ...], log: Log, **options: Any) -> None:
        super().__init__(agent_id, peers, **options)
        self.log = log

    @handles
    async def peek(self, message: Peek, ctx: AgentContext[Replica]) -> Replica:
        return ctx.state

    @handles
    async def update(self, message: Update, ctx: AgentContext[Replica]) -> None:
        seen = ctx.state.held(message.kind, message.name).seen
        before = ctx.state
        await super().update(message, ctx)
        if ctx.state is not before:
            dot = seen.next(before.writer)
            # a turn that fails after this is run again, or its number goes to the next change
            self.log.setdefault(f"{message.kind}:{message.name}", {})[dot.replica, dot.counter] = Made(
                message.change, seen
            )


def known(dots: Dots, seen: CausalContext) -> Dots:
    return {dot: made for dot, made in dots.items() if seen.has(*dot)}


def elements(made: Dots) -> list[Any]:
    """Add wins: in is what was added and not removed by anybody who had seen that."""
    removals = [one for one in made.values() if isinstance(one.change, Remove)]
    inside = {
        element
        for dot, one in made.items()
        if isinstance(one.change, Add)
        for element in one.change.elements
        if not any(element in other.change.elements and other.seen.has(*dot) for other in removals)  # type: ignore[union-attr]
    }
    return sorted(inside, key=str)


def total(made: Dots) -> int:
    ups = sum(one.change.by for one in made.values() if isinstance(one.change, Increment))
    return ups - sum(one.change.by for one in made.values() if isinstance(one.change, Decrement))


def last_writes(made: Dots) -> list[Any]:
    """The writes that no other write saw, in the order of their writers."""
    return [
        one.change.value
        for dot, one in sorted(made.items())
        if isinstance(one.change, Assign) and not any(other.seen.has(*dot) for other in made.values())
    ]


def entries(made: Dots) -> dict[str, set[Any]]:
    """For each key the values that it may have: of the writes that no other write or removal saw."""
    possible: dict[str, set[Any]] = {}
    for dot, one in made.items():
        for key, value in one.change.entries.items() if isinstance(one.change, Put) else ():
            if not any(key in keys_of(other.change) and other.seen.has(*dot) for other in made.values()):
                possible.setdefault(key, set()).add(value)
    return possible


def keys_of(change: Change) -> set[Any]:
    return set(change.entries) if isinstance(change, Put) else set(change.elements)  # type: ignore[union-attr]
