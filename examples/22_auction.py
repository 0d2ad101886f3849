"""Auctions: the same bidders in an English and a Vickrey auction, and a transcript that shows when it was changed.

Prints: english: cid wins and pays 70.00 · vickrey: cid wins and pays 72.00 · a transcript of 8 entries, and it is true
· changed at entry 0: it does not continue what stands before it
"""

import asyncio

import msgspec

from moot import AgentManager
from moot.patterns.market import (
    AuctioneerAgent,
    AwaitResult,
    BidderAgent,
    CloseAuction,
    English,
    GetTranscript,
    HmacSigner,
    TranscriptInvalid,
    Vickrey,
    verify,
)

WORTH = {"ann": 60_00, "bob": 72_00, "cid": 90_00}  # amounts are whole cents


async def main() -> None:
    signer = HmacSigner(b"32 random bytes, kept by the seller")
    auctions = [
        English("english", lot="a painting", lasts=60, reserve=50_00, increment=5_00, snipe_within=5, extend_by=10),
        Vickrey("vickrey", lot="a painting", lasts=60, reserve=50_00, reveal_within=30, confirm_within=30),
    ]
    async with AgentManager(seed=1) as manager:
        for name, worth in WORTH.items():
            await manager.register(BidderAgent(name, worth))
        await manager.register(AuctioneerAgent("auctioneer", *auctions, signer=signer))
        await manager.settle()

        for auction in auctions:
            await manager.ask("auctioneer", CloseAuction(auction.id))  # no need to wait a minute
            result = await manager.ask("auctioneer", AwaitResult(auction.id))
            print(f"{result.auction}: {result.winner} wins and pays {result.price / 100:.2f}")
        transcript = await manager.ask("auctioneer", GetTranscript("vickrey"))

    verify(transcript, signer)
    print(f"a transcript of {len(transcript.entries)} entries, and it is true")
    first, *rest = transcript.entries
    late = msgspec.structs.replace(first, at=first.at + 1)
    try:
        verify(msgspec.structs.replace(transcript, entries=(late, *rest)), signer)
    except TranscriptInvalid as error:
        print(f"changed at entry {error.number}: {error.why}")


if __name__ == "__main__":
    asyncio.run(main())
