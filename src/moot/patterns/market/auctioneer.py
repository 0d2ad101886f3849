"""AuctioneerAgent: runs auctions of every kind over messages, several at once.

All that it knows of an auction is its state, which is kept with each turn, and its deadlines are timers of its own; so
an auctioneer that crashes, or whose process is killed, goes on where it was, and awards a lot once. Who bids is who
sent the message. The rules decide, and the auctioneer says what they said.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from moot import Agent, AgentContext, InvalidPayload, Payload, TimeoutPolicy, handles
from moot.patterns.market.book import Book, news_of, parties, result_of
from moot.patterns.market.events import Bid, Close, Commit, Confirm, Event, Reveal, Tick, Withdraw
from moot.patterns.market.kinds import AnyAuction, AnyRules
from moot.patterns.market.messages import (
    AuctionNews,
    AuctionResult,
    AwaitResult,
    AwardOffered,
    CloseAuction,
    CommitBid,
    ConfirmAward,
    Due,
    GetAuction,
    GetTranscript,
    OpenAuction,
    PlaceBid,
    Receipt,
    RevealBid,
    RevealCalled,
    WithdrawBid,
)
from moot.patterns.market.refusals import Refused, WrongName, WrongStage
from moot.patterns.market.rules import Rules
from moot.patterns.market.signing import Signer
from moot.patterns.market.transcript import Recording, Transcript

__all__ = ["NEWS_TOPIC", "OUTSIDE", "AuctioneerAgent"]

NEWS_TOPIC = "auctions"
"""Where the news of auctions are published that anybody may bid in; registered bidders are sent theirs."""
OUTSIDE = "outside"
"""The sender's name of a caller that is not an agent: it may be the seller, and is sent nothing."""

Context = AgentContext[Book]
BidderMessage = PlaceBid | CommitBid | RevealBid | WithdrawBid | ConfirmAward


class AuctioneerAgent(Agent[Book]):
    """Opens the auctions with the given ``rules``, and those that it is sent; see `moot.patterns.market.messages`.

    ``signer`` signs the transcripts. At most ``most_open`` auctions are open at once, and the last ``most_closed`` can
    still be asked about. It waits for no bidder: one whose mailbox is full is not told.
    """

    capabilities = ("auctioneer",)
    timeouts = TimeoutPolicy(send_timeout=0)

    def __init__(
        self,
        agent_id: str,
        *rules: Rules,
        signer: Signer | None = None,
        most_open: int = 1000,
        most_closed: int = 100,
    ) -> None:
        super().__init__(agent_id)
        self.rules = [each for each in rules if isinstance(each, AnyRules)]
        if len(self.rules) < len(rules):
            raise TypeError(f"auctions are English, Dutch, FirstPrice or Vickrey, not {rules!r}")
        self.signer = signer
        self.most_open = most_open
        self.most_closed = most_closed

    async def on_start(self, ctx: Context) -> None:
        """Opens what it was constructed with, in the first life of the system; what is closed is not opened again."""
        for rules in self.rules:
            if rules.id not in ctx.state.recordings and rules.id not in ctx.state.begun:
                self._open(rules if rules.seller else msgspec.structs.replace(rules, seller=OUTSIDE), ctx)
        begun = dict.fromkeys((*ctx.state.begun, *(rules.id for rules in self.rules)))
        ctx.state = msgspec.structs.replace(ctx.state, begun=tuple(begun))

    @handles
    async def open_auction(self, message: OpenAuction, ctx: Context) -> AuctionNews:
        """Opens an auction; a second time, tells how it stands."""
        rules = message.rules
        if not isinstance(rules, AnyRules):
            raise InvalidPayload("open_auction", f"the rules of an auction are not {rules!r:.80}")
        if rules.seller not in ("", ctx.sender) and ctx.sender != OUTSIDE:
            raise WrongName(rules.id, ctx.sender, f"it cannot sell for {rules.seller!r}; leave the seller out")
        return self._open(rules if rules.seller else msgspec.structs.replace(rules, seller=ctx.sender), ctx)

    @handles
    async def bid(self, message: BidderMessage, ctx: Context) -> Receipt | None:
        """Whatever a bidder does."""
        sender = ctx.sender
        match message:
            case PlaceBid(amount):
                event: Event = Bid(sender, amount)
            case CommitBid(committed):
                event = Commit(sender, committed)
            case RevealBid(amount, salt):
                event = Reveal(sender, amount, salt)
            case WithdrawBid():
                event = Withdraw(sender)
            case ConfirmAward():
                event = Confirm(sender)
        return self._receive(message.auction, event, ctx, claimed=message.bidder)

    @handles
    async def close_auction(self, message: CloseAuction, ctx: Context) -> Receipt | None:
        """Ends the bidding before its time."""
        return self._receive(message.auction, Close(ctx.sender), ctx)

    @handles
    async def get_auction(self, message: GetAuction, ctx: Context) -> AuctionNews:
        return news_of(self._brought_up(message.auction, ctx).auction, ctx.now(), ctx.sender)

    @handles
    async def get_transcript(self, message: GetTranscript, ctx: Context) -> Transcript:
        recording = self._brought_up(message.auction, ctx)
        if recording.auction.stage != "closed":
            raise WrongStage(
                message.auction, ctx.sender, "its transcript is there when it is closed; await_result first"
            )
        return recording.signed(self.signer)

    @handles
    async def await_result(self, message: AwaitResult, ctx: Context) -> AuctionResult | None:
        """Answers when the auction is closed."""
        auction = self._brought_up(message.auction, ctx).auction
        if auction.stage == "closed":
            return result_of(auction)
        if ctx.reply_to is not None:
            ctx.state = ctx.state.waited(auction.rules.id, ctx.defer(), ctx.now())
        return None

    @handles
    async def due(self, message: Due, ctx: Context) -> None:
        """The time of an auction goes on; only its own timer says so."""
        if ctx.sender == self.id and message.auction in ctx.state.recordings:
            auction = self._brought_up(message.auction, ctx).auction
            if auction.stage != "closed":  # (a timer may be early, by the rounding of a time, and comes again)
                self._wait(auction, ctx)
            if auction.stage == "bidding":  # a clock has moved on
                self._tell(auction, ctx)

    def _open(self, rules: AnyRules, ctx: Context) -> AuctionNews:
        before = ctx.state
        ctx.state = before.opened(rules, ctx.now(), self.most_open)
        auction = ctx.state.recordings[rules.id].auction
        if ctx.state is not before:
            self._wait(auction, ctx)
            self._tell(auction, ctx)
        return news_of(auction, ctx.now())

    def _brought_up(self, name: str, ctx: Context) -> Recording:
        """The auction as it is now: what is due has happened, even if its timer is late."""
        recording = ctx.state.find(name, ctx.sender)
        after, _ = recording.take(Tick(), ctx.now())
        if after is not recording:
            self._follow(recording.auction, after, ctx)
        return after

    def _receive(self, name: str, event: Event, ctx: Context, claimed: str = "") -> Receipt | None:
        """Take an event; the receipt if it was asked for or is a refusal to be told."""
        try:
            recording = ctx.state.find(name, ctx.sender)
        except Refused as unknown:
            return self._refuse(unknown, None, ctx)
        if claimed not in ("", ctx.sender):
            named = recording.auction.rules.id
            return self._refuse(WrongName(named, ctx.sender, f"it cannot act for {claimed!r}"), recording, ctx)
        after, refused = recording.take(event, ctx.now())
        if after is not recording:
            self._follow(recording.auction, after, ctx)
        if refused is not None:
            return self._refuse(refused, after, ctx)
        auction = after.auction
        asking = auction.asking(ctx.sender, auction.now)
        return Receipt(auction.rules.id, asking=asking, deadline=auction.deadline, digest=after.digest)

    def _refuse(self, refused: Refused, recording: Recording | None, ctx: Context) -> Receipt | None:
        asking = deadline = None
        if recording is not None:
            asking = recording.auction.asking(ctx.sender, max(ctx.now(), recording.auction.now))
            deadline = recording.auction.deadline
        receipt = Receipt(refused.auction, refused.reason, str(refused), asking, deadline)
        if ctx.reply_to is None and ctx.sender != OUTSIDE:
            ctx.send(ctx.sender, receipt)
        return receipt

    def _follow(self, before: AnyAuction, after: Recording, ctx: Context) -> None:
        """Keep what an auction has become, and tell those whom it concerns."""
        auction = after.auction
        ctx.state = ctx.state.with_(after, self.most_closed)
        if auction == before:
            return
        if auction.stage == "revealing" and before.stage == "bidding":
            self._each(auction.seals, RevealCalled(auction.rules.id, auction.deadline or 0.0), ctx)
        if auction.stage == "confirming" and auction.award is not None and auction.award != before.award:
            offered = AwardOffered(auction.rules.id, auction.award.price, auction.deadline or 0.0)
            self._each([auction.award.bidder], offered, ctx)
        if auction.stage == "closed":
            self._conclude(auction, ctx)
        self._wait(auction, ctx)
        if auction.stage != "closed" and news_of(auction, auction.now) != news_of(before, auction.now):
            self._tell(auction, ctx)

    def _conclude(self, auction: AnyAuction, ctx: Context) -> None:
        """Tell the result: in the one turn in which the auction closes."""
        result = result_of(auction)
        self._each(parties(auction), result, ctx)
        for reply_to in ctx.state.waiting.get(auction.rules.id, ()):
            ctx.send(reply_to, result)
        ctx.state = ctx.state.heard(auction.rules.id)

    def _wait(self, auction: AnyAuction, ctx: Context) -> None:
        """Be woken when something is due next."""
        rules, timer = auction.rules, f"auction {auction.rules.id}"
        if auction.deadline is None:
            ctx.unschedule(timer)
            return
        next_at = auction.deadline
        if auction.stage == "bidding":
            next_at = min(next_at, rules.changes_at(auction, max(ctx.now(), auction.now)))
        ctx.schedule(max(0.0, next_at - ctx.now()), Due(rules.id), name=timer)

    def _tell(self, auction: AnyAuction, ctx: Context) -> None:
        """Give the news. Of a sealed auction that somebody has bid is none."""
        if auction.rules.bidders is None:
            ctx.publish(NEWS_TOPIC, news_of(auction, ctx.now()))
        for bidder in auction.rules.bidders or ():
            self._each([bidder], news_of(auction, ctx.now(), bidder), ctx)

    def _each(self, to: Iterable[str], content: Payload, ctx: Context) -> None:
        for agent in to:
            if agent != OUTSIDE:
                ctx.send(agent, content)
