"""BidderAgent: bids up to what a lot is worth to it, in an auction of any kind.

What it would pay at most is its strategy's business; how to bid that, the kind of auction decides: step by step in an
English one, when the clock is there in a Dutch one, once in a sealed one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from moot import Agent, AgentContext, MailboxPolicy, handles
from moot.patterns.market.events import seal
from moot.patterns.market.messages import (
    AuctionNews,
    AuctionResult,
    AwardOffered,
    CommitBid,
    ConfirmAward,
    PlaceBid,
    Receipt,
    RevealBid,
    RevealCalled,
)

__all__ = ["BidderAgent", "Purse", "Strategy", "shaded", "truthful"]

Strategy = Callable[[int], int]
"""From what a lot is worth to what is bid for it at most."""


def truthful(value: int) -> int:
    """Bid what it is worth: best in a Vickrey auction, and in an English one, whatever the others do."""
    return value


def shaded(bidders: int) -> Strategy:
    """Bid (n-1)/n of what it is worth: best among ``bidders`` with uniform values in a first-price or Dutch auction.

    Source: W. Vickrey, 1961; J. Riley, W. Samuelson, "Optimal Auctions", American Economic Review 71, 1981.
    """
    if bidders < 1:
        raise ValueError(f"an auction has 1 bidder or more, not {bidders}")
    return lambda value: value * (bidders - 1) // bidders


class Made(msgspec.Struct, frozen=True):
    """A bid that is made once, and the salt of its seal if it has one."""

    amount: int
    salt: str = ""


class Purse(msgspec.Struct, frozen=True):
    """What a bidder has bid where one bids once, until the result, and what it has won, at which price; by auction."""

    made: dict[str, Made] = {}
    won: dict[str, int] = {}


class BidderAgent(Agent[Purse]):
    """Bids at the auctions of one auctioneer; ``worth`` is what a lot is worth to it: any, or each by its auction.

    The salts of its commitments are drawn from ``ctx.random``: nobody else can guess them unless the manager was given
    a seed that is known. Of what waits for it the newest counts, so no auctioneer waits for a bidder that hangs.
    """

    topics = ("auctions",)
    mailbox = MailboxPolicy(overflow="drop_oldest")

    def __init__(
        self,
        agent_id: str,
        worth: int | Mapping[str, int],
        strategy: Strategy = truthful,
        *,
        auctioneer: str = "auctioneer",
    ) -> None:
        super().__init__(agent_id)
        self.worth = worth
        self.strategy = strategy
        self.auctioneer = auctioneer

    def limit(self, auction: str) -> int | None:
        """What it would pay at most; None if it does not take part."""
        worth = self.worth if isinstance(self.worth, int) else self.worth.get(auction)
        return None if worth is None else self.strategy(worth)

    @handles
    async def news(self, message: AuctionNews, ctx: AgentContext[Purse]) -> None:
        limit = self.limit(message.auction)
        asking = message.asking
        if ctx.sender != self.auctioneer or limit is None or asking is None:
            return
        if asking > limit or message.leader == self.id or message.auction in ctx.state.made:
            return
        match message.kind:
            case "english":
                self.bid(message.auction, asking, ctx)
            case "dutch":
                self._make(message.auction, Made(asking), ctx)
            case _:
                salt = ctx.random.randbytes(16).hex() if message.is_committed else ""
                self._make(message.auction, Made(limit, salt), ctx)

    @handles
    async def receipt(self, message: Receipt, ctx: AgentContext[Purse]) -> None:
        """A bid was refused: somebody was faster, and the news say what is asked now. To bid on this, too, would be
        to bid against itself.
        """

    @handles
    async def reveal(self, message: RevealCalled, ctx: AgentContext[Purse]) -> None:
        mine = ctx.state.made.get(message.auction)
        if ctx.sender == self.auctioneer and mine is not None:
            ctx.send(self.auctioneer, RevealBid(mine.amount, mine.salt, auction=message.auction))

    @handles
    async def award(self, message: AwardOffered, ctx: AgentContext[Purse]) -> None:
        limit = self.limit(message.auction)
        if ctx.sender == self.auctioneer and limit is not None and message.price <= limit:
            ctx.send(self.auctioneer, ConfirmAward(auction=message.auction))

    @handles
    async def result(self, message: AuctionResult, ctx: AgentContext[Purse]) -> None:
        if ctx.sender != self.auctioneer:
            return
        made = {auction: bid for auction, bid in ctx.state.made.items() if auction != message.auction}
        won = {**ctx.state.won, message.auction: message.price} if message.winner == self.id else ctx.state.won
        ctx.state = Purse(made, won)

    def bid(self, auction: str, amount: int, ctx: AgentContext[Purse]) -> None:
        """Send a bid. Override it to bid otherwise."""
        ctx.send(self.auctioneer, PlaceBid(amount, auction=auction))

    def _make(self, auction: str, made: Made, ctx: AgentContext[Purse]) -> None:
        ctx.state = msgspec.structs.replace(ctx.state, made={**ctx.state.made, auction: made})
        if made.salt:
            ctx.send(self.auctioneer, CommitBid(seal(auction, self.id, made.amount, made.salt), auction=auction))
        else:
            self.bid(auction, made.amount, ctx)
