"""Faults strike by place and count, drawn from the seed: leaving one out moves no other one."""

from __future__ import annotations

import pytest

from moot.testing import Fault, Faults
from moot.testing.simulation.faults import Plan

SOME = Faults(drop=0.3, delay=0.3, duplicate=0.2, crash=0.5)


def struck(faults: Faults, seed: int, places: tuple[str, ...] = ("a>b", "b>a")) -> list[Fault]:
    plan = Plan(faults, seed)
    for name in places:
        place = plan.place(name, faults.in_channels)
        for _ in range(50):
            place.next()
    return plan.struck


def test_the_same_seed_strikes_the_same_places() -> None:
    assert struck(SOME, 1) == struck(SOME, 1)
    assert struck(SOME, 1) != struck(SOME, 2)


def test_places_do_not_depend_on_each_other() -> None:
    both = struck(SOME, 7)

    assert [fault for fault in both if fault.place == "b>a"] == struck(SOME, 7, ("b>a",))


def test_leaving_a_fault_out_moves_no_other() -> None:
    every = struck(SOME, 3)
    kept = every[::3]

    assert struck(SOME.just(kept), 3) == kept
    assert struck(SOME.just(()), 3) == []


def test_a_probability_is_how_often_it_strikes() -> None:
    strikes = sum(len(struck(Faults(drop=0.2), seed, ("a>b",))) for seed in range(200))

    assert 1800 < strikes < 2200


@pytest.mark.parametrize("place", ["agent", "a>b", "room/7>desk 1", "a#1>b@c", "answerer>asker~answers"])
def test_a_fault_is_read_back_from_its_text(place: str) -> None:
    fault = Fault("drop", place, 12)

    assert Fault.parse(str(fault)) == fault
    assert " " not in str(fault)


@pytest.mark.parametrize("text", ["", "drop", "drop@a", "drop@a#x", "explode@a#1"])
def test_a_text_that_is_no_fault_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no fault"):
        Fault.parse(text)


def test_faults_are_read_back_from_their_text() -> None:
    faults = Faults(drop=0.1, crash=0.02, delay=1, delay_for=(0.5, 3))

    assert Faults.parse(str(faults)) == faults
    assert Faults.parse("") == Faults()
    assert str(Faults()) == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [("drop=x", "no fault's probability"), ("fire=0.1", "there is no fault 'fire'"), ("drop=2", "between 0 and 1")],
)
def test_what_is_no_probability_is_said_to_be_none(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Faults.parse(text)


def test_a_range_is_least_first() -> None:
    with pytest.raises(ValueError, match="least first"):
        Faults(delay_for=(3, 1))
