"""Bidders that do what bidders should not, and what must be true all the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from moot import Agent, AgentContext, AskTimeout, Payload, handles
from moot.patterns.market import (
    AuctioneerAgent,
    AuctionNews,
    AuctionResult,
    AwaitResult,
    AwardOffered,
    Bid,
    BidderAgent,
    CommitBid,
    Confirm,
    GetTranscript,
    HmacSigner,
    OpenAuction,
    PlaceBid,
    Reveal,
    RevealBid,
    RevealCalled,
    Transcript,
    TranscriptInvalid,
    Withdraw,
    WithdrawBid,
    seal,
    verify,
)
from moot.patterns.market.bidder import Made, Purse
from moot.patterns.market.kinds import AnyRules
from tests.patterns.suite import CLIENT, Begin, plainly

SIGNER = HmacSigner(b"a key that every life has")
SALT = "a salt that everybody could guess"

Context = AgentContext[Purse]


class Noting(BidderAgent):
    """An honest bidder that notes each result that it is told."""

    @handles
    async def result(self, message: AuctionResult, ctx: Context) -> None:
        told = await ctx.shared_state.get(f"told/{self.id}", [])
        await ctx.shared_state.set(f"told/{self.id}", [*told, [message.winner, message.price]])


class Crashing(Noting):
    """Fails whenever there is something to do, before it has done it."""

    @handles
    async def news(self, message: AuctionNews, ctx: Context) -> None:
        raise ValueError("this bidder is broken")


class Late(Noting):
    """Bids more than all others when it is over."""

    @handles
    async def news(self, message: AuctionNews, ctx: Context) -> None:
        ctx.schedule(300.0, PlaceBid(1000, auction=message.auction), to="auctioneer", name="late")


class Babbling(Noting):
    """Bids rubbish."""

    @handles
    async def news(self, message: AuctionNews, ctx: Context) -> None:
        if message.auction not in ctx.state.made:
            ctx.state = Purse({message.auction: Made(0)})
            for content in ("what?", {"amount": "lots"}, {"amount": 500.5}, {"amount": -1}, {"amount": 10**17}):
                ctx.send("auctioneer", content, message_type="bid")
            ctx.send("auctioneer", CommitBid("rubbish"))
            ctx.send("auctioneer", RevealBid(10**6, "x"))


class Impostor(Noting):
    """Bids and acts in the name of another."""

    @handles
    async def news(self, message: AuctionNews, ctx: Context) -> None:
        if message.auction not in ctx.state.made:
            ctx.state = Purse({message.auction: Made(0)})
            ctx.send("auctioneer", {"bidder": "ann", "amount": 900}, message_type="bid")
            ctx.send("auctioneer", CommitBid(seal(message.auction, "ann", 900, SALT), bidder="ann"))
            ctx.send("auctioneer", WithdrawBid(bidder="ann"))
            ctx.send("auctioneer", {"auction": message.auction}, message_type="close_auction")


class Fickle(BidderAgent):
    """Bids as others do, and takes it back."""

    @handles
    async def news(self, message: AuctionNews, ctx: Context) -> None:
        await super().news(message, ctx)
        if message.leader == self.id or message.auction in ctx.state.made:
            ctx.send("auctioneer", WithdrawBid(auction=message.auction))


class Silent(Noting):
    """Wins and does not confirm."""

    @handles
    async def award(self, message: AwardOffered, ctx: Context) -> None:
        pass


class Mute(Silent):
    """Commits and does not reveal."""

    @handles
    async def reveal(self, message: RevealCalled, ctx: Context) -> None:
        pass


class Lying(Noting):
    """Reveals more than it has committed to."""

    @handles
    async def reveal(self, message: RevealCalled, ctx: Context) -> None:
        made = ctx.state.made[message.auction]
        ctx.send("auctioneer", RevealBid(made.amount + 500, made.salt, auction=message.auction))


class Finish(Payload):
    """Have it opened, and fetch what came of it; again, if an answer is lost."""


class Client(Agent):
    """Sells by given rules, and keeps what came of it."""

    def __init__(self, agent_id: str, rules: AnyRules) -> None:
        super().__init__(agent_id)
        self.rules = rules

    @handles
    async def begin(self, message: Begin, ctx: AgentContext) -> None:
        ctx.schedule(0.0, Finish(), name="finish")

    @handles
    async def finish(self, message: Finish, ctx: AgentContext) -> None:
        try:
            await ctx.ask("auctioneer", OpenAuction(self.rules), timeout=10)  # (the same again changes nothing)
            result = await ctx.ask("auctioneer", AwaitResult(self.rules.id), timeout=10)
            transcript = await ctx.ask("auctioneer", GetTranscript(self.rules.id), timeout=10)
        except AskTimeout:
            ctx.schedule(0.5, Finish(), name="finish")
            return
        kept = {"winner": result.winner, "price": result.price, "transcript": msgspec.to_builtins(transcript)}
        await ctx.shared_state.set("outcome", plainly(kept))

    @handles
    async def result(self, message: AuctionResult, ctx: AgentContext) -> None:
        told = await ctx.shared_state.get("told/seller", [])
        await ctx.shared_state.set("told/seller", [*told, [message.winner, message.price]])


def market(rules: AnyRules, *bidders: Agent[Any]) -> Sequence[Agent[Any]]:
    """A seller, an auctioneer, and bidders."""
    return [*bidders, AuctioneerAgent("auctioneer", signer=SIGNER), Client(CLIENT, rules)]


def crowd(fickle: int) -> list[BidderAgent]:
    """One bidder of each kind that harms no auction; to the fickle one the lot is worth ``fickle``."""
    return [
        Crashing("crashing", 500),
        Late("late", 500),
        Babbling("babbling", 500),
        Impostor("impostor", 500),
        Fickle("fickle", fickle),
    ]


def transcript_of(state: dict[str, Any]) -> Transcript:
    return msgspec.convert(state["outcome"]["transcript"], Transcript)


def offers_in(transcript: Transcript) -> dict[str, int]:
    """The last amount of each who bid, did not take it back, and did not fail to stand by it."""
    offers: dict[str, int] = {}
    for entry in transcript.entries:
        match entry.event:
            case Bid(bidder, amount) | Reveal(bidder, amount) if not entry.refused:
                offers[bidder] = amount
            case Withdraw(bidder) if not entry.refused:
                offers.pop(bidder, None)
    return {bidder: amount for bidder, amount in offers.items() if bidder not in transcript.outcome.no_shows}


def wrong_with(state: dict[str, Any], worth: dict[str, int]) -> list[str]:
    """What is wrong with a market, of whatever kind: ``worth`` is what the honest would pay at most."""
    outcome = state["outcome"]
    transcript = transcript_of(state)
    try:
        verify(transcript, SIGNER)
    except TranscriptInvalid as error:
        return [str(error)]
    told = {key: value for key, value in state.items() if key.startswith("told/")}
    final = [outcome["winner"], outcome["price"]]
    wrong = [f"{key} was told {value}, not {final} once" for key, value in told.items() if value != [final]]
    if final != [transcript.outcome.winner, transcript.outcome.price]:
        wrong.append(f"{final} was told, and {transcript.outcome} written")
    offers = offers_in(transcript)
    for entry in transcript.entries:
        match entry.event:
            case Bid(bidder, amount) | Reveal(bidder, amount) if not entry.refused and amount > worth.get(bidder, 500):
                wrong.append(f"{bidder} bid {amount}")
            case Bid("crashing" | "impostor" | "late" | "babbling") if not entry.refused:
                wrong.append(f"there is {entry.event}")
            case Withdraw(bidder) if not entry.refused and bidder != "fickle":
                wrong.append(f"{bidder} has withdrawn")
    winner = transcript.outcome.winner
    if (winner is None) != (not offers) or (winner is not None and offers[winner] != max(offers.values())):
        wrong.append(f"{winner} has won among {offers}")
    confirmed = [
        entry.event.bidder for entry in transcript.entries if isinstance(entry.event, Confirm) and not entry.refused
    ]
    if confirmed != ([] if winner is None else [winner]):
        wrong.append(f"{winner} has won, and {confirmed} confirmed")
    return wrong
