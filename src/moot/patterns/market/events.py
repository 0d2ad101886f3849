"""Events: what happens to an auction. Who does it is part of the event, and is checked before it is made.

Together with the rules they are all that an outcome depends on, so an auction can be replayed from them.
"""

from __future__ import annotations

import hashlib

import msgspec

__all__ = ["Bid", "Close", "Commit", "Confirm", "Event", "Reveal", "Tick", "Withdraw", "seal"]


class Bid(msgspec.Struct, frozen=True, tag="bid"):
    """An open bid, in minor units; of a sealed auction, one that only the auctioneer sees."""

    bidder: str
    amount: int


class Commit(msgspec.Struct, frozen=True, tag="commit"):
    """A sealed bid: the `seal` of an amount that is told later."""

    bidder: str
    seal: str


class Reveal(msgspec.Struct, frozen=True, tag="reveal"):
    """What was sealed."""

    bidder: str
    amount: int
    salt: str


class Withdraw(msgspec.Struct, frozen=True, tag="withdraw"):
    """A bidder takes back what it has bid; who holds the award gives it up."""

    bidder: str


class Confirm(msgspec.Struct, frozen=True, tag="confirm"):
    """Who holds the award stands by it."""

    bidder: str


class Close(msgspec.Struct, frozen=True, tag="close"):
    """The seller ends the bidding before its time."""

    by: str


class Tick(msgspec.Struct, frozen=True, tag="tick"):
    """Time has passed; whatever is due happens."""


Event = Bid | Commit | Reveal | Withdraw | Confirm | Close | Tick


def seal(auction: str, bidder: str, amount: int, salt: str) -> str:
    """The commitment to a bid: SHA-256 over amount, salt, bidder and auction, each at its own place in a JSON list.

    It binds, as long as nobody finds a collision; it hides, as long as the salt cannot be guessed: give it 128 bits
    that nobody else knows. Bidder and auction are in it so that nobody can hand in another's seal as its own.
    Source: G. Brassard, D. Chaum, C. Crépeau, "Minimum disclosure proofs of knowledge", JCSS 37, 1988.
    """
    return hashlib.sha256(msgspec.json.encode(["moot sealed bid", auction, bidder, amount, salt])).hexdigest()
