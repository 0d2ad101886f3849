"""A bidder listens to its own auctioneer, bids once where one bids once, and never against itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from moot import AgentContext, AgentManager, MailboxPolicy, handles
from moot.patterns.market import (
    AuctioneerAgent,
    AuctionNews,
    AuctionResult,
    AwaitResult,
    AwardOffered,
    BidderAgent,
    CommitBid,
    ConfirmAward,
    Dutch,
    PlaceBid,
    RevealBid,
    RevealCalled,
    registered,
    seal,
    shaded,
)
from moot.patterns.market.bidder import Made, Purse
from moot.testing import FakeContext


def news(kind: str, asking: int | None = 50, leader: str | None = None, *, is_committed: bool = False) -> AuctionNews:
    return AuctionNews("lot", kind, "", "bidding", asking, leader, 60.0, is_committed)


async def told(message: Any, state: Purse | None = None, *, sender: str = "auctioneer") -> tuple[list[Any], Purse]:
    """What a bidder sends to whom it sends it, and what it keeps, after a message."""
    context = FakeContext.of(message=message, agent_id="ann", sender=sender, state=state or Purse())
    await context.handle(BidderAgent("ann", {"lot": 100}))
    return context.sent, context.state


@pytest.mark.parametrize(
    ("message", "state", "expected"),
    [
        (news("english"), Purse(), [("auctioneer", PlaceBid(50, auction="lot"))]),
        (news("english", 100), Purse(), [("auctioneer", PlaceBid(100, auction="lot"))]),
        (news("english", 101), Purse(), []),
        (news("english", leader="ann"), Purse(), []),
        (news("english", None), Purse(), []),
        (news("dutch"), Purse(), [("auctioneer", PlaceBid(50, auction="lot"))]),
        (news("dutch"), Purse({"lot": Made(50)}), []),
        (news("first_price"), Purse(), [("auctioneer", PlaceBid(100, auction="lot"))]),
        (news("first_price"), Purse({"lot": Made(100)}), []),
        (AwardOffered("lot", 100, 60.0), Purse(), [("auctioneer", ConfirmAward(auction="lot"))]),
        (AwardOffered("lot", 101, 60.0), Purse(), []),
        (AwardOffered("other", 1, 60.0), Purse(), []),
        (RevealCalled("lot", 60.0), Purse(), []),
    ],
)
async def test_it_bids_what_its_purse_allows(message: Any, state: Purse, expected: list[Any]) -> None:
    sent, _ = await told(message, state)

    assert sent == expected


@pytest.mark.parametrize(
    "message",
    [news("english"), RevealCalled("lot", 60.0), AwardOffered("lot", 1, 60.0), AuctionResult("lot", "", "ann", 1)],
)
async def test_it_does_not_listen_to_anybody_else(message: Any) -> None:
    before = Purse({"lot": Made(100, "a salt that nobody knows")}) if isinstance(message, RevealCalled) else Purse()

    assert await told(message, before, sender="eve") == ([], before)


async def test_it_commits_with_a_salt_of_its_own_and_reveals_that() -> None:
    ((to, commitment),), purse = await told(news("vickrey", is_committed=True))
    made = purse.made["lot"]
    ((_, revealed),), _ = await told(RevealCalled("lot", 60.0), purse)

    assert to == "auctioneer"
    assert commitment == CommitBid(seal("lot", "ann", 100, made.salt), auction="lot")
    assert revealed == RevealBid(100, made.salt, auction="lot")
    assert len(made.salt) == 32


async def test_it_keeps_what_it_has_won() -> None:
    _, won = await told(AuctionResult("lot", "", "ann", 70))
    _, lost = await told(AuctionResult("lot", "", "bob", 70))

    assert (won.won, lost.won) == ({"lot": 70}, {})


async def test_a_bid_is_forgotten_with_its_result() -> None:
    _, kept = await told(AuctionResult("lot", "", "bob", 70), Purse({"lot": Made(50), "other": Made(9)}, {"old": 1}))

    assert kept == Purse({"other": Made(9)}, {"old": 1})


class Hanging(BidderAgent):
    """Never ends its first turn."""

    @handles
    async def news(self, message: AuctionNews, ctx: AgentContext[Purse]) -> None:
        await asyncio.sleep(1e6)


@pytest.mark.parametrize("mailbox", [Hanging.mailbox, MailboxPolicy(4)], ids=lambda policy: policy.overflow)
async def test_no_auctioneer_waits_for_a_bidder_that_hangs(mailbox: MailboxPolicy) -> None:
    clock = Dutch("lot", start=2000, step=1, every=0.1, bidders=registered(["ann", "hanging"]))
    async with AgentManager() as manager:
        await manager.register(BidderAgent("ann", 500))
        await manager.register(Hanging("hanging", 900), mailbox=mailbox)
        await manager.register(AuctioneerAgent("auctioneer", clock))
        began = asyncio.get_running_loop().time()

        result = await manager.ask("auctioneer", AwaitResult("lot"), timeout=1000)

        assert (result.winner, result.price) == ("ann", 500)
        assert asyncio.get_running_loop().time() - began == pytest.approx(150, abs=1)


def test_nobody_shades_among_none() -> None:
    with pytest.raises(ValueError, match="1 bidder or more"):
        shaded(0)
