"""The auctioneer's book: its auctions by id, as a value that it keeps."""

from __future__ import annotations

import msgspec

from moot import ReplyTo
from moot.patterns.market.english import English
from moot.patterns.market.kinds import AnyAuction, AnyRules
from moot.patterns.market.messages import AuctionNews, AuctionResult
from moot.patterns.market.pricing import UNIT
from moot.patterns.market.refusals import AlreadyOpen, Refused, UnknownAuction
from moot.patterns.market.transcript import Recording

__all__ = ["Book", "news_of", "parties", "result_of"]


class Book(msgspec.Struct, frozen=True):
    """Auctions by id, the closed ones in the order in which they closed, and who waits for the result of which.

    ``begun`` are the ids of those that the auctioneer was constructed with, also when they are forgotten otherwise.
    """

    recordings: dict[str, Recording] = {}
    waiting: dict[str, tuple[ReplyTo, ...]] = {}
    begun: tuple[str, ...] = ()

    def find(self, auction: str, asker: str) -> Recording:
        """The auction of that id; without one, the only one that is not closed.

        Raises:
            UnknownAuction: there is none.
        """
        if auction:
            found = self.recordings.get(auction)
            if found is None:
                raise UnknownAuction(auction, asker, "there is none of that id; it may be closed long since")
            return found
        running = [recording for recording in self.recordings.values() if recording.auction.stage != "closed"]
        if len(running) != 1:
            raise UnknownAuction("", asker, f"{len(running)} auctions are open; name the one that is meant")
        return running[0]

    def opened(self, rules: AnyRules, at: float, most: int) -> Book:
        """With one more auction; the same if it has that one.

        Raises:
            AlreadyOpen: it has another one of that id. Refused: ``most`` are open.
        """
        known = self.recordings.get(rules.id)
        if known is not None and known.auction.rules == rules:
            return self
        if known is not None:
            raise AlreadyOpen(rules.id, rules.seller, "there is another auction of that id; choose another id")
        if sum(recording.auction.stage != "closed" for recording in self.recordings.values()) >= most:
            raise Refused(rules.id, rules.seller, f"{most} auctions are open; wait until one is closed")
        return self.with_(Recording.of(rules, at), kept=len(self.recordings))

    def with_(self, recording: Recording, kept: int) -> Book:
        """With that recording, at its end if it is closed; of the closed ones the last ``kept``."""
        name = recording.auction.rules.id
        recordings = {**self.recordings, name: recording}
        if recording.auction.stage == "closed":
            recordings[name] = recordings.pop(name)
            closed = [key for key, each in recordings.items() if each.auction.stage == "closed"]
            for key in closed[: max(0, len(closed) - kept)]:
                del recordings[key]
        return msgspec.structs.replace(self, recordings=recordings)

    def waited(self, auction: str, reply_to: ReplyTo, now: float) -> Book:
        """With one more who waits for the result of an auction; those whose time is up are forgotten."""
        others = tuple(each for each in self.waiting.get(auction, ()) if each.deadline is None or each.deadline > now)
        return msgspec.structs.replace(self, waiting={**self.waiting, auction: (*others, reply_to)})

    def heard(self, auction: str) -> Book:
        """Without those who waited for the result of an auction."""
        waiting = {key: each for key, each in self.waiting.items() if key != auction}
        return msgspec.structs.replace(self, waiting=waiting)


def news_of(auction: AnyAuction, now: float, bidder: str | None = None) -> AuctionNews:
    """What everybody may know of an auction, now; what is asked, of ``bidder`` if it is registered."""
    rules = auction.rules
    at = max(now, auction.now)
    weight = UNIT if rules.bidders is None or bidder not in rules.bidders else rules.bidders[bidder].weight
    is_bidding = auction.stage == "bidding" and not auction.is_due(at)
    leader = auction.leader if isinstance(rules, English) else auction.award
    return AuctionNews(
        rules.id,
        str(rules.__struct_config__.tag),
        rules.lot,
        auction.stage,
        rules.asking(auction, at, weight) if is_bidding else None,
        None if leader is None else leader.bidder,
        auction.deadline,
        rules.time_to_reveal is not None,
    )


def result_of(auction: AnyAuction) -> AuctionResult:
    """The result of a closed auction; what the winner had bid is not in it."""
    outcome = auction.outcome
    assert outcome is not None
    return AuctionResult(
        outcome.auction, auction.rules.lot, outcome.winner, outcome.price, outcome.no_shows, outcome.forfeited
    )


def parties(auction: AnyAuction) -> list[str]:
    """The seller, and all who are or were in it as bidders."""
    bidders = (*(auction.rules.bidders or ()), *auction.offers, *auction.seals, *auction.withdrawn)
    return list(dict.fromkeys((auction.rules.seller, *bidders)))
