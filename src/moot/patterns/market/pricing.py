"""Pricing: who wins among offers, and what the winner pays. All of it is integers.

Amounts are whole minor units (cents), because money is counted: two equal bids are equal, and a tie is seen and broken
by the rule, never by how a float was rounded. They go through every codec unchanged, and have one form to be hashed.
Reputation enters as a whole weight, so a score, amount times weight, is exact, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Literal, NamedTuple

import msgspec

__all__ = ["MOST", "UNIT", "Award", "Offer", "allocate", "least_to_reach"]

UNIT = 1000
"""The weight that leaves a bid as it is: weights are thousandths."""
MOST = 10**15
"""The largest amount: times any weight it still fits into 64 bits, and into the numbers of JavaScript by itself."""


class Offer(NamedTuple):
    """What a bidder would pay, and the weight by which its bids are ranked."""

    bidder: str
    amount: int
    weight: int = UNIT

    @property
    def score(self) -> int:
        """What the offer is ranked by."""
        return self.amount * self.weight


class Award(msgspec.Struct, frozen=True):
    """Who gets the lot, what it pays, and what it had offered."""

    bidder: str
    price: int
    offered: int


def allocate(
    offers: Collection[Offer],
    *,
    reserve: int = 0,
    pays: Literal["own", "second"] = "own",
    tie: Callable[[str], bytes] = str.encode,
) -> Award | None:
    """The award among ``offers`` of at least ``reserve``: the highest score wins; of equal ones the least ``tie``.

    The winner pays its ``own`` offer, or the least with which it would have reached the ``second`` highest score, but
    never less than the reserve. With equal weights the latter is the second highest bid (W. Vickrey,
    "Counterspeculation, Auctions, and Competitive Sealed Tenders", J. Finance 16, 1961). With unequal ones it is what
    one must bid to win, and does not depend on what one bids, so to bid the truth stays best (R. Myerson, "Optimal
    Auction Design", Math. of Operations Research 6, 1981).
    """
    standing = [offer for offer in offers if offer.amount >= reserve]
    if not standing:
        return None
    scores = sorted((offer.amount * offer.weight for offer in standing), reverse=True)
    leaders = [offer for offer in standing if offer.amount * offer.weight == scores[0]]
    winner = leaders[0] if len(leaders) == 1 else min(leaders, key=lambda offer: tie(offer.bidder))
    if pays == "own":
        return Award(winner.bidder, winner.amount, winner.amount)
    price = least_to_reach(scores[1], winner.weight) if len(scores) > 1 else 0
    return Award(winner.bidder, max(reserve, price), winner.amount)


def least_to_reach(score: int, weight: int) -> int:
    """The least amount that has at least that score with that weight."""
    return -(-score // weight)
