"""`moot demo market`: four kinds of auction among the same bidders, and how the price of the English one rose."""

from __future__ import annotations

import random
from statistics import fmean

from moot import AgentContext, AgentManager
from moot.cli.demos import SEED, play
from moot.patterns.market import (
    AuctioneerAgent,
    AwaitResult,
    Bid,
    BidderAgent,
    Dutch,
    English,
    FirstPrice,
    GetTranscript,
    HmacSigner,
    Offer,
    PlaceBid,
    Transcript,
    Vickrey,
    allocate,
    shaded,
    truthful,
    verify,
)
from moot.patterns.market.bidder import Purse, Strategy
from moot.patterns.market.kinds import AnyRules

__all__ = ["market"]

NAMES = ["ann", "bob", "cid", "dee", "eve"]
MOST = 1000
MARKETS = 5000
SIGNER = HmacSigner(b"the key of this demonstration")


class Thoughtful(BidderAgent):
    """Takes its time before it bids."""

    def bid(self, auction: str, amount: int, ctx: AgentContext[Purse]) -> None:
        delay = ctx.random.uniform(0.5, 6.0) if auction == "english" else 0.0
        ctx.schedule(delay, PlaceBid(amount, auction=auction), to="auctioneer", name=auction)


async def hold(rules: AnyRules, worth: dict[str, int], strategy: Strategy, seed: int) -> Transcript:
    """One auction, from its opening to its verified transcript."""
    async with AgentManager(seed=seed) as manager:
        for name, value in worth.items():
            await manager.register(Thoughtful(name, value, strategy))
        await manager.register(AuctioneerAgent("auctioneer", rules, signer=SIGNER))
        await manager.ask("auctioneer", AwaitResult(rules.id), timeout=3600)
        transcript = await manager.ask("auctioneer", GetTranscript(rules.id))
    verify(transcript, SIGNER)
    return transcript


def accepted(transcript: Transcript) -> list[tuple[float, str, int]]:
    """Seconds, bidder and amount of each open bid that was taken."""
    return [
        (entry.at - transcript.opened_at, entry.event.bidder, entry.event.amount)
        for entry in transcript.entries
        if isinstance(entry.event, Bid) and not entry.refused
    ]


def path(transcript: Transcript, width: int = 64, height: int = 12) -> list[str]:
    """The price over time: each bid is drawn by the first letter of its bidder, and stands until the next."""
    bids = accepted(transcript)
    end = transcript.entries[-1].at - transcript.opened_at
    top = max(amount for _, _, amount in bids)
    rows = [[" "] * (width + 1) for _ in range(height + 1)]
    ends = [at for at, _, _ in bids[1:]] + [end]
    for (at, bidder, amount), until in zip(bids, ends, strict=True):
        row = rows[height - amount * height // top]
        first, last = int(at / end * width), int(until / end * width)
        row[first : last + 1] = "·" * (last + 1 - first)
        row[first] = bidder[0]
    labels = [f"{top * (height - row) // height:>5} │" for row in range(height + 1)]
    lines = [label + "".join(row).rstrip() for label, row in zip(labels, rows, strict=True)]
    return [*lines, "      └" + "─" * width, f"       0 s{f'{end:.0f} s':>{width - 3}}"]


def mean_revenue(seed: int) -> tuple[float, float]:
    """What a first-price and a Vickrey auction bring on average, over many markets of five."""
    choice = random.Random(seed)
    plan = shaded(len(NAMES))
    first, second = [], []
    for _ in range(MARKETS):
        values = {name: choice.randrange(MOST) for name in NAMES}
        own = allocate([Offer(name, plan(value)) for name, value in values.items()])
        other = allocate([Offer(name, value) for name, value in values.items()], pays="second")
        first.append(own.price if own else 0)
        second.append(other.price if other else 0)
    return fmean(first), fmean(second)


async def main(seed: int) -> None:
    choice = random.Random(seed)
    worth = {name: choice.randrange(MOST // 5, MOST) for name in NAMES}
    print("worth to:  " + "  ".join(f"{name} {value}" for name, value in worth.items()) + "\n")
    plans: list[tuple[AnyRules, str, Strategy]] = [
        (English("english", lasts=60, increment=25, snipe_within=10, extend_by=10), "truthful", truthful),
        (Vickrey("vickrey", lasts=60, reveal_within=30), "truthful", truthful),
        (FirstPrice("first price", lasts=60, reveal_within=30), "4/5 of it", shaded(len(NAMES))),
        (Dutch("dutch", start=MOST, step=1, every=0.1), "4/5 of it", shaded(len(NAMES))),
    ]
    print(f"{'auction':<13}{'bids are':<11}{'winner':<8}{'pays':>5}{'gains':>7}{'entries':>9}   transcript")
    transcripts = [await hold(rules, worth, strategy, seed) for rules, _, strategy in plans]
    for (rules, name, _), transcript in zip(plans, transcripts, strict=True):
        outcome = transcript.outcome
        gain = worth[outcome.winner] - outcome.price if outcome.winner else 0
        facts = f"{outcome.winner or '-':<8}{outcome.price:>5}{gain:>7}{len(transcript.entries):>9}"
        print(f"{rules.id:<13}{name:<11}{facts}   {transcript.signature.hex()[:12]}…")
    first, second = mean_revenue(seed)
    theory = MOST * (len(NAMES) - 1) / (len(NAMES) + 1)
    print(
        f"\nrevenue over {MARKETS} markets of five: first price {first:.0f}, vickrey {second:.0f}; theory {theory:.0f}"
    )
    print("\nthe English auction, bid by bid:")
    print("\n".join(path(transcripts[0])))


def market(seed: SEED = 1) -> None:
    """Sell one thing in four kinds of auction to the same five bidders."""
    play(main(seed))
