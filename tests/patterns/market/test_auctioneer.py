"""The auctioneer runs auctions of every kind over messages, several at once, and awards each lot once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    AgentMessage,
    AskTimeout,
    InvalidPayload,
    Payload,
    Supervision,
    TurnError,
    handles,
)
from moot.patterns.market import (
    AuctioneerAgent,
    AuctionResult,
    AwaitResult,
    Bid,
    BidderAgent,
    CloseAuction,
    Commit,
    CommitBid,
    ConfirmAward,
    Dutch,
    English,
    FirstPrice,
    GetAuction,
    GetTranscript,
    HmacSigner,
    OpenAuction,
    PlaceBid,
    Receipt,
    Recording,
    RevealBid,
    Tick,
    Vickrey,
    WithdrawBid,
    registered,
    seal,
    shaded,
    verify,
)
from moot.patterns.market.book import Book
from moot.patterns.market.kinds import AnyRules
from moot.patterns.market.messages import Due
from moot.testing import FakeContext, SimulatedBackend
from tests.patterns.market.bidding import SALT
from tests.patterns.market.rogues import Silent

SIGNER = HmacSigner(b"a key that is long enough")
VALUES = {"ann": 910, "bob": 740, "cid": 730, "dee": 300}
RISING = English("lot", lasts=60, reserve=100, increment=10)


class Do(Payload):
    """Have an agent ask the auctioneer what stands at this place of `asked`."""

    place: int


asked: list[Any] = []
answers: dict[int, Any] = {}


def to_do(what: Any) -> Do:
    asked.append(what)
    return Do(len(asked) - 1)


class Doer(Agent):
    """Asks the auctioneer what it is told to, and keeps answers and results."""

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.results: list[AuctionResult] = []
        self.receipts: list[Receipt] = []

    @handles
    async def do(self, message: Do, ctx: AgentContext) -> None:
        answers[message.place] = await ctx.ask("auctioneer", asked[message.place], timeout=5)

    @handles
    async def result(self, message: AuctionResult) -> None:
        self.results.append(message)

    @handles
    async def receipt(self, message: Receipt) -> None:
        self.receipts.append(message)


async def do(manager: AgentManager, agent: str, what: Any) -> Any:
    todo = to_do(what)
    await manager.ask(agent, todo)
    return answers.pop(todo.place)


async def doers(manager: AgentManager, *rules: AnyRules, **options: Any) -> list[Doer]:
    agents = [Doer(name) for name in ("ann", "bob", "sue")]
    for agent in agents:
        await manager.register(agent)
    await manager.register(AuctioneerAgent("auctioneer", *rules, signer=SIGNER, **options))
    return agents


async def sold(manager: AgentManager, auction: str) -> AuctionResult:
    result = await manager.ask("auctioneer", AwaitResult(auction), timeout=10_000)
    verify(await manager.ask("auctioneer", GetTranscript(auction)), SIGNER)
    return result


class ReferenceBidder(Agent):
    """In the style of the reference design: untyped content, one method."""

    told: list[Any]

    async def handle_message(self, message: AgentMessage, ctx: AgentContext) -> None:
        match message.message_type:
            case "go":
                ctx.send("auctioneer", {"bidder": self.id, "amount": message.content}, message_type="bid")
            case "auction_result":
                self.told = [*getattr(self, "told", []), message.content]


async def test_plain_maps_are_enough() -> None:
    bidders = [ReferenceBidder("bidder_1"), ReferenceBidder("bidder_2")]
    async with AgentManager() as manager:
        for bidder in bidders:
            await manager.register(bidder)
        await manager.register(AuctioneerAgent("auctioneer", RISING))
        await manager.tell("bidder_1", 120, message_type="go")
        await manager.tell("bidder_2", 150, message_type="go")
        await manager.settle()

        await manager.tell("auctioneer", {}, message_type="close_auction")
        await manager.settle()

        assert [(told.winner, told.price) for bidder in bidders for told in bidder.told] == [("bidder_2", 150)] * 2
        assert list(manager.dead_letters.list()) == []


async def test_four_auctions_run_at_once() -> None:
    auctions: list[AnyRules] = [
        English("rising", lasts=60, reserve=100, increment=10),
        Dutch("falling", start=1000, step=10, every=1.0, reserve=100),
        FirstPrice("first", lasts=60, reserve=100),
        Vickrey("second", lasts=60, reserve=100, reveal_within=10, confirm_within=5),
    ]
    async with AgentManager(seed=1) as manager:
        for name, value in VALUES.items():
            await manager.register(BidderAgent(name, value))
        await manager.register(AuctioneerAgent("auctioneer", *auctions, signer=SIGNER))

        results = [await sold(manager, rules.id) for rules in auctions]

        assert [result.winner for result in results] == ["ann"] * 4
        assert 740 <= results[0].price <= 750
        assert [result.price for result in results[1:]] == [910, 910, 740]
        assert list(manager.dead_letters.list()) == []


async def test_who_shades_pays_less() -> None:
    async with AgentManager() as manager:
        for name, value in VALUES.items():
            await manager.register(BidderAgent(name, {"lot": value}, shaded(4)))
        await manager.register(AuctioneerAgent("auctioneer", FirstPrice("lot", lasts=60), signer=SIGNER))

        assert (await sold(manager, "lot")).price == 910 * 3 // 4


async def test_who_sends_is_who_bids() -> None:
    async with AgentManager() as manager:
        _, bob, _ = await doers(manager, RISING)

        refused = await do(manager, "bob", PlaceBid(200, bidder="ann"))
        taken = await do(manager, "ann", PlaceBid(200, bidder="ann"))

        assert (refused.refused, taken.refused) == ("wrong_name", "")
        for act in (WithdrawBid(bidder="ann"), ConfirmAward(bidder="ann"), CommitBid("x", bidder="ann")):
            assert (await do(manager, "bob", act)).refused == "wrong_name"
        assert (await do(manager, "bob", CloseAuction())).refused == "not_the_seller"
        assert bob.results == []


async def test_rubbish_harms_who_sends_it() -> None:
    async with AgentManager() as manager:
        ann, _, _ = await doers(manager, RISING)
        await do(manager, "ann", PlaceBid(200))

        for content in ("what?", {"amount": "lots"}, {"amount": 1.5}, {}, None):
            with pytest.raises(InvalidPayload):
                await manager.ask("auctioneer", content, message_type="bid")
        odd: Any = [1.5, True, 10**30, "200"]
        for amount in odd:
            with pytest.raises(InvalidPayload):
                await do(manager, "ann", PlaceBid(amount))
        for amount in (-3, 2**64 - 1):
            assert (await do(manager, "ann", PlaceBid(amount))).refused == "invalid_amount"
        assert (await do(manager, "ann", CommitBid("x" * 100_000))).refused == "wrong_stage"
        await manager.tell("auctioneer", CloseAuction())
        await manager.settle()

        assert [(result.winner, result.price) for result in ann.results] == [("ann", 200)]


async def test_a_bid_that_was_told_and_is_refused_is_answered() -> None:
    async with AgentManager() as manager:
        ann, _, _ = await doers(manager, RISING)

        class Teller(Agent):
            @handles
            async def do(self, message: Do, ctx: AgentContext) -> None:
                ctx.send("auctioneer", asked[message.place])

            @handles
            async def receipt(self, message: Receipt) -> None:
                ann.receipts.append(message)

        await manager.register(Teller("teller"))
        await manager.tell("teller", to_do(PlaceBid(99)))
        await manager.tell("teller", to_do(PlaceBid(100)))
        await manager.settle()

        (receipt,) = ann.receipts
        assert (receipt.refused, receipt.asking) == ("below_asking", 100)
        assert "bid 100 or more" in receipt.why


async def test_a_receipt_is_found_in_the_transcript() -> None:
    async with AgentManager() as manager:
        await doers(manager, RISING)
        receipts = [await do(manager, "ann", PlaceBid(200)), await do(manager, "bob", PlaceBid(300))]
        await manager.tell("auctioneer", CloseAuction())

        transcript = await manager.ask("auctioneer", GetTranscript("lot"))

        assert {receipt.digest for receipt in receipts} <= {entry.digest for entry in transcript.entries}
        assert [receipt.asking for receipt in receipts] == [210, 310]


async def test_an_auction_is_named_where_there_are_several() -> None:
    async with AgentManager() as manager:
        await doers(manager)
        none = await do(manager, "ann", PlaceBid(1))
        await do(manager, "sue", OpenAuction(RISING))
        await do(manager, "sue", OpenAuction(FirstPrice("other", lasts=60)))

        several = await do(manager, "ann", PlaceBid(100))
        named = await do(manager, "ann", PlaceBid(100, auction="other"))

        assert (none.refused, several.refused) == ("unknown_auction", "unknown_auction")
        assert (named.auction, named.refused) == ("other", "")
        assert "2 auctions are open" in several.why


async def test_an_auction_is_opened_once() -> None:
    async with AgentManager() as manager:
        await doers(manager, most_open=1)
        first = await do(manager, "sue", OpenAuction(RISING))
        await do(manager, "ann", PlaceBid(500))

        again = await do(manager, "sue", OpenAuction(RISING))

        assert (first.asking, first.leader, again.asking, again.leader) == (100, None, 510, "ann")
        for agent, rules, why in (
            ("ann", RISING, "another auction of that id"),
            ("sue", English("lot", lasts=61), "another auction of that id"),
            ("sue", English("more", lasts=60), "1 auctions are open"),
            ("ann", English("more", lasts=60, seller="sue"), "cannot sell for 'sue'"),
        ):
            with pytest.raises(TurnError, match=why):
                await do(manager, agent, OpenAuction(rules))


async def test_rules_that_could_not_be_kept_are_not_opened() -> None:
    odd: Any = {"ann": 5}
    async with AgentManager() as manager:
        await doers(manager)

        with pytest.raises(InvalidPayload, match="Expected `object`"):
            await do(manager, "sue", OpenAuction(English("lot", lasts=60, bidders=odd)))
        for unwritable in (English("lot", lasts=60, lot="\ud800"), English("lot", lasts=60, seed=2**64), odd):
            with pytest.raises(InvalidPayload):
                await do(manager, "sue", OpenAuction(unwritable))
        assert (await do(manager, "sue", OpenAuction(English("lot", lasts=60)))).stage == "bidding"


async def test_only_so_many_closed_auctions_are_kept() -> None:
    async with AgentManager() as manager:
        await doers(manager, most_closed=2)
        for number in range(4):
            await do(manager, "sue", OpenAuction(English(f"lot {number}", lasts=60)))
            await do(manager, "sue", CloseAuction())

        assert (await manager.ask("auctioneer", GetAuction("lot 3"))).stage == "closed"
        with pytest.raises(TurnError, match="closed long since"):
            await manager.ask("auctioneer", GetAuction("lot 1"))


class Falling(AuctioneerAgent):
    """Fails when it is told to."""

    @handles
    async def fall(self, message: Do, ctx: AgentContext) -> None:
        raise LookupError("the auctioneer has fallen")


async def test_a_lot_is_not_put_up_again_by_an_auctioneer_that_is_made_anew() -> None:
    restarting = Supervision(directives=((LookupError, "restart"),))
    async with AgentManager(supervision=restarting) as manager:
        ann = Doer("ann")
        await manager.register(ann)
        await manager.register(Falling("auctioneer", RISING, most_closed=0))
        await do(manager, "ann", PlaceBid(100))
        await asyncio.sleep(61)

        await manager.tell("auctioneer", Do(-1))
        await asyncio.sleep(5)

        assert (await do(manager, "ann", PlaceBid(100, auction="lot"))).refused == "unknown_auction"
        assert [result.winner for result in ann.results] == ["ann"]


async def test_what_is_sealed_is_told_to_nobody_before_the_close() -> None:
    async with AgentManager() as manager:
        await doers(manager, FirstPrice("lot", lasts=60))
        await do(manager, "ann", PlaceBid(500))

        news = await do(manager, "bob", GetAuction("lot"))

        assert (news.leader, news.asking) == (None, 0)
        with pytest.raises(TurnError, match="when it is closed"):
            await do(manager, "bob", GetTranscript("lot"))


async def test_commitments_are_revealed_after_the_close() -> None:
    async with AgentManager() as manager:
        ann, _, _ = await doers(manager, Vickrey("lot", lasts=60, reveal_within=30, deposit=5))
        await do(manager, "ann", CommitBid(seal("lot", "ann", 500, SALT)))
        await do(manager, "bob", CommitBid(seal("lot", "bob", 400, SALT)))
        await do(manager, "sue", CommitBid(seal("lot", "sue", 900, SALT)))
        early = await do(manager, "ann", RevealBid(500, SALT))
        await asyncio.sleep(61)

        false = await do(manager, "ann", RevealBid(501, SALT))
        true = await do(manager, "ann", RevealBid(500, SALT))
        await do(manager, "bob", RevealBid(400, SALT))
        result = await sold(manager, "lot")

        assert [each.refused for each in (early, false, true)] == ["wrong_stage", "seal_broken", ""]
        assert (result.winner, result.price, result.no_shows, result.forfeited) == ("ann", 400, ("sue",), {"sue": 5})
        assert ann.results == [result]


async def test_who_does_not_confirm_loses_it_to_the_next() -> None:
    async with AgentManager() as manager:
        await manager.register(Silent("silent", 1000))
        for name, value in VALUES.items():
            await manager.register(BidderAgent(name, value))
        await manager.register(
            AuctioneerAgent("auctioneer", Vickrey("lot", lasts=60, confirm_within=10), signer=SIGNER)
        )

        result = await sold(manager, "lot")

        assert (result.winner, result.price, result.no_shows) == ("ann", 740, ("silent",))


async def test_it_closes_and_confirms_though_nobody_says_anything() -> None:
    async with AgentManager() as manager:
        ann, bob, _ = await doers(manager, English("lot", lasts=60, confirm_within=10))
        await do(manager, "ann", PlaceBid(5))
        await do(manager, "bob", PlaceBid(6))
        await asyncio.sleep(61)
        late = await do(manager, "ann", PlaceBid(7))
        await asyncio.sleep(10)
        confirmed = await do(manager, "ann", ConfirmAward())
        await manager.settle()

        assert (late.refused, confirmed.refused) == ("too_late", "")
        assert [(result.winner, result.no_shows) for result in ann.results + bob.results] == [("ann", ("bob",))] * 2


async def test_registered_bidders_get_the_news_and_their_weights_count() -> None:
    rules = English(
        "lot", lasts=60, increment=10, bidders=registered(["ann", "bob"], {"ann": 2.0, "bob": 1.0}.__getitem__)
    )
    async with AgentManager() as manager:
        for name, value in {"ann": 500, "bob": 800, "eve": 5000}.items():
            await manager.register(BidderAgent(name, value))
        await manager.register(AuctioneerAgent("auctioneer", rules, signer=SIGNER))

        result = await sold(manager, "lot")

        assert result.winner == "ann"
        assert 395 <= result.price <= 410


async def test_only_the_auctioneer_itself_says_what_is_due() -> None:
    async with AgentManager() as manager:
        await doers(manager, RISING)

        await manager.tell("auctioneer", Due("lot"))
        await manager.settle()

        assert (await manager.ask("auctioneer", GetAuction("lot"))).stage == "bidding"


async def test_who_no_longer_waits_for_a_result_is_forgotten() -> None:
    async with AgentManager() as manager:
        await doers(manager, RISING)
        for _ in range(3):
            with pytest.raises(AskTimeout):
                await manager.ask("auctioneer", AwaitResult("lot"), timeout=1)

        assert (await manager.ask("auctioneer", AwaitResult("lot"), timeout=100)).winner is None


@pytest.mark.parametrize("stage", ["revealing", "confirming"])
async def test_a_timer_that_is_early_by_a_rounding_error_comes_again(stage: str) -> None:
    now = 1_700_000_000.0  # (of the context, and just before the deadline)
    sealed = stage == "revealing"
    recording = Recording.of(Vickrey("lot", lasts=5, reveal_within=9.0 if sealed else None, confirm_within=9), now - 14)
    event = Commit("ann", seal("lot", "ann", 5, SALT)) if sealed else Bid("ann", 5)
    for each, at in ((event, now - 13), (Tick(), now - 9 + 1e-6)):
        recording, refused = recording.take(each, at)
        assert refused is None
    assert (recording.auction.stage, recording.auction.is_due(now)) == (stage, False)
    context = FakeContext.of(message=Due("lot"), sender="a", agent_id="a", state=Book({"lot": recording}))

    await context.handle(AuctioneerAgent("a"))

    ((delay, content),) = context.scheduled
    assert (0 < delay < 1e-5, content) == (True, Due("lot"))


class Kept(Agent):
    """A bidder that does what it is told, and counts in the shared state what it has won."""

    @handles
    async def do(self, message: Do, ctx: AgentContext) -> None:
        ctx.send("auctioneer", asked[message.place])

    @handles
    async def result(self, message: AuctionResult, ctx: AgentContext) -> None:
        told = await ctx.shared_state.get(self.id, [])
        await ctx.shared_state.set(self.id, [*told, [message.winner, message.price]])


STEPS: list[tuple[str, PlaceBid | ConfirmAward]] = [
    ("ann", PlaceBid(100)),
    ("bob", PlaceBid(150)),
    ("cid", PlaceBid(90)),
    ("ann", PlaceBid(200)),
    ("bob", PlaceBid(230)),
    ("ann", ConfirmAward()),
]


@pytest.mark.parametrize("crashes", [(), *((n,) for n in range(6)), (0, 2, 4), (1, 3, 5), tuple(range(6))])
async def test_an_auctioneer_that_loses_its_power_midway_has_the_same_winner_and_awards_once(
    crashes: tuple[int, ...],
) -> None:
    disk = SimulatedBackend()
    rules = English("lot", lasts=60, confirm_within=30)

    async def live() -> AgentManager:
        manager = AgentManager(disk, seed=1)
        await manager.start()
        for name in ("ann", "bob", "cid"):
            await manager.register(Kept(name))
        await manager.register(AuctioneerAgent("auctioneer", rules, signer=SIGNER))
        return manager

    manager = await live()
    for number, (who, what) in enumerate(STEPS):
        if isinstance(what, ConfirmAward):
            await asyncio.sleep(85)  # bob was awarded it at 60 s, and was silent for 25 s
            await asyncio.sleep(10)  # and it is ann's
        await manager.tell(who, to_do(what), message_id=f"step {number}")
        if number in crashes:
            disk.fail()
            await manager.stop(drain=False)
            manager = await live()
        await manager.settle()
    result = await sold(manager, "lot")
    told = {name: await manager.shared_state.get(name) for name in ("ann", "bob", "cid")}
    await manager.stop()

    assert (result.winner, result.price, result.no_shows) == ("ann", 200, ("bob",))
    assert told == {"ann": [["ann", 200]], "bob": [["ann", 200]], "cid": None}
