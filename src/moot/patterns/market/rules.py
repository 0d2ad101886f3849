"""Rules: what all kinds of auction have in common, as a frozen value.

A kind says how long bids are taken, what is asked of a bidder now, what a bid does, and who then gets the lot at which
price. Whatever is the same for all (deadlines, withdrawal, confirmation, no-shows) is the `Auction`'s business. A kind
knows the auction as `Bidding` only: the auction is made of rules, so the rules must not be made of auctions.
"""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, Self, TypeVar

import msgspec

from moot.patterns.market.events import Bid, Commit, Reveal
from moot.patterns.market.pricing import MOST, UNIT, Award, Offer
from moot.patterns.market.refusals import BelowAsking, InvalidAmount, OverBudget, UnknownBidder

__all__ = ["Bidder", "Bidding", "BiddingT", "Rules", "registered"]

HEAVIEST = 9000
"""The largest weight: nine times the usual one."""


class Bidder(msgspec.Struct, frozen=True):
    """A registered bidder: what it can spend in all, and the weight of its bids in thousandths."""

    budget: int | None = None
    weight: int = UNIT

    def __post_init__(self) -> None:
        if self.budget is not None:
            check_amount("a budget", self.budget)
        if type(self.weight) is not int or not 1 <= self.weight <= HEAVIEST:
            raise ValueError(f"a weight is a whole number of thousandths, 1 to {HEAVIEST}, not {self.weight!r}")


def registered(
    budgets: Mapping[str, int | None] | Iterable[str], weigh: Callable[[str], float] | None = None
) -> dict[str, Bidder]:
    """Bidders with their budgets (None: none), or without any; ``weigh`` says what the bids of each count, 1 as usual.

    The weights are taken down now, so that an auction can be replayed when the reputations have changed.
    """
    known = dict(budgets) if isinstance(budgets, Mapping) else dict.fromkeys(budgets)
    return {
        name: Bidder(budget, UNIT if weigh is None else round(weigh(name) * UNIT)) for name, budget in known.items()
    }


class Bidding(Protocol):
    """What a kind reads of an auction, and the two ways in which a bid changes it. `Auction` implements it."""

    @property
    def opened_at(self) -> float:
        """When the auction was opened, in seconds."""
        ...

    @property
    def deadline(self) -> float | None:
        """When the stage of the auction ends; None when it is closed."""
        ...

    @property
    def offers(self) -> dict[str, int]:
        """Amounts by bidder. Who bid last stands last."""
        ...

    @property
    def seals(self) -> dict[str, str]:
        """Commitments by bidder."""
        ...

    @property
    def no_shows(self) -> tuple[str, ...]:
        """The bidders that are out."""
        ...

    def standing(self) -> list[Offer]:
        """The offers of those who are still in it."""
        ...

    def with_offer(self, bidder: str, amount: int, deadline: float | None = None) -> Self:
        """The auction after an offer.

        The offer replaces an earlier one of that bidder. ``deadline`` is when the stage ends now; None leaves it.
        """
        ...

    def with_seal(self, bidder: str, committed: str) -> Self:
        """The auction after a commitment."""
        ...


BiddingT = TypeVar("BiddingT", bound=Bidding)


class Rules(msgspec.Struct, frozen=True):
    """What holds for an auction of any kind. Amounts are minor units, times seconds.

    ``bidders``: who may bid; None is anybody, without a budget. ``reserve``: the least that it is sold for.
    ``seed`` breaks ties. ``withdrawable``: until so many seconds before the close a bid may be taken back (0: up to the
    close; None: never); who did bids no more. ``confirm_within``: who gets the lot must confirm in that time, or it
    is a no-show, loses its ``deposit``, and the lot goes to the next; None: an award is final.
    """

    id: str
    seller: str = ""
    lot: str = ""
    reserve: int = 0
    bidders: dict[str, Bidder] | None = None
    seed: int = 0
    withdrawable: float | None = None
    confirm_within: float | None = None
    deposit: int = 0

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("an auction needs an id; give it one that no other auction has")
        check_amount("a reserve", self.reserve)
        check_amount("a deposit", self.deposit)
        if self.withdrawable is not None:
            check_span("withdrawable", self.withdrawable, zero=True)
        if self.confirm_within is not None:
            check_span("confirm_within", self.confirm_within)

    @abstractmethod
    def closes_at(self, opened_at: float) -> float:
        """When bids are no longer taken."""

    @abstractmethod
    def asking(self, auction: Bidding, at: float, weight: int = UNIT) -> int:
        """The least that is taken now, if a bid counts ``weight``."""

    @abstractmethod
    def take(self, auction: BiddingT, event: Bid | Commit | Reveal, at: float) -> BiddingT:
        """The auction with a bid of a known bidder in it. Raises `Refused`."""

    @abstractmethod
    def award(self, auction: Bidding) -> Award | None:
        """Who gets the lot among those whose offers stand; None if nobody does."""

    def changes_at(self, auction: Bidding, at: float) -> float:
        """When, after ``at``, what is asked changes by itself."""
        return math.inf

    @property
    def time_to_reveal(self) -> float | None:
        """How long after the close sealed bids are revealed; None where none are."""
        return None

    def weight(self, bidder: str) -> int:
        """What the bids of that bidder count, in thousandths."""
        return UNIT if self.bidders is None else self.bidders[bidder].weight

    def offer(self, bidder: str, amount: int) -> Offer:
        """The amount as it is ranked."""
        return Offer(bidder, amount, self.weight(bidder))

    def tie(self, bidder: str) -> bytes:
        """The place of a bidder among equals: the least wins. It depends on nothing that a bidder does."""
        return hashlib.sha256(msgspec.json.encode(["moot tie", self.seed, self.id, bidder])).digest()

    def check_bidder(self, bidder: str) -> None:
        """Raises `UnknownBidder` if it may not bid."""
        if bidder == self.seller and bidder:
            raise UnknownBidder(self.id, bidder, "it is the seller, who does not bid")
        if type(bidder) is not str or not bidder or (self.bidders is not None and bidder not in self.bidders):
            raise UnknownBidder(
                self.id, str(bidder), "it is not registered; have the seller register it before opening"
            )

    def check_offer(self, bidder: str, amount: int, asking: int) -> None:
        """Raises `InvalidAmount`, `OverBudget` or `BelowAsking`."""
        if type(amount) is not int or not 0 <= amount <= MOST:
            raise InvalidAmount(self.id, bidder, f"an amount is a whole number of minor units up to {MOST}")
        budget = None if self.bidders is None else self.bidders[bidder].budget
        if budget is not None and amount > budget:
            raise OverBudget(self.id, bidder, amount, budget)
        if amount < asking:
            raise BelowAsking(self.id, bidder, amount, asking)


def check_amount(what: str, amount: int) -> None:
    """Raises `ValueError` unless it is a whole number of minor units."""
    if type(amount) is not int or not 0 <= amount <= MOST:
        raise ValueError(f"{what} is a whole number of minor units, 0 to {MOST}, not {amount!r}")


def check_span(what: str, seconds: float, *, zero: bool = False) -> None:
    """Raises `ValueError` unless it is a time that passes and ends."""
    if not (0 < seconds < math.inf or (zero and seconds == 0)):
        raise ValueError(f"{what} is a finite number of seconds above 0, not {seconds!r}")
