"""Transcripts: everything that happened in an auction, in a chain of hashes that is signed at its end.

Each entry's digest covers the one before, the first covers the rules; so nothing can be changed, left out, moved, put
in or brought over from another auction without breaking the chain, or else the digest of its end. Signed are that
digest, the number of entries and the outcome, once the auction is closed; a shorter transcript has no signature.
To replay a transcript is to fold its events: it must give the same outcome, and refuse again whom it has refused.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from moot import Factual, InvalidPayload
from moot.patterns.market.auction import Outcome
from moot.patterns.market.events import Event, Tick
from moot.patterns.market.kinds import AnyAuction, AnyRules, open_auction
from moot.patterns.market.refusals import Refused
from moot.patterns.market.signing import Signer, Verifier

__all__ = ["Entry", "Recording", "Transcript", "TranscriptInvalid", "replay", "verify"]

MOST_REFUSED = 8
"""How many refused events of one bidder are written down: one that only disturbs shall not fill the book."""
LONGEST_REFUSED = 512
"""The bytes of the longest refused event that is written down."""

_encoder = msgspec.json.Encoder(order="deterministic")


class TranscriptInvalid(Factual):
    """A transcript is not what the auctioneer wrote, or the auctioneer did not keep to the rules.

    ``number`` is the first entry that is wrong; None if it is the whole.
    """

    auction: str
    number: int | None
    why: str

    def __str__(self) -> str:
        where = "as a whole" if self.number is None else f"at entry {self.number}"
        return f"the transcript of auction {self.auction!r} is wrong {where}: {self.why}; do not rely on its outcome"


class Entry(msgspec.Struct, frozen=True):
    """An event, when it happened, why it was refused (empty if it was not), and the digest of all up to here."""

    number: int
    at: float
    event: Event
    refused: str
    digest: str


class Transcript(msgspec.Struct, frozen=True):
    """A closed auction, to be handed to anybody. Without a signer, ``scheme`` and ``signature`` are empty."""

    rules: AnyRules
    opened_at: float
    entries: tuple[Entry, ...]
    outcome: Outcome
    scheme: str = ""
    signature: bytes = b""


class Recording(msgspec.Struct, frozen=True):
    """An auction and what has happened in it; a value, like the auction."""

    auction: AnyAuction
    entries: tuple[Entry, ...] = ()

    @classmethod
    def of(cls, rules: AnyRules, at: float) -> Recording:
        """An auction that opens now, with the rules as they come back from every codec: 60 seconds are 60.0.

        Raises:
            InvalidPayload: they do not come back, for something in them is not of its type, or cannot be written.
        """
        try:
            plain = msgspec.convert(msgspec.to_builtins(rules), AnyRules)
            msgspec.msgpack.encode(plain)
        except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
            raise InvalidPayload("open_auction", str(error)) from error
        return cls(open_auction(plain, float(at)))

    @property
    def digest(self) -> str:
        """The digest of all that is written."""
        return self.entries[-1].digest if self.entries else first_digest(self.auction.rules, self.auction.opened_at)

    def take(self, event: Event, at: float) -> tuple[Recording, Refused | None]:
        """What is recorded after ``event``, and why it was refused, if it was. What is due by then happens before."""
        at = max(float(at), self.auction.now, self.entries[-1].at if self.entries else 0.0)
        before = self
        if self.auction.is_due(at):
            before = _written(self, self.auction.apply(Tick(), at), Tick(), at)
        if isinstance(event, Tick):
            return before, None
        try:
            return _written(before, before.auction.apply(event, at), event, at), None
        except Refused as refused:
            return _refusal(before, event, at, refused.reason), refused

    def signed(self, signer: Signer | None = None) -> Transcript:
        """The transcript of an auction that is closed. Raises `RuntimeError` if it is not."""
        auction = self.auction
        if auction.outcome is None:
            raise RuntimeError(f"auction {auction.rules.id!r} is not closed, so nothing can be signed; wait for it")
        plain = Transcript(auction.rules, auction.opened_at, self.entries, auction.outcome)
        if signer is None:
            return plain
        named = msgspec.structs.replace(plain, scheme=signer.scheme)
        return msgspec.structs.replace(named, signature=signer.sign(statement(named)))


def first_digest(rules: AnyRules, opened_at: float) -> str:
    """What the chain of an auction begins with."""
    return _digest("moot auction", rules, opened_at)


def next_digest(before: str, number: int, at: float, event: Event, refused: str) -> str:
    """The digest of an entry that follows the one whose digest is ``before``."""
    return _digest("moot entry", before, number, at, event, refused)


def statement(transcript: Transcript) -> bytes:
    """What is signed."""
    entries = transcript.entries
    last = entries[-1].digest if entries else first_digest(transcript.rules, transcript.opened_at)
    return _encoder.encode(
        ["moot transcript", transcript.scheme, transcript.rules.id, len(entries), last, transcript.outcome]
    )


def replay(transcript: Transcript) -> AnyAuction:
    """The auction that these entries make of these rules.

    Raises:
        TranscriptInvalid: an event is refused that was taken, or taken that was refused, or has another outcome.
    """
    rules = transcript.rules
    try:
        auction = open_auction(rules, transcript.opened_at)
    except ValueError as error:
        raise TranscriptInvalid(rules.id, None, str(error)) from error
    for entry in transcript.entries:
        refused = ""
        try:
            changed = auction.apply(entry.event, entry.at)
        except Refused as error:
            refused, changed = error.reason, auction
        except ValueError as error:
            raise TranscriptInvalid(rules.id, entry.number, str(error)) from error
        if refused != entry.refused:
            raise TranscriptInvalid(
                rules.id, entry.number, f"it is {refused or 'taken'}, and was {entry.refused or 'taken'}"
            )
        auction = changed
    if auction.outcome != transcript.outcome:
        raise TranscriptInvalid(
            rules.id, None, f"its events lead to {auction.outcome}, and not to {transcript.outcome}"
        )
    return auction


def verify(transcript: Transcript, verifier: Verifier | None = None) -> AnyAuction:
    """Check chain, signature and outcome, and return the auction as it ended.

    Without a ``verifier`` it says whether the transcript is sound in itself, and not who wrote it.

    Raises:
        TranscriptInvalid: it is not what was signed, or breaks its own rules.
    """
    name = transcript.rules.id
    before = first_digest(transcript.rules, transcript.opened_at)
    for place, entry in enumerate(transcript.entries):
        before = next_digest(before, place, entry.at, entry.event, entry.refused)
        if (entry.number, entry.digest) != (place, before):
            raise TranscriptInvalid(name, place, "it does not continue what stands before it")
    if verifier is not None and (
        transcript.scheme != verifier.scheme or not verifier.verifies(statement(transcript), transcript.signature)
    ):
        raise TranscriptInvalid(name, None, f"it has no {verifier.scheme} signature of this key")
    return replay(transcript)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(_encoder.encode(parts)).hexdigest()


def _written(recording: Recording, auction: AnyAuction, event: Event, at: float, refused: str = "") -> Recording:
    number = len(recording.entries)
    entry = Entry(number, at, event, refused, next_digest(recording.digest, number, at, event, refused))
    return Recording(auction, (*recording.entries, entry))


def _refusal(recording: Recording, event: Event, at: float, reason: str) -> Recording:
    """With a refused event, if that is of somebody who takes part and does not only disturb."""
    auction, who = recording.auction, _actor(event)
    takes_part = auction.stage != "closed" and (
        who in auction.offers or who in auction.seals or who in (auction.rules.bidders or ())
    )
    times = sum(bool(entry.refused) and _actor(entry.event) == who for entry in recording.entries)
    if not takes_part or times >= MOST_REFUSED or not _is_writable(event):
        return recording
    return _written(recording, auction, event, at, reason)


def _is_writable(event: Event) -> bool:
    """Whether it is short, and comes back from every codec as it was: what is refused may be anything."""
    try:
        written = msgspec.msgpack.encode(event)
        return len(written) <= LONGEST_REFUSED and msgspec.msgpack.decode(written, type=Event) == event
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError):
        return False


def _actor(event: Event) -> str:
    return str(getattr(event, "bidder", getattr(event, "by", "")))
