"""A replicator that writes down its changes, and what the values must show of those that are known.

A change is known by the dot that its delta was given. It is written down with the value before and after it, which
say what its writer saw, also of changes that have come in part. So whatever the network did, the set of changes that
a replica has seen says what it must show: an addition stands unless a removal or another saw it, a count is a sum, a
register keeps the writes that no other write saw.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from moot import AgentContext, Request, handles
from moot.replication import Add, Assign, Change, Decrement, Increment, Put, Replica, Replicator, Update
from moot.replication.replica import read_back
from moot.state.crdt import CausalContext, Dot


class Made(NamedTuple):
    """A change, and the value before and after it."""

    change: Change
    before: Any
    after: Any

    def saw(self, writes: tuple[Any, ...]) -> bool:
        """Whether its writer had seen the last of ``writes``, which stood after another change."""
        return bool(self.before.context.has(writes[-1].replica, writes[-1].counter))


Dots = dict[tuple[str, int], Made]
Log = dict[str, Dots]
"""By value, and by the dot of the delta."""


class Peek(Request[bytes]):
    """The state of a replica, as it is stored; see `read`."""


def read(body: bytes) -> Replica:
    return read_back(msgspec.msgpack.decode(body, type=Replica))


class Recorder(Replicator):
    def __init__(self, agent_id: str, peers: tuple[str, ...], log: Log, **options: Any) -> None:
        super().__init__(agent_id, peers, **options)
        self.log = log

    @handles
    async def peek(self, message: Peek, ctx: AgentContext[Replica]) -> bytes:
        return msgspec.msgpack.encode(ctx.state)

    @handles
    async def update(self, message: Update, ctx: AgentContext[Replica]) -> None:
        before = ctx.state
        held = before.held(message.kind, message.name)
        await super().update(message, ctx)
        if ctx.state is not before:
            made = Made(message.change, held.value, ctx.state.held(message.kind, message.name).value)
            # a turn that fails after this is run again, or its number goes to the next change
            note(self.log, f"{message.kind}:{message.name}", held.seen.next(before.writer), made)


def note(log: Log, key: str, dot: Dot, made: Made) -> None:
    log.setdefault(key, {})[dot.replica, dot.counter] = made


def known(dots: Dots, seen: CausalContext) -> Dots:
    return {dot: made for dot, made in dots.items() if seen.has(*dot)}


def elements(made: Dots) -> list[Any]:
    """Add wins: in is what was added, and neither removed nor added again by anybody who had seen that."""
    inside = {
        element
        for one in made.values()
        if isinstance(one.change, Add)
        for element in one.change.elements
        if not any(
            element in keys_of(other.change) and other.saw(one.after.entries[element]) for other in made.values()
        )
    }
    return sorted(inside, key=str)


def total(made: Dots) -> int:
    ups = sum(one.change.by for one in made.values() if isinstance(one.change, Increment))
    return ups - sum(one.change.by for one in made.values() if isinstance(one.change, Decrement))


def last_writes(made: Dots) -> list[Any]:
    """The writes that no other write saw, in the order of their writers."""
    return [
        one.change.value
        for _, one in sorted(made.items())
        if isinstance(one.change, Assign) and not any(other.saw(one.after.writes) for other in made.values())
    ]


def entries(made: Dots) -> dict[str, set[Any]]:
    """For each key the values that it may have: of the writes that no other write or removal saw."""
    possible: dict[str, set[Any]] = {}
    for one in made.values():
        for key, value in one.change.entries.items() if isinstance(one.change, Put) else ():
            if not any(key in keys_of(other.change) and other.saw(one.after.entries[key]) for other in made.values()):
                possible.setdefault(key, set()).add(value)
    return possible


def keys_of(change: Change) -> set[Any]:
    return set(change.entries) if isinstance(change, Put) else set(change.elements)  # type: ignore[union-attr]
