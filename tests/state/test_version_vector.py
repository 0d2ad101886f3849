"""A version vector orders states by what they know; a causal context keeps any set of dots, and contiguous ones for
nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot.state.crdt import CausalContext, Dot, VersionVector

VECTORS = st.dictionaries(st.sampled_from("abc"), st.integers(1, 4)).map(VersionVector)
DOTS = st.sets(st.builds(Dot, st.sampled_from("abc"), st.integers(1, 12)))


def dots_of(vector: VersionVector) -> set[tuple[str, int]]:
    return {(name, number) for name, last in vector.clocks.items() for number in range(1, last + 1)}


@given(a=VECTORS, b=VECTORS)
def test_vectors_compare_as_the_sets_of_their_dots_do(a: VersionVector, b: VersionVector) -> None:
    mine, theirs = dots_of(a), dots_of(b)

    order = a.compare(b)

    assert (order == "equal") == (mine == theirs)
    assert (order == "before") == (mine < theirs)
    assert (order == "after") == (mine > theirs)
    assert (order == "concurrent") == (not mine <= theirs and not mine >= theirs)
    assert dots_of(a.join(b)) == mine | theirs
    assert a.dominates(b) == (mine >= theirs)


def test_the_next_event_is_one_more_and_is_then_seen() -> None:
    vector = VersionVector({"a": 2})

    dot = vector.next("a")
    after = vector.observe(dot)

    assert (dot, vector.next("b")) == (Dot("a", 3), Dot("b", 1))
    assert dot in after
    assert dot not in vector
    assert after["a"] == 3
    assert after["nobody"] == 0
    assert after.observe(Dot("a", 1)) is after
    assert vector.compare(after) == "before"


def test_a_gap_is_refused_by_a_vector() -> None:
    with pytest.raises(ValueError, match="event 5 of 'a' is not the one after 2; observe the events between"):
        VersionVector({"a": 2}).observe(Dot("a", 5))


def test_a_replica_that_never_writes_again_is_forgotten_and_an_unknown_one_is_an_error() -> None:
    vector = VersionVector({"a": 2, "b": 1})

    assert vector.forget("b") == VersionVector({"a": 2})
    with pytest.raises(ValueError, match="unknown replica id 'c'; known are: a, b"):
        vector.forget("c")


@pytest.mark.parametrize(
    ("clocks", "error"),
    [
        ({"a": 0}, ValueError),
        ({"a": -1}, ValueError),
        ({"a": 2**63}, ValueError),
        ({"": 1}, ValueError),
        ({"a": "1"}, TypeError),
        ({"a": True}, TypeError),
        ({1: 1}, TypeError),
        ([1], TypeError),
    ],
)
def test_what_is_no_vector_is_refused(clocks: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        VersionVector(clocks)


@given(a=DOTS, b=DOTS)
def test_a_context_is_the_set_of_its_dots(a: set[Dot], b: set[Dot]) -> None:
    context = CausalContext.of(a)
    both = context.join(CausalContext.of(b))
    every = [Dot(name, number) for name in "abc" for number in range(1, 14)]

    assert {dot for dot in every if both.has(dot.replica, dot.counter)} == a | b
    assert both == CausalContext.of(a | b)
    assert both.without([(dot.replica, dot.counter) for dot in b]) == CausalContext.of(a - b)
    assert len(context) == len(a)
    assert dots_of(context.vector) <= {(dot.replica, dot.counter) for dot in a}
    assert msgspec.json.decode(msgspec.json.encode(both), type=CausalContext) == both


@given(dots=DOTS)
def test_the_vector_of_a_context_is_as_long_as_there_is_no_gap(dots: set[Dot]) -> None:
    vector = CausalContext.of(dots).vector

    assert all(vector.next(name) not in dots for name in "abc")
    assert all(CausalContext.of(dots).next(name) not in dots for name in "abc")


def test_a_gap_that_is_filled_leaves_no_trace() -> None:
    late = CausalContext.of([Dot("a", 1), Dot("a", 3)])

    assert late.seen == {"a": (1, 1, 3, 3)}
    assert late.join(CausalContext.of([Dot("a", 2)])).seen == {"a": (1, 3)}


@pytest.mark.parametrize("runs", [(), (1,), (0, 3), (3, 2), (1, 2, 3, 4), (5, 6, 1, 2), (1, 5, 3, 8), (1, 2, 9, 8)])
def test_runs_that_are_not_in_order_and_apart_are_refused(runs: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="are not the runs of 'a'"):
        CausalContext({"a": runs})
