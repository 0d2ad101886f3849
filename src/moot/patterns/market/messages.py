"""Messages: what bidders, sellers and an auctioneer say to each other.

Who bids is the sender of the message. A ``bidder`` in it may be left out, and must be the sender if it is there; an
``auction`` may be left out where the auctioneer has one that is open. Contents may be plain maps.
"""

from __future__ import annotations

from moot import Payload, Request
from moot.patterns.market.auction import Stage
from moot.patterns.market.kinds import AnyRules
from moot.patterns.market.transcript import Transcript

__all__ = [
    "AuctionNews",
    "AuctionResult",
    "AwaitResult",
    "AwardOffered",
    "CloseAuction",
    "CommitBid",
    "ConfirmAward",
    "Due",
    "GetAuction",
    "GetTranscript",
    "OpenAuction",
    "PlaceBid",
    "Receipt",
    "RevealBid",
    "RevealCalled",
    "WithdrawBid",
]


class Receipt(Payload):
    """What became of a bid or the like; the answer if it was asked, sent to who told it if it is refused.

    ``refused`` is the reason of a refusal, ``why`` its text. ``asking`` is the least that is taken from that bidder
    now; None if nothing is. ``digest`` is that of the transcript with the bid in it: a bidder that keeps it can show
    that a transcript without it is not the true one.
    """

    auction: str
    refused: str = ""
    why: str = ""
    asking: int | None = None
    deadline: float | None = None
    digest: str = ""


class AuctionNews(Payload):
    """How an auction stands: the least that is taken now (if its bidders are registered, of each), and who leads."""

    auction: str
    kind: str
    lot: str
    stage: Stage
    asking: int | None
    leader: str | None
    deadline: float | None
    is_committed: bool = False
    """Whether its bids are committed to, and revealed later."""


class OpenAuction(Request[AuctionNews]):
    """Open an auction with these rules; its seller is the sender."""

    rules: AnyRules


class PlaceBid(Request[Receipt]):
    """Bid an amount, in minor units."""

    message_type = "bid"

    amount: int
    bidder: str = ""
    auction: str = ""


class CommitBid(Request[Receipt]):
    """Bid what is sealed; see `moot.patterns.market.seal`."""

    seal: str
    bidder: str = ""
    auction: str = ""


class RevealBid(Request[Receipt]):
    """Tell what was sealed."""

    amount: int
    salt: str
    bidder: str = ""
    auction: str = ""


class WithdrawBid(Request[Receipt]):
    """Take a bid back, or give up an award."""

    bidder: str = ""
    auction: str = ""


class ConfirmAward(Request[Receipt]):
    """Stand by an award."""

    bidder: str = ""
    auction: str = ""


class CloseAuction(Request[Receipt]):
    """End the bidding now; only for the seller."""

    auction: str = ""


class GetAuction(Request[AuctionNews]):
    """How an auction stands."""

    auction: str = ""


class RevealCalled(Payload):
    """To each who has committed: reveal until the deadline."""

    auction: str
    deadline: float


class AwardOffered(Payload):
    """To who gets the lot, where the rules ask for a confirmation: confirm until the deadline."""

    auction: str
    price: int
    deadline: float


class AuctionResult(Payload):
    """To the seller and all bidders, once: who has won and what it pays; no ``winner`` if it is not sold."""

    auction: str
    lot: str
    winner: str | None
    price: int
    no_shows: tuple[str, ...] = ()
    forfeited: dict[str, int] = {}


class AwaitResult(Request[AuctionResult]):
    """The result, as soon as there is one."""

    auction: str = ""


class GetTranscript(Request[Transcript]):
    """The transcript of an auction that is closed."""

    auction: str = ""


class Due(Payload):
    """The auctioneer's timer: something of that auction is due."""

    message_type = "auction_due"

    auction: str
