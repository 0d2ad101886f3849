"""English auction: the price rises from bid to bid, and the last one wins and pays it."""

from __future__ import annotations

from moot.patterns.market.events import Bid, Commit, Reveal
from moot.patterns.market.pricing import UNIT, Award, least_to_reach
from moot.patterns.market.refusals import WrongStage
from moot.patterns.market.rules import Bidding, BiddingT, Rules, check_amount, check_span

__all__ = ["English"]


class English(Rules, frozen=True, kw_only=True, tag="english"):
    """Ascending and open: each bid is at least ``increment`` above the one that leads.

    A bid in the last ``snipe_within`` seconds moves the close to ``extend_by`` seconds after it, so that nobody wins by
    being last. With weights a bid must reach the score of the leading bid and its increment.
    """

    lasts: float
    increment: int = 1
    snipe_within: float = 0.0
    extend_by: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_span("lasts", self.lasts)
        check_amount("an increment", self.increment)
        if not self.increment:
            raise ValueError("an increment is at least 1 minor unit, or the auction might never end")
        check_span("snipe_within", self.snipe_within, zero=True)
        check_span("extend_by", self.extend_by, zero=True)

    def closes_at(self, opened_at: float) -> float:
        return opened_at + self.lasts

    def asking(self, auction: Bidding, at: float, weight: int = UNIT) -> int:
        leading = self.award(auction)
        if leading is None:
            return self.reserve
        least = (leading.offered + self.increment) * self.weight(leading.bidder)
        return max(self.reserve, least_to_reach(least, weight))

    def take(self, auction: BiddingT, event: Bid | Commit | Reveal, at: float) -> BiddingT:
        if not isinstance(event, Bid):
            raise WrongStage(self.id, event.bidder, "its bids are open; send a bid")
        self.check_offer(event.bidder, event.amount, self.asking(auction, at, self.weight(event.bidder)))
        deadline = auction.deadline
        if deadline is not None and deadline - at <= self.snipe_within:
            deadline = max(deadline, at + self.extend_by)
        return auction.with_offer(event.bidder, event.amount, deadline)

    def award(self, auction: Bidding) -> Award | None:
        for bidder in reversed(auction.offers):  # each was above all that stood before it
            if bidder not in auction.no_shows:
                return Award(bidder, auction.offers[bidder], auction.offers[bidder])
        return None
