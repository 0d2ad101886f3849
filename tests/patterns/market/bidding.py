"""Auctions from beginning to end, as folds, with bidders that do what the theory says."""

from __future__ import annotations

import random
from collections.abc import Mapping

from moot.patterns.market import (
    AnyAuction,
    Bid,
    Commit,
    Dutch,
    English,
    Event,
    FirstPrice,
    Reveal,
    Tick,
    Vickrey,
    open_auction,
    seal,
)

__all__ = ["SALT", "committed", "dutch", "english", "fold", "sealed"]

SALT = "0123456789abcdef"


def fold(auction: AnyAuction, *events: tuple[float, Event]) -> AnyAuction:
    """The auction after the events, each at its time."""
    for at, event in events:
        auction = auction.apply(event, at)
    return auction


def english(rules: English, values: Mapping[str, int], seed: int = 0) -> AnyAuction:
    """Everybody bids what is asked while it is no more than its value, in an order that the seed picks."""
    choice = random.Random(seed)
    auction = open_auction(rules)
    while True:
        leading = auction.leader.bidder if auction.leader else None
        willing = [
            name
            for name, value in values.items()
            if name != leading and (asking := auction.asking(name, 0)) is not None and asking <= value
        ]
        if not willing:
            return auction.apply(Tick(), rules.lasts)
        bidder = choice.choice(willing)
        asking = auction.asking(bidder, 0)
        assert asking is not None
        auction = auction.apply(Bid(bidder, asking), 0)


def dutch(rules: Dutch, plans: Mapping[str, int]) -> AnyAuction:
    """Everybody takes the lot as soon as the clock is at its plan."""
    auction = open_auction(rules)
    while auction.stage == "bidding":
        now = auction.now
        for name, plan in plans.items():
            asking = auction.asking(name, now)
            if asking is not None and asking <= plan and name not in auction.offers:
                auction = auction.apply(Bid(name, plan), now)
        auction = auction.apply(Tick(), rules.changes_at(auction, now))
    return auction


def sealed(rules: FirstPrice | Vickrey, bids: Mapping[str, int]) -> AnyAuction:
    """Everybody tells its bid."""
    auction = open_auction(rules)
    for name, amount in bids.items():
        if amount >= rules.reserve:
            auction = auction.apply(Bid(name, amount), 0)
    return auction.apply(Tick(), rules.lasts)


def committed(rules: FirstPrice | Vickrey, bids: Mapping[str, int]) -> AnyAuction:
    """Everybody commits to its bid, and reveals it."""
    auction = open_auction(rules)
    for name, amount in bids.items():
        auction = auction.apply(Commit(name, seal(rules.id, name, amount, SALT)), 0)
    auction = auction.apply(Tick(), rules.lasts)
    for name, amount in bids.items():
        auction = auction.apply(Reveal(name, amount, SALT), rules.lasts)
    return auction
