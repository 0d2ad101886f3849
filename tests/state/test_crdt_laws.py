"""Replicated values obey the laws of a join-semilattice, and show what their events say, whatever the network does."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .histories import ALL, STEPS, Kind, Last, Several, World


def name(kind: Kind) -> str:
    return type(kind).__name__


def law(kinds: list[Kind], *, examples: int, **more: Any) -> Callable[[Callable[..., None]], Any]:
    """A test of each kind, for histories of some replicas."""

    def of_each(test: Callable[..., None]) -> Any:
        tried = settings(max_examples=examples)(given(count=st.integers(3, 5), steps=STEPS, **more)(test))
        return pytest.mark.parametrize("kind", kinds, ids=name)(tried)

    return of_each


def joined(parts: list[Any], empty: Any) -> Any:
    return reduce(lambda left, right: left.join(right), parts, empty)


def history(kind: Kind, count: int, steps: list[tuple[str, int, int, int]]) -> tuple[World, list[Any]]:
    """The world after the steps, and the values met on the way."""
    world = World(kind, count)
    met = [world.states[world.step(*step)] for step in steps]
    return world, [kind.empty, *met, *world.deltas]


@law(ALL, examples=300)
def test_a_replica_always_shows_what_the_events_say_that_reached_it(kind: Kind, count: int, steps: list[Any]) -> None:
    world = World(kind, count)

    for step in steps:
        here = world.step(*step)

        assert world.states[here].value == kind.model(world.events, world.seen[here])


@law(ALL, examples=200, data=st.data())
def test_the_join_is_associative_commutative_and_idempotent(
    kind: Kind, count: int, steps: list[Any], data: st.DataObject
) -> None:
    _, met = history(kind, count, steps)

    a, b, c = (met[data.draw(st.integers(0, len(met) - 1))] for _ in range(3))

    assert a.join(a) == a
    assert a.join(b) == b.join(a)
    assert a.join(b).join(a) == a.join(b)
    assert {encoded(x.join(y).join(z)) for x, y, z in permutations((a, b, c))} == {encoded(a.join(b.join(c)))}
    assert kind.empty.join(a) == a


@law(ALL, examples=200, data=st.data())
def test_all_deltas_in_any_order_give_what_the_whole_states_give(
    kind: Kind, count: int, steps: list[Any], data: st.DataObject
) -> None:
    world, _ = history(kind, count, steps)
    twice = data.draw(st.permutations([*world.deltas, *world.deltas]))

    whole = joined(world.states, kind.empty)

    assert joined(twice, kind.empty) == whole
    assert joined(world.states[::-1], kind.empty) == whole
    assert [state.join(whole).value for state in world.states] == [whole.value] * count


@law(ALL, examples=150, data=st.data())
def test_a_delta_since_a_digest_is_as_good_as_the_whole(
    kind: Kind, count: int, steps: list[Any], data: st.DataObject
) -> None:
    _, met = history(kind, count, steps)

    a, b = (met[data.draw(st.integers(0, len(met) - 1))] for _ in range(2))

    assert a.join(b.since(a.digest)) == a.join(b)
    assert a.join(a.since(a.digest)) == a


@law(ALL, examples=50)
def test_a_value_comes_back_equal_from_msgpack_and_json(kind: Kind, count: int, steps: list[Any]) -> None:
    _, met = history(kind, count, steps)

    for value in met:
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=kind.type) == value
        assert msgspec.json.decode(msgspec.json.encode(value), type=kind.type) == value


@settings(max_examples=200)
@given(count=st.integers(3, 5), steps=STEPS)
def test_a_multi_value_register_keeps_exactly_the_writes_that_no_write_knew_of(count: int, steps: list[Any]) -> None:
    world, _ = history(Several(), count, steps)
    before: dict[int, frozenset[int]] = {}
    for number, event in world.events.items():
        before[number] = event.seen.union(*(before[one] for one in event.seen))

    kept = joined(world.states, Several.empty).value

    known = frozenset[int]().union(*before.values())
    assert sorted(kept) == sorted(set(world.events) - known)


@settings(max_examples=100)
@given(count=st.integers(3, 5), steps=STEPS)
def test_a_write_is_stamped_after_all_that_its_writer_saw_in_the_register(count: int, steps: list[Any]) -> None:
    world, _ = history(Last(), count, steps)
    stamps = [(event.time, event.replica) for event in world.events.values()]

    assert len(set(stamps)) == len(stamps)
    for number, event in world.events.items():
        assert all(stamps[one] < stamps[number] for one in event.seen)


def encoded(value: Any) -> bytes:
    """Equal values have equal bytes when maps are written in order."""
    return msgspec.msgpack.encode(value, order="deterministic")
