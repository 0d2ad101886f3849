"""Auction: one auction as a value, a state machine that is folded over events which carry their time.

```text
bidding ──▶ revealing ──▶ confirming ⟲ ──▶ closed      (revealing and confirming only where the rules ask for them)
```

A stage ends when a `Tick` at or after its deadline is applied, and the next one begins then, not at the deadline: an
auctioneer that was down makes no no-shows of bidders whom it has not called. What comes after a deadline is too late
whether or not the tick has come.
"""

from __future__ import annotations

import math
from typing import Any, Generic, Literal, Self, TypeVar

import msgspec

from moot.patterns.market.events import Bid, Close, Commit, Confirm, Event, Reveal, Tick, Withdraw
from moot.patterns.market.pricing import Award, Offer
from moot.patterns.market.refusals import (
    NotTheSeller,
    NotTheWinner,
    NotWithdrawable,
    TooLate,
    UnknownBidder,
    WrongStage,
)
from moot.patterns.market.rules import Rules

__all__ = ["Auction", "Outcome", "Stage"]

RulesT = TypeVar("RulesT", bound=Rules)
AuctionT = TypeVar("AuctionT", bound="Auction[Any]")
Stage = Literal["bidding", "revealing", "confirming", "closed"]


class Outcome(msgspec.Struct, frozen=True):
    """What came of an auction. Without a ``winner`` the lot is not sold.

    ``offered`` is what the winner had bid, ``price`` what it pays. ``no_shows`` did not reveal, or did not confirm, in
    the order in which they failed to, and lose what stands in ``forfeited``.
    """

    auction: str
    winner: str | None = None
    price: int = 0
    offered: int = 0
    no_shows: tuple[str, ...] = ()
    forfeited: dict[str, int] = {}


class Auction(msgspec.Struct, Generic[RulesT], frozen=True):
    """An auction at a moment. `apply` gives the next one, and leaves this one as it is.

    ``deadline``: when its stage ends; None when it is closed. ``offers`` are amounts by bidder, ``seals`` commitments.
    The class does not name the kinds of rules: `AnyAuction` stands above it, and says which ones a decoder may find.
    """

    rules: RulesT
    opened_at: float
    now: float
    deadline: float | None
    stage: Stage = "bidding"
    offers: dict[str, int] = {}
    seals: dict[str, str] = {}
    withdrawn: tuple[str, ...] = ()
    no_shows: tuple[str, ...] = ()
    award: Award | None = None

    def apply(self, event: Event, at: float) -> Self:
        """The auction after ``event``, which happens at ``at`` seconds.

        Raises:
            Refused: the rules do not allow it, and its class says why. ValueError: time would run backwards.
        """
        if not self.now <= at < math.inf:
            raise ValueError(f"auction {self.rules.id!r} is at {self.now} s, so nothing can happen in it at {at} s")
        match event:
            case Tick():
                changed = self._ended(at) if self.is_due(at) else self
            case Close(by):
                changed = self._closed(by, at)
            case Withdraw(bidder):
                changed = self._withdrawn(bidder, at)
            case Confirm(bidder):
                changed = self._confirmed(bidder, at)
            case Bid() | Commit() | Reveal():
                changed = self._taken(event, at)
        return msgspec.structs.replace(changed, now=at)

    def is_due(self, at: float) -> bool:
        """Whether a `Tick` at that time ends the stage."""
        return self.deadline is not None and at >= self.deadline

    def asking(self, bidder: str, at: float) -> int | None:
        """The least that is taken from that bidder now; None if no bids are taken from it."""
        if self.stage != "bidding" or self.is_due(at) or bidder in self.withdrawn:
            return None
        if self.rules.bidders is not None and bidder not in self.rules.bidders:
            return None
        return self.rules.asking(self, at, self.rules.weight(bidder))

    def standing(self) -> list[Offer]:
        """The offers of those who are still in it."""
        rules, out = self.rules, self.no_shows
        return [rules.offer(bidder, amount) for bidder, amount in self.offers.items() if bidder not in out]

    def with_offer(self, bidder: str, amount: int, deadline: float | None = None) -> Self:
        """See `Bidding`, as which the rules know an auction."""
        offers = {name: earlier for name, earlier in self.offers.items() if name != bidder}
        ends = self.deadline if deadline is None else deadline
        return msgspec.structs.replace(self, offers={**offers, bidder: amount}, deadline=ends)

    def with_seal(self, bidder: str, committed: str) -> Self:
        """See `Bidding`."""
        return msgspec.structs.replace(self, seals={**self.seals, bidder: committed})

    @property
    def leader(self) -> Award | None:
        """Who would get the lot if nothing else happened. Of a sealed auction this is nobody's business."""
        return self.award or self.rules.award(self)

    @property
    def outcome(self) -> Outcome | None:
        """What came of it; None until it is closed."""
        if self.stage != "closed":
            return None
        forfeited = dict.fromkeys(self.no_shows, self.rules.deposit) if self.rules.deposit else {}
        if self.award is None:
            return Outcome(self.rules.id, no_shows=self.no_shows, forfeited=forfeited)
        award = self.award
        return Outcome(self.rules.id, award.bidder, award.price, award.offered, self.no_shows, forfeited)

    def _taken(self, event: Bid | Commit | Reveal, at: float) -> Self:
        wanted: Stage = "revealing" if isinstance(event, Reveal) else "bidding"
        self.rules.check_bidder(event.bidder)
        self._check_stage(wanted, event.bidder, at)
        if event.bidder in self.withdrawn:
            raise UnknownBidder(self.rules.id, event.bidder, "it has withdrawn, and is out of this auction")
        changed = self.rules.take(self, event, at)
        is_over = wanted == "revealing" and changed.seals.keys() <= changed.offers.keys()
        return _awarded(changed, at) if is_over else changed

    def _withdrawn(self, bidder: str, at: float) -> Self:
        holds_award = self.award is not None and self.award.bidder == bidder
        if holds_award and self.stage == "confirming" and not self.is_due(at):
            return _passed_over(self, at)
        self._check_stage("bidding", bidder, at)
        if bidder not in self.offers and bidder not in self.seals:
            raise UnknownBidder(self.rules.id, bidder, "it has no bid to take back")
        until = self.rules.withdrawable
        if until is None or self.deadline is None or at > self.deadline - until:
            when = "never" if until is None else f"up to {until:g} s before the close"
            raise NotWithdrawable(self.rules.id, bidder, f"a bid may be taken back {when}; stand by it")
        return msgspec.structs.replace(
            self,
            offers={name: amount for name, amount in self.offers.items() if name != bidder},
            seals={name: sealed for name, sealed in self.seals.items() if name != bidder},
            withdrawn=(*self.withdrawn, bidder),
        )

    def _confirmed(self, bidder: str, at: float) -> Self:
        if self.award is None or self.award.bidder != bidder:
            raise NotTheWinner(self.rules.id, bidder, "the lot is not awarded to it; there is nothing to confirm")
        self._check_stage("confirming", bidder, at)
        return msgspec.structs.replace(self, stage="closed", deadline=None)

    def _closed(self, by: str, at: float) -> Self:
        if by != self.rules.seller:
            raise NotTheSeller(self.rules.id, by, f"only {self.rules.seller!r}, the seller, closes it early")
        self._check_stage("bidding", by, at)
        return self._ended(at)

    def _ended(self, at: float) -> Self:
        if self.stage == "confirming":
            return _passed_over(self, at)
        within = self.rules.time_to_reveal
        if self.stage == "bidding" and within is not None and self.seals:
            return msgspec.structs.replace(self, stage="revealing", deadline=at + within)
        return _awarded(self, at)

    def _check_stage(self, wanted: Stage, bidder: str, at: float) -> None:
        if self.stage == wanted and not self.is_due(at):
            return
        order: tuple[Stage, ...] = ("bidding", "revealing", "confirming", "closed")
        if order.index(self.stage) >= order.index(wanted):
            raise TooLate(self.rules.id, bidder, f"{wanted} is over; look for another auction")
        raise WrongStage(self.rules.id, bidder, f"it is {self.stage}, and takes that only when {wanted}")


def _passed_over(auction: AuctionT, at: float) -> AuctionT:
    """Who holds the award does not take it, and the lot goes to the next."""
    assert auction.award is not None
    no_shows = (*auction.no_shows, auction.award.bidder)
    return _awarded(msgspec.structs.replace(auction, no_shows=no_shows), at)


def _awarded(auction: AuctionT, at: float) -> AuctionT:
    """The bidding and the revealing are over: award the lot, and close unless the award is to be confirmed."""
    silent = tuple(name for name in auction.seals if name not in auction.offers and name not in auction.no_shows)
    heard = msgspec.structs.replace(auction, no_shows=(*auction.no_shows, *silent))
    award = auction.rules.award(heard)
    within = auction.rules.confirm_within
    if award is None or within is None:
        return msgspec.structs.replace(heard, stage="closed", deadline=None, award=award)
    return msgspec.structs.replace(heard, stage="confirming", deadline=at + within, award=award)
