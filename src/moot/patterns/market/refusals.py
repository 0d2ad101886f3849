"""Refusals: why an auction does not take an event.

Each reason is a class. Its ``reason``, the name of the class in snake case, also travels in messages and stands in
transcripts, so that a bidder's program can decide on it, and a replay can check that who was refused had to be.
"""

from __future__ import annotations

import re
from typing import ClassVar

from moot import Factual

__all__ = [
    "AlreadyBid",
    "AlreadyOpen",
    "BelowAsking",
    "InvalidAmount",
    "NotTheSeller",
    "NotTheWinner",
    "NotWithdrawable",
    "NothingSealed",
    "OverBudget",
    "Refused",
    "SealBroken",
    "TooLate",
    "UnknownAuction",
    "UnknownBidder",
    "WrongName",
    "WrongStage",
]


class Refused(Factual):
    """The auction did not take an event of ``bidder``, and is as it was before."""

    reason: ClassVar[str] = "refused"
    auction: str
    bidder: str
    text: str
    template = "auction {auction!r} refuses {bidder!r}: {text}"

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.reason = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


class UnknownAuction(Refused):
    """The auctioneer has none of that id, or several and none is named."""


class AlreadyOpen(Refused):
    """The auctioneer has, or has had, another auction of that id."""


class UnknownBidder(Refused):
    """It is not registered, or has withdrawn."""


class WrongName(Refused):
    """The content names a bidder who is not the sender of the message."""


class TooLate(Refused):
    """The deadline of what it wants to do has passed."""


class WrongStage(Refused):
    """The auction does not take that now, or not at all."""


class InvalidAmount(Refused):
    """An amount is a whole number of minor units."""


class BelowAsking(Refused):
    """It is less than ``asking``, the least that is taken from this bidder now."""

    def __init__(self, auction: str, bidder: str, amount: int, asking: int) -> None:
        self.amount = amount
        self.asking = asking
        super().__init__(auction, bidder, f"{amount} is below what is asked; bid {asking} or more")


class OverBudget(Refused):
    """It is more than the bidder was registered with."""

    def __init__(self, auction: str, bidder: str, amount: int, budget: int) -> None:
        self.amount = amount
        self.budget = budget
        super().__init__(auction, bidder, f"{amount} is above its budget; bid {budget} at most")


class AlreadyBid(Refused):
    """It has made the one bid that it may make."""


class NothingSealed(Refused):
    """It reveals what it has not committed to."""


class SealBroken(Refused):
    """What is revealed is not what was committed to."""


class NotWithdrawable(Refused):
    """The rules do not let it take its bid back, or not any more."""


class NotTheWinner(Refused):
    """Only who holds the award can confirm it."""


class NotTheSeller(Refused):
    """Only the seller can close an auction early."""
