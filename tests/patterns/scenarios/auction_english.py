"""An English auction among bidders that crash, are late, babble, use another's name, withdraw, and never confirm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moot import Agent
from moot.patterns.market import BidderAgent, English
from tests.patterns.market.rogues import (
    Noting,
    Silent,
    crowd,
    market,
    offers_in,
    transcript_of,
    wrong_with,
)

RULES = English(
    "lot",
    lasts=6.0,
    reserve=20,
    increment=10,
    snipe_within=0.5,
    extend_by=1.0,
    withdrawable=0.5,
    confirm_within=3.0,
)
WORTH = {"ann": 90, "bob": 70}


def agents() -> Sequence[Agent[Any]]:
    honest: list[BidderAgent] = [Noting(name, worth) for name, worth in WORTH.items()]
    return market(
        RULES,
        *honest,
        Silent("silent", 110),
        *crowd(fickle=60),
    )


def judge(state: dict[str, Any]) -> list[str]:
    wrong = wrong_with(state, WORTH)
    transcript = transcript_of(state)
    winner, price = transcript.outcome.winner, transcript.outcome.price
    if winner is not None and price != offers_in(transcript)[winner]:
        wrong.append(f"{winner} pays {price}, and not what it has bid")
    if winner in ("late", "babbling", "silent"):
        wrong.append(f"{winner} has won")
    return wrong
