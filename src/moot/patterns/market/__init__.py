"""Markets: auctions as values with one interface, and an auctioneer that runs any of them over messages.

An auction is a fold of events that carry their time, so it can be replayed, and its transcript proves its outcome. The
`AuctioneerAgent` adds what a value cannot have: deadlines that come, bidders that are told, and a life after a crash.
"""

from moot.patterns.market.auction import Auction, Outcome
from moot.patterns.market.auctioneer import AuctioneerAgent
from moot.patterns.market.bidder import BidderAgent, shaded, truthful
from moot.patterns.market.dutch import Dutch
from moot.patterns.market.english import English
from moot.patterns.market.events import Bid, Close, Commit, Confirm, Event, Reveal, Tick, Withdraw, seal
from moot.patterns.market.kinds import AnyAuction, AnyRules, open_auction
from moot.patterns.market.messages import (
    AuctionNews,
    AuctionResult,
    AwaitResult,
    AwardOffered,
    CloseAuction,
    CommitBid,
    ConfirmAward,
    GetAuction,
    GetTranscript,
    OpenAuction,
    PlaceBid,
    Receipt,
    RevealBid,
    RevealCalled,
    WithdrawBid,
)
from moot.patterns.market.pricing import Award, Offer, allocate
from moot.patterns.market.refusals import Refused
from moot.patterns.market.rules import Bidder, registered
from moot.patterns.market.sealed import FirstPrice, Vickrey
from moot.patterns.market.signing import HmacSigner
from moot.patterns.market.transcript import Entry, Recording, Transcript, TranscriptInvalid, replay, verify

__all__ = [
    "AnyAuction",
    "AnyRules",
    "Auction",
    "AuctionNews",
    "AuctionResult",
    "AuctioneerAgent",
    "AwaitResult",
    "Award",
    "AwardOffered",
    "Bid",
    "Bidder",
    "BidderAgent",
    "Close",
    "CloseAuction",
    "Commit",
    "CommitBid",
    "Confirm",
    "ConfirmAward",
    "Dutch",
    "English",
    "Entry",
    "Event",
    "FirstPrice",
    "GetAuction",
    "GetTranscript",
    "HmacSigner",
    "Offer",
    "OpenAuction",
    "Outcome",
    "PlaceBid",
    "Receipt",
    "Recording",
    "Refused",
    "Reveal",
    "RevealBid",
    "RevealCalled",
    "Tick",
    "Transcript",
    "TranscriptInvalid",
    "Vickrey",
    "Withdraw",
    "WithdrawBid",
    "allocate",
    "open_auction",
    "registered",
    "replay",
    "seal",
    "shaded",
    "truthful",
    "verify",
]
