"""A Vickrey auction with commitments; bidders never reveal, lie, never confirm, babble, crash and withdraw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moot import Agent
from moot.patterns.market import Vickrey
from tests.patterns.market.rogues import (
    Lying,
    Mute,
    Noting,
    Silent,
    crowd,
    market,
    offers_in,
    transcript_of,
    wrong_with,
)

RULES = Vickrey(
    "lot",
    lasts=5.0,
    reserve=20,
    reveal_within=3.0,
    confirm_within=3.0,
    withdrawable=0.2,
    deposit=7,
)
WORTH = {"ann": 90, "bob": 70, "cid": 40}


def agents() -> Sequence[Agent[Any]]:
    return market(
        RULES,
        *(Noting(name, worth) for name, worth in WORTH.items()),
        Silent("silent", 110),
        Mute("mute", 300),
        Lying("lying", 60),
        *crowd(fickle=80),
    )


def judge(state: dict[str, Any]) -> list[str]:
    wrong = wrong_with(state, WORTH)
    transcript = transcript_of(state)
    outcome, offers = transcript.outcome, offers_in(transcript)
    others = [amount for bidder, amount in offers.items() if bidder != outcome.winner]
    if outcome.winner is not None and outcome.price != max([RULES.reserve, *others]):
        wrong.append(f"{outcome.winner} pays {outcome.price} among {offers}")
    if outcome.forfeited != dict.fromkeys(outcome.no_shows, RULES.deposit):
        wrong.append(f"{outcome.no_shows} did not show, and {outcome.forfeited} is forfeited")
    wrong += [f"{name} has revealed" for name in ("mute", "lying", "late", "babbling") if name in offers]
    return wrong
