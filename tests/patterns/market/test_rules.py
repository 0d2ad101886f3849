"""What an auction takes and what it refuses, and why; what its stages lead to."""

from __future__ import annotations

from typing import Any

import pytest

from moot.patterns.market import (
    AnyAuction,
    Bid,
    Bidder,
    Close,
    Commit,
    Confirm,
    Dutch,
    English,
    Event,
    FirstPrice,
    Outcome,
    Refused,
    Reveal,
    Tick,
    Vickrey,
    Withdraw,
    open_auction,
    registered,
    seal,
)
from moot.patterns.market.kinds import AnyRules
from moot.patterns.market.refusals import BelowAsking, OverBudget
from tests.patterns.market.bidding import SALT, fold

RISING = English("lot", seller="sue", lasts=60, increment=5, reserve=100)
KNOWN = English("lot", lasts=60, bidders={"ann": Bidder(500), "bob": Bidder()})
CLOCK = Dutch("lot", start=300, step=50, every=10, reserve=100)
TOLD = FirstPrice("lot", lasts=60, reserve=100)
COMMITTED = Vickrey("lot", lasts=60, reserve=100, reveal_within=30, deposit=9)
SEAL = seal("lot", "ann", 120, SALT)

REFUSED: list[tuple[AnyRules, list[tuple[float, Event]], float, Event, str]] = [
    (RISING, [], 0, Bid("ann", 99), "below_asking"),
    (RISING, [(0, Bid("bob", 120))], 1, Bid("ann", 124), "below_asking"),
    (RISING, [], 60, Bid("ann", 200), "too_late"),
    (RISING, [(60, Tick())], 61, Bid("ann", 200), "too_late"),
    (RISING, [], 0, Bid("ann", 120.5), "invalid_amount"),  # type: ignore[arg-type]
    (RISING, [], 0, Bid("ann", True), "invalid_amount"),
    (RISING, [], 0, Bid("ann", -1), "invalid_amount"),
    (RISING, [], 0, Bid("ann", 10**30), "invalid_amount"),
    (RISING, [], 0, Bid("", 120), "unknown_bidder"),
    (RISING, [], 0, Bid("sue", 120), "unknown_bidder"),
    (RISING, [], 0, Commit("ann", SEAL), "wrong_stage"),
    (RISING, [], 0, Confirm("ann"), "not_the_winner"),
    (RISING, [], 0, Withdraw("ann"), "unknown_bidder"),
    (RISING, [(0, Bid("ann", 120))], 1, Withdraw("ann"), "not_withdrawable"),
    (RISING, [], 0, Close("ann"), "not_the_seller"),
    (RISING, [(5, Close("sue"))], 6, Close("sue"), "too_late"),
    (KNOWN, [], 0, Bid("eve", 120), "unknown_bidder"),
    (KNOWN, [], 0, Bid("ann", 501), "over_budget"),
    (CLOCK, [], 9, Bid("ann", 299), "below_asking"),
    (CLOCK, [(0, Bid("ann", 300))], 5, Bid("ann", 300), "already_bid"),
    (CLOCK, [(0, Bid("ann", 300))], 10, Bid("bob", 300), "too_late"),
    (CLOCK, [], 0, Commit("ann", SEAL), "wrong_stage"),
    (TOLD, [(0, Bid("ann", 120))], 1, Bid("ann", 130), "already_bid"),
    (TOLD, [], 0, Bid("ann", 99), "below_asking"),
    (TOLD, [], 0, Commit("ann", SEAL), "wrong_stage"),
    (COMMITTED, [], 0, Bid("ann", 120), "wrong_stage"),
    (COMMITTED, [], 0, Reveal("ann", 120, SALT), "wrong_stage"),
    (COMMITTED, [], 0, Commit("ann", "rubbish"), "seal_broken"),
    (COMMITTED, [(0, Commit("ann", SEAL))], 1, Commit("ann", SEAL), "already_bid"),
    (COMMITTED, [(0, Commit("ann", SEAL)), (60, Tick())], 61, Reveal("ann", 121, SALT), "seal_broken"),
    (COMMITTED, [(0, Commit("ann", SEAL)), (60, Tick())], 61, Reveal("ann", 120, SALT[::-1]), "seal_broken"),
    (COMMITTED, [(0, Commit("ann", SEAL)), (60, Tick())], 61, Reveal("bob", 120, SALT), "nothing_sealed"),
    (COMMITTED, [(0, Commit("bob", SEAL)), (60, Tick())], 61, Reveal("bob", 120, SALT), "seal_broken"),  # a copy
    (COMMITTED, [(0, Commit("ann", SEAL)), (60, Tick())], 90, Reveal("ann", 120, SALT), "too_late"),
    (COMMITTED, [(0, Commit("ann", SEAL)), (60, Tick())], 61, Commit("bob", SEAL), "too_late"),
]


@pytest.mark.parametrize(("rules", "before", "at", "event", "reason"), REFUSED)
def test_it_says_why_it_refuses(
    rules: AnyRules, before: list[tuple[float, Event]], at: float, event: Event, reason: str
) -> None:
    auction = fold(open_auction(rules), *before)

    with pytest.raises(Refused) as refused:
        auction.apply(event, at)

    assert refused.value.reason == reason
    assert refused.value.auction == "lot"
    assert type(refused.value).__name__ in Refused.__subclasses__().__repr__()


def test_a_refusal_carries_its_facts() -> None:
    with pytest.raises(BelowAsking) as below:
        open_auction(RISING).apply(Bid("ann", 1), 0)
    with pytest.raises(OverBudget) as over:
        open_auction(KNOWN).apply(Bid("ann", 900), 0)

    assert (below.value.amount, below.value.asking) == (1, 100)
    assert (over.value.amount, over.value.budget) == (900, 500)


def test_time_does_not_run_backwards() -> None:
    auction = open_auction(RISING, 10).apply(Bid("ann", 100), 20)

    for at in (19.9, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="nothing can happen"):
            auction.apply(Bid("bob", 200), at)


def outcome(auction: AnyAuction) -> Outcome:
    assert auction.outcome is not None
    return auction.outcome


def test_a_bid_in_the_last_seconds_extends_the_close() -> None:
    rules = English("lot", lasts=60, snipe_within=10, extend_by=15)

    early = fold(open_auction(rules), (49.5, Bid("ann", 1)))
    late = fold(early, (59, Bid("bob", 2)))

    assert (early.deadline, late.deadline) == (60, 74)
    assert open_auction(rules).apply(Bid("ann", 1), 50).deadline == 65
    assert outcome(fold(late, (73, Bid("ann", 3)), (88, Tick()))).winner == "ann"


def test_a_withdrawn_leader_leaves_the_lot_to_the_next_and_bids_no_more() -> None:
    rules = English("lot", lasts=60, withdrawable=10)
    auction = fold(open_auction(rules), (0, Bid("ann", 5)), (1, Bid("bob", 9)), (50, Withdraw("bob")))

    with pytest.raises(Refused, match="out of this auction"):
        auction.apply(Bid("bob", 50), 51)
    with pytest.raises(Refused, match="taken back up to 10 s before"):
        auction.apply(Withdraw("ann"), 51)
    assert outcome(auction.apply(Tick(), 60)) == Outcome("lot", "ann", 5, 5)


def test_a_dutch_clock_falls_to_the_reserve_and_closes_unsold() -> None:
    auction = open_auction(CLOCK)

    assert [auction.asking("ann", at) for at in (0, 9.9, 10, 35, 49)] == [300, 300, 250, 150, 100]
    assert auction.deadline == 50
    assert outcome(auction.apply(Tick(), 50)).winner is None


def test_who_takes_it_pays_what_the_clock_shows() -> None:
    auction = fold(open_auction(CLOCK), (12, Bid("ann", 999)), (20, Tick()))

    assert outcome(auction) == Outcome("lot", "ann", 250, 250)


def test_steps_of_a_tenth_of_a_second_are_not_lost_to_rounding() -> None:
    rules = Dutch("lot", start=100, step=1, every=0.1)

    for opened_at in (0.0, 0.3, 1_700_000_000.123):
        for step in range(100):
            assert rules.shown(opened_at, opened_at + step * 0.1) == 100 - step


@pytest.mark.parametrize("opened_at", [0.0, 1.7e9, 1e12, 1e300])
def test_a_clock_of_any_step_says_when_it_moves(opened_at: float) -> None:
    rules = Dutch("lot", start=100, step=1, every=0.001)
    auction = open_auction(rules, opened_at)

    for at in (opened_at, opened_at * 1.5, 1e300):
        assert rules.changes_at(auction, at) >= at
        assert rules.asking(auction, at) <= 100


def test_who_does_not_reveal_is_a_no_show_and_loses_its_deposit() -> None:
    auction = fold(
        open_auction(COMMITTED),
        (0, Commit("ann", SEAL)),
        (1, Commit("bob", seal("lot", "bob", 999, SALT))),
        (60, Tick()),
        (61, Reveal("ann", 120, SALT)),
        (90, Tick()),
    )

    assert outcome(auction) == Outcome("lot", "ann", 100, 120, ("bob",), {"bob": 9})


def test_it_is_over_when_all_have_revealed() -> None:
    auction = fold(open_auction(COMMITTED), (0, Commit("ann", SEAL)), (60, Tick()), (61, Reveal("ann", 120, SALT)))

    assert outcome(auction) == Outcome("lot", "ann", 100, 120)


def test_a_seal_below_the_reserve_is_honest_and_does_not_win() -> None:
    low = seal("lot", "bob", 10, SALT)
    auction = fold(open_auction(COMMITTED), (0, Commit("bob", low)), (60, Tick()), (61, Reveal("bob", 10, SALT)))

    assert outcome(auction) == Outcome("lot")


def test_a_commitment_may_be_withdrawn_and_costs_nothing() -> None:
    rules = Vickrey("lot", lasts=60, reveal_within=30, deposit=9, withdrawable=0)
    auction = fold(open_auction(rules), (0, Commit("ann", SEAL)), (59, Withdraw("ann")), (60, Tick()))

    assert outcome(auction) == Outcome("lot")


def test_nobody_waits_for_reveals_where_nobody_has_bid() -> None:
    assert outcome(open_auction(COMMITTED).apply(Tick(), 60)) == Outcome("lot")


def test_who_does_not_confirm_loses_the_award_to_the_next() -> None:
    rules = Vickrey("lot", lasts=60, confirm_within=10, deposit=3)
    auction = fold(
        open_auction(rules), (0, Bid("ann", 9)), (0, Bid("bob", 7)), (0, Bid("cid", 5)), (60, Tick()), (70, Tick())
    )

    assert auction.leader is not None
    assert (auction.stage, auction.leader.bidder, auction.leader.price, auction.deadline) == (
        "confirming",
        "bob",
        5,
        80,
    )
    with pytest.raises(Refused, match="not awarded"):
        auction.apply(Confirm("ann"), 71)
    assert outcome(auction.apply(Confirm("bob"), 71)) == Outcome("lot", "bob", 5, 7, ("ann",), {"ann": 3})


def test_an_award_can_be_given_up_and_in_the_end_nobody_has_it() -> None:
    rules = English("lot", lasts=60, confirm_within=10)
    auction = fold(
        open_auction(rules), (0, Bid("ann", 5)), (1, Bid("bob", 6)), (60, Tick()), (61, Withdraw("bob")), (71, Tick())
    )

    assert outcome(auction) == Outcome("lot", no_shows=("bob", "ann"))


def test_a_stage_begins_when_the_end_of_the_one_before_is_noticed() -> None:
    rules = Vickrey("lot", lasts=60, reveal_within=30)

    late = fold(open_auction(rules), (0, Commit("ann", SEAL)), (5000, Tick()))

    assert (late.stage, late.deadline) == ("revealing", 5030)


def test_the_seller_closes_it_early() -> None:
    assert outcome(fold(open_auction(RISING), (1, Bid("ann", 100)), (2, Close("sue")))).winner == "ann"


def test_weights_say_what_each_must_bid() -> None:
    rules = English(
        "lot", lasts=60, increment=10, bidders=registered(["ann", "bob"], {"ann": 2.0, "bob": 1.0}.__getitem__)
    )

    auction = fold(open_auction(rules), (0, Bid("bob", 100)))

    assert (auction.asking("ann", 1), auction.asking("bob", 1), auction.asking("eve", 1)) == (55, 110, None)
    assert outcome(fold(auction, (1, Bid("ann", 55)), (60, Tick()))) == Outcome("lot", "ann", 55, 55)


def test_a_weighted_dutch_clock_shows_a_score() -> None:
    rules = Dutch("lot", start=300, step=50, every=10, reserve=120, bidders=registered(["ann"], lambda name: 2.0))

    assert [open_auction(rules).asking("ann", at) for at in (0, 10, 39)] == [150, 125, 120]


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (English, {"id": ""}),
        (English, {"lasts": 0}),
        (English, {"lasts": float("inf")}),
        (English, {"increment": 0}),
        (English, {"reserve": -1}),
        (English, {"reserve": 1.5}),
        (English, {"snipe_within": -1}),
        (English, {"withdrawable": -1}),
        (English, {"confirm_within": 0}),
        (English, {"deposit": 10**16}),
        (Vickrey, {"reveal_within": 0}),
        (Dutch, {"start": 5, "step": 0, "every": 1}),
        (Dutch, {"start": 5, "step": 1, "every": 1e-300}),
        (Dutch, {"start": 5, "step": 1, "every": 1, "reserve": 6}),
        (Dutch, {"start": 5, "step": 1, "every": 1, "withdrawable": 1}),
    ],
)
def test_rules_that_make_no_sense_are_refused_at_once(kind: type[Any], given: dict[str, Any]) -> None:
    lasting = {} if kind is Dutch else {"lasts": 60}

    with pytest.raises(ValueError, match=r"not |needs|at least|leave|falls"):
        kind(**{"id": "lot", **lasting, **given})


@pytest.mark.parametrize("weight", [0, 9001, 1.5, True])
def test_a_weight_is_a_whole_number_of_thousandths(weight: Any) -> None:
    with pytest.raises(ValueError, match="thousandths"):
        Bidder(weight=weight)
