"""Sealed-bid auctions: everybody bids once, nobody sees what the others bid.

With ``reveal_within`` not even the auctioneer sees it while bids are taken: a bidder commits to the `seal` of its bid,
and reveals it when the bidding is over. Who does not reveal is a no-show. Without it bids are told to the auctioneer,
who is trusted to keep them to itself.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from moot.patterns.market.events import Bid, Commit, Reveal, seal
from moot.patterns.market.pricing import UNIT, Award, allocate
from moot.patterns.market.refusals import AlreadyBid, NothingSealed, SealBroken, WrongStage
from moot.patterns.market.rules import Bidding, BiddingT, Rules, check_span

__all__ = ["FirstPrice", "Sealed", "Vickrey"]

SEAL_LENGTH = 64
HEXADECIMAL = frozenset("0123456789abcdef")
SALT_LENGTHS = range(16, 129)


class Sealed(Rules, frozen=True, kw_only=True):
    """What both kinds of sealed-bid auction have in common; the highest bid wins."""

    pays: ClassVar[Literal["own", "second"]]

    lasts: float
    reveal_within: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_span("lasts", self.lasts)
        if self.reveal_within is not None:
            check_span("reveal_within", self.reveal_within)

    @property
    def time_to_reveal(self) -> float | None:
        return self.reveal_within

    def closes_at(self, opened_at: float) -> float:
        return opened_at + self.lasts

    def asking(self, auction: Bidding, at: float, weight: int = UNIT) -> int:
        return self.reserve

    def take(self, auction: BiddingT, event: Bid | Commit | Reveal, at: float) -> BiddingT:
        match event:
            case Bid(bidder, amount):
                return self._told(auction, bidder, amount)
            case Commit(bidder, committed):
                return self._committed(auction, bidder, committed)
            case Reveal():
                return self._revealed(auction, event)

    def award(self, auction: Bidding) -> Award | None:
        return allocate(auction.standing(), reserve=self.reserve, pays=self.pays, tie=self.tie)

    def _told(self, auction: BiddingT, bidder: str, amount: int) -> BiddingT:
        if self.reveal_within is not None:
            raise WrongStage(self.id, bidder, "its bids are committed to first; send commit_bid with a seal")
        if bidder in auction.offers:
            raise AlreadyBid(self.id, bidder, "a sealed bid is made once")
        self.check_offer(bidder, amount, self.reserve)
        return auction.with_offer(bidder, amount)

    def _committed(self, auction: BiddingT, bidder: str, committed: str) -> BiddingT:
        if self.reveal_within is None:
            raise WrongStage(self.id, bidder, "its bids are told to the auctioneer; send a bid")
        if bidder in auction.seals:
            raise AlreadyBid(self.id, bidder, "a sealed bid is made once")
        if type(committed) is not str or len(committed) != SEAL_LENGTH or not HEXADECIMAL.issuperset(committed):
            raise SealBroken(self.id, bidder, f"a seal has {SEAL_LENGTH} hexadecimal digits; make it with seal()")
        return auction.with_seal(bidder, committed)

    def _revealed(self, auction: BiddingT, event: Reveal) -> BiddingT:
        bidder = event.bidder
        if bidder not in auction.seals:
            raise NothingSealed(self.id, bidder, "it has not committed to a bid while bids were taken")
        if bidder in auction.offers:
            raise AlreadyBid(self.id, bidder, "its bid is revealed already")
        self.check_offer(bidder, event.amount, 0)  # below the reserve it was honest, and cannot win
        salt = event.salt
        if type(salt) is not str or len(salt) not in SALT_LENGTHS or not salt.isascii():
            raise SealBroken(self.id, bidder, f"a salt is {SALT_LENGTHS[0]} to {SALT_LENGTHS[-1]} ASCII characters")
        if seal(self.id, bidder, event.amount, salt) != auction.seals[bidder]:
            raise SealBroken(self.id, bidder, "this is not what it committed to; reveal that very amount and salt")
        return auction.with_offer(bidder, event.amount)


class FirstPrice(Sealed, frozen=True, kw_only=True, tag="first_price"):
    """The highest bid wins and pays what it bid.

    With n bidders whose values are uniform on [0, 1] it is best to bid (n-1)/n of one's own if the others do.
    Source: W. Vickrey, "Counterspeculation, Auctions, and Competitive Sealed Tenders", J. Finance 16, 1961.
    """

    pays = "own"


class Vickrey(Sealed, frozen=True, kw_only=True, tag="vickrey"):
    """The highest bid wins and pays the second highest, or the reserve if that is more: to bid one's value is best.

    Source: W. Vickrey, "Counterspeculation, Auctions, and Competitive Sealed Tenders", J. Finance 16, 1961.
    """

    pays = "second"
