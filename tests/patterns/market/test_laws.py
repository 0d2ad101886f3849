"""The laws of auction theory hold: truth is best under Vickrey, and kinds that should be equal are.

Most of them run on the pure rule, `allocate`; that whole auctions do the same is shown on fewer of them.
"""

from __future__ import annotations

import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moot.patterns.market import (
    AnyAuction,
    Award,
    Bidder,
    Dutch,
    English,
    FirstPrice,
    Offer,
    Vickrey,
    allocate,
    registered,
    shaded,
    truthful,
)
from tests.patterns.market import bidding

MILLION = 1_000_000
NAMES = ["ann", "bob", "cid", "dee", "eve"]


def bids(most: int = 30) -> st.SearchStrategy[dict[str, int]]:
    return st.dictionaries(st.sampled_from(NAMES), st.integers(0, most), max_size=5)


def profit(value: int, award: Award | None) -> int:
    return value - award.price if award is not None and award.bidder == "me" else 0


def test_no_deviation_from_the_truth_is_profitable_in_a_vickrey_auction() -> None:
    choice = random.Random(1)
    profitable = 0
    for _ in range(20_000):
        most = choice.choice([10, 1000])  # with few values there are many ties
        weights = [choice.choice([1000, 1000, 500, 1333, 2000]) for _ in range(choice.randint(2, 6))]
        others = [Offer(f"rival {n}", choice.randint(0, most), weight) for n, weight in enumerate(weights[1:])]
        value, reserve = choice.randint(0, most), choice.choice([0, choice.randint(0, most)])
        lie = max(0, choice.choice([choice.randint(0, most), value + choice.randint(-2, 2)]))

        honest = allocate([Offer("me", value, weights[0]), *others], reserve=reserve, pays="second")
        lying = allocate([Offer("me", lie, weights[0]), *others], reserve=reserve, pays="second")

        assert profit(value, honest) >= 0
        profitable += profit(value, lying) > profit(value, honest)

    assert profitable == 0


def test_a_first_price_bidder_gains_by_shading() -> None:
    """The counterpart: the measure above sees a profitable deviation where there is one."""
    others = [Offer("rival", 40)]

    assert profit(100, allocate([Offer("me", 50), *others])) > profit(100, allocate([Offer("me", 100), *others]))


def test_first_price_and_vickrey_bring_the_seller_the_same() -> None:
    """Five bidders, values uniform on [0, 1]: (n-1)/(n+1) = 0.667 (Vickrey 1961; Myerson 1981)."""
    choice = random.Random(2)
    first: list[int] = []
    second: list[int] = []
    for _ in range(100_000):
        values = [choice.randrange(MILLION) for _ in range(5)]
        plan = shaded(5)
        own = allocate([Offer(str(n), plan(value)) for n, value in enumerate(values)])
        other = allocate([Offer(str(n), truthful(value)) for n, value in enumerate(values)], pays="second")
        assert own is not None
        assert other is not None
        first.append(own.price)
        second.append(other.price)

    assert fmean(first) / MILLION == pytest.approx(2 / 3, abs=0.002)
    assert fmean(second) / MILLION == pytest.approx(2 / 3, abs=0.002)


def test_the_best_reserve_brings_five_twelfths_from_two_bidders() -> None:
    """Two bidders, uniform on [0, 1]: the best reserve is 1/2 and brings 5/12 (Myerson 1981; Riley, Samuelson 1981)."""
    choice = random.Random(3)
    prices: list[int] = []
    for _ in range(150_000):
        offers = [Offer("a", choice.randrange(MILLION)), Offer("b", choice.randrange(MILLION))]
        award = allocate(offers, reserve=MILLION // 2, pays="second")
        prices.append(award.price if award else 0)

    assert fmean(prices) / MILLION == pytest.approx(5 / 12, abs=0.003)


@given(bids(), st.integers(1, 7), st.integers(0, 20), st.integers(0, 99))
def test_an_english_auction_ends_within_one_increment_of_vickrey(
    values: dict[str, int], increment: int, reserve: int, seed: int
) -> None:
    rising = bidding.english(English("lot", lasts=60, increment=increment, reserve=reserve), values, seed).outcome
    sealed = bidding.sealed(Vickrey("lot", lasts=60, reserve=reserve), values).outcome
    assert rising is not None
    assert sealed is not None

    assert (rising.winner is None) == (sealed.winner is None)
    assert abs(rising.price - sealed.price) <= increment
    if rising.winner is not None:
        assert values[rising.winner] > max(values.values()) - increment


@given(bids(), st.integers(1, 5), st.integers(0, 10), st.integers(0, 1000))
def test_a_dutch_auction_is_a_first_price_auction(plans: dict[str, int], step: int, reserve: int, seed: int) -> None:
    on_clock = {name: reserve + step * plan for name, plan in plans.items()}

    clock = Dutch("lot", start=reserve + step * 30, step=step, every=0.1, reserve=reserve, seed=seed)
    first = FirstPrice("lot", lasts=60, reserve=reserve, seed=seed)

    assert bidding.dutch(clock, on_clock).outcome == bidding.sealed(first, on_clock).outcome


@given(bids(), st.integers(0, 20), st.integers(0, 1000), st.sampled_from([FirstPrice, Vickrey]), st.booleans())
def test_a_whole_auction_awards_as_the_rule_says(
    amounts: dict[str, int], reserve: int, seed: int, kind: type[FirstPrice | Vickrey], is_committed: bool
) -> None:
    weights = {name: Bidder(weight=500 + 250 * place) for place, name in enumerate(NAMES)}
    rules = kind(
        "lot", lasts=60, reserve=reserve, seed=seed, bidders=weights, reveal_within=5 if is_committed else None
    )

    ended: AnyAuction = (bidding.committed if is_committed else bidding.sealed)(rules, amounts)

    offers = [Offer(name, amount, weights[name].weight) for name, amount in amounts.items()]
    assert ended.stage == "closed"
    assert ended.award == allocate(offers, reserve=reserve, pays=kind.pays, tie=rules.tie)


@given(st.sets(st.sampled_from(NAMES), min_size=2), st.integers())
def test_a_tie_depends_on_the_seed_and_not_on_who_was_first(names: set[str], seed: int) -> None:
    rules = FirstPrice("lot", lasts=60, seed=seed)

    forth = bidding.sealed(rules, dict.fromkeys(sorted(names), 7)).outcome
    back = bidding.sealed(rules, dict.fromkeys(sorted(names, reverse=True), 7)).outcome

    assert forth == back


def test_every_equal_bidder_wins_a_tie_for_some_seed() -> None:
    winners = [
        bidding.sealed(FirstPrice("lot", lasts=60, seed=seed), dict.fromkeys(NAMES, 7)).outcome for seed in range(500)
    ]

    shares = {name: sum(outcome is not None and outcome.winner == name for outcome in winners) for name in NAMES}
    assert all(60 <= share <= 140 for share in shares.values()), shares


def test_a_weight_ranks_a_bid_and_the_price_is_the_least_that_would_have_won() -> None:
    offers = [Offer("trusted", 80, 1500), Offer("new", 100)]

    assert allocate(offers) == Award("trusted", 80, 80)
    assert allocate(offers, pays="second") == Award("trusted", 67, 80)  # 66 * 1.5 is below 100
    assert registered(["ann"], lambda name: 1.5) == {"ann": Bidder(None, 1500)}
