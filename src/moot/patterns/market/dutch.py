"""Dutch auction: the price falls by the clock until somebody takes it."""

from __future__ import annotations

import math

from moot.patterns.market.events import Bid, Commit, Reveal
from moot.patterns.market.pricing import UNIT, Award, least_to_reach
from moot.patterns.market.refusals import AlreadyBid, WrongStage
from moot.patterns.market.rules import Bidding, BiddingT, Rules, check_amount, check_span

__all__ = ["Dutch"]

FASTEST = 0.001
"""The shortest step of a clock, in seconds: times since 1970 are not told apart much finer."""


class Dutch(Rules, frozen=True, kw_only=True, tag="dutch"):
    """Descending: the clock begins at ``start`` and falls by ``step`` every ``every`` seconds, down to the reserve.

    A bid of at least what the clock shows takes the lot at what it shows. All who take it in one step tie and the seed
    decides, not whose message was faster: so it sells to whom and at what price a first-price auction does, if
    everybody takes at the amount that it would have sealed. With weights the clock shows a score, and a bidder whose
    bids count twice pays half of it, but never less than the reserve.
    """

    start: int
    step: int
    every: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_amount("start", self.start)
        check_amount("a step", self.step)
        check_span("every", self.every)
        if self.every < FASTEST:
            raise ValueError(f"a clock falls every {FASTEST:g} s or less often, not every {self.every:g} s")
        if self.withdrawable is not None:
            raise ValueError("who takes the lot in a Dutch auction has it; leave withdrawable out")
        if not self.step or self.start < self.reserve:
            raise ValueError(
                f"a clock falls by 1 or more from {self.start} to the reserve, {self.reserve}; start higher"
            )

    def closes_at(self, opened_at: float) -> float:
        return opened_at + (self._steps + 1) * self.every

    def shown(self, opened_at: float, at: float) -> int:
        """What the clock shows."""
        return max(self.reserve, self.start - self.step * self._step_at(opened_at, at))

    def changes_at(self, auction: Bidding, at: float) -> float:
        return auction.opened_at + (self._step_at(auction.opened_at, at) + 1) * self.every

    def asking(self, auction: Bidding, at: float, weight: int = UNIT) -> int:
        shown = self.shown(auction.opened_at, at)
        return max(self.reserve, least_to_reach(shown * UNIT, weight))

    def take(self, auction: BiddingT, event: Bid | Commit | Reveal, at: float) -> BiddingT:
        if not isinstance(event, Bid):
            raise WrongStage(self.id, event.bidder, "its bids are open; send a bid")
        if event.bidder in auction.offers:
            raise AlreadyBid(self.id, event.bidder, "it has taken the lot; wait for the result")
        asking = self.asking(auction, at, self.weight(event.bidder))
        self.check_offer(event.bidder, event.amount, asking)
        ends = auction.opened_at + (self._step_at(auction.opened_at, at) + 1) * self.every
        return auction.with_offer(event.bidder, asking, ends)

    def award(self, auction: Bidding) -> Award | None:
        standing = auction.standing()
        if not standing:
            return None
        taker = min(standing, key=lambda offer: self.tie(offer.bidder))
        return Award(taker.bidder, taker.amount, taker.amount)

    @property
    def _steps(self) -> int:
        return -(-(self.start - self.reserve) // self.step)

    def _step_at(self, opened_at: float, at: float) -> int:
        step = math.floor((at - opened_at) / self.every)
        if opened_at + step * self.every > at:  # (the quotient may have been rounded, either way)
            step -= 1
        elif opened_at + (step + 1) * self.every <= at:
            step += 1
        return max(0, step)
