"""Values in a map of replicated values: a value taken apart into its writes, and put together from those that stand.

Each write under a key has a dot of the map, so a removal of the key names exactly the writes that it has seen. A set
or a map of plain values is its writes; a register is its last ones. A count is one write for each replica, which holds
all that this replica ever counted under the key: as many writes as changes would grow for ever. A removal of a count
therefore says how much it has seen of each replica's sum, and the map keeps that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from moot.state.crdt.causal import CausalContext, Write
from moot.state.crdt.counters import GCounter, PNCounter
from moot.state.crdt.keyed import Keyed
from moot.state.crdt.registers import LWWRegister, MVRegister
from moot.state.crdt.version_vector import Dot

__all__ = ["COUNTS", "Holds", "Step", "left_of", "placed", "put_together", "step"]

COUNTS = (GCounter, PNCounter)
"""The values of which a removal has to say how much it has seen."""


class Holds(Write, Protocol):
    """A write that holds the value which has just this write."""

    @property
    def value(self) -> Any: ...


class Step(NamedTuple):
    """What a change does: the writes it makes, by their numbers, and the dots of those and of what they end."""

    writes: list[tuple[int, Any]]
    seen: CausalContext


def put_together(updates: Sequence[Holds]) -> Any:
    """The value that has the writes of all ``updates``, which stand in the order of their dots."""
    first = updates[0].value
    if isinstance(first, MVRegister):
        writes = tuple(one for update in updates for one in update.value.writes)
        return MVRegister(writes, CausalContext.of(writes))
    if _is_keyed(first):
        entries: dict[Any, tuple[Any, ...]] = {}
        for update in updates:
            for key, writes in update.value.entries.items():
                entries[key] = entries.get(key, ()) + writes
        return type(first)(entries, CausalContext.of([one for writes in entries.values() for one in writes]))
    for update in updates[1:]:
        first = first.join(update.value)
    return first


def left_of(value: Any, taken: Any) -> Any:
    """A count less what was taken from it; another value as it is."""
    if taken is None:
        return value
    if isinstance(value, GCounter):
        return GCounter(_less(value.counts, taken.counts))
    return PNCounter(_less(value.ups, taken.ups), _less(value.downs, taken.downs))


def placed(value: Any, replica: str, last: int) -> Any:
    """The value as one whose next write by ``replica`` is numbered ``last`` + 1.

    Raises:
        TypeError: a map of replicated values cannot hold it.
    """
    if _is_keyed(value) or isinstance(value, MVRegister):
        before = CausalContext({replica: (last, last)}) if last else CausalContext()
        return msgspec.structs.replace(value, context=value.context.join(before))
    if isinstance(value, (*COUNTS, LWWRegister)):
        return value
    raise TypeError(
        f"an ORMap holds counters, registers, ORSets and LWWMaps, not {type(value).__name__}; "
        "name the parts of a deeper map in its keys, as in 'page/tags'"
    )


def step(before: Any, delta: Any, updates: Sequence[Holds], by: Dot, taken: Any) -> Step:
    """What ``delta`` does to ``before``, the value of ``updates``, when its first write has the dot ``by``.

    Raises:
        ValueError: it has writes of another replica.
    """
    if isinstance(delta, (*COUNTS, LWWRegister)):
        return _step_of_sum(delta, updates, by, taken)
    new = delta.context.minus(before.context)
    singles = _singles(delta)
    _check_writer({*new.seen, *(write.replica for write, _ in singles)}, by)
    over = [one for one in updates if delta.context.has(one.replica, one.counter)]
    return Step([(write.counter, value) for write, value in singles], CausalContext.of(over).join(new))


def _step_of_sum(delta: Any, updates: Sequence[Holds], by: Dot, taken: Any) -> Step:
    """One write, which ends those that it knows more than: of a count the replica's own, of a register all."""
    if delta == type(delta)():
        return Step([], CausalContext())
    if isinstance(delta, LWWRegister):
        _check_writer({delta.stamp.replica} if delta.stamp else {by.replica}, by)
        return Step([(by.counter, delta)], CausalContext.of([*updates, by]))
    names = set(delta.counts) if isinstance(delta, GCounter) else {*delta.ups, *delta.downs}
    _check_writer(names, by)
    own = [one for one in updates if one.replica == by.replica]
    return Step([(by.counter, _raised(delta, taken, by.replica))], CausalContext.of([*own, by]))


def _raised(delta: Any, taken: Any, replica: str) -> Any:
    """A count as the sum of all that ``replica`` ever counted, with what was taken from it."""
    if taken is None:
        return delta
    if isinstance(delta, GCounter):
        return GCounter(_sum(delta.counts, taken.counts, replica))
    return PNCounter(_sum(delta.ups, taken.ups, replica), _sum(delta.downs, taken.downs, replica))


def _sum(counts: dict[str, int], taken: dict[str, int], replica: str) -> dict[str, int]:
    total = counts.get(replica, 0) + taken.get(replica, 0)
    return {replica: total} if total else {}


def _less(counts: dict[str, int], taken: dict[str, int]) -> dict[str, int]:
    return {name: count - taken.get(name, 0) for name, count in counts.items() if count > taken.get(name, 0)}


def _singles(delta: Any) -> list[tuple[Write, Any]]:
    """Each write with the value that has just this one."""
    if isinstance(delta, MVRegister):
        return [(write, MVRegister((write,))) for write in delta.writes]
    return [(write, type(delta)({key: (write,)})) for key, writes in delta.entries.items() for write in writes]


def _is_keyed(value: Any) -> bool:
    """Whether it is a set or a map of plain values (a map of replicated ones has counts of its own to take from)."""
    return isinstance(value, Keyed) and not hasattr(value, "taken")


def _check_writer(names: set[str], by: Dot) -> None:
    if others := sorted(names - {by.replica}):
        raise ValueError(
            f"a change of a map made by {by.replica!r} wrote as {others[0]!r}; write as the name it is given"
        )
