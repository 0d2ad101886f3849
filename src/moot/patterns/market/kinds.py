"""Kinds: all rules that an auction can have, and how an auction with such rules is opened.

The union stands above the auction and the rules. A decoder needs it, because the rules of a stored auction are told
apart by their tag. A new kind is added here, and neither the state machine nor the other kinds change.
"""

from __future__ import annotations

import math

from moot.patterns.market.auction import Auction
from moot.patterns.market.dutch import Dutch
from moot.patterns.market.english import English
from moot.patterns.market.sealed import FirstPrice, Vickrey

__all__ = ["AnyAuction", "AnyRules", "open_auction"]

AnyRules = English | Dutch | FirstPrice | Vickrey
AnyAuction = Auction[AnyRules]


def open_auction(rules: AnyRules, at: float = 0.0) -> AnyAuction:
    """The auction with those rules, opened at ``at`` seconds."""
    if not 0 <= at < math.inf:
        raise ValueError(f"an auction opens at a time in seconds, not at {at!r}")
    return Auction(rules, at, at, rules.closes_at(at))
