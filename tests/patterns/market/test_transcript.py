"""A transcript replays to the same outcome, and no change to it goes unnoticed."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from moot.patterns.market import (
    Bid,
    Close,
    Commit,
    Confirm,
    English,
    Event,
    HmacSigner,
    Outcome,
    Recording,
    Reveal,
    Tick,
    Transcript,
    TranscriptInvalid,
    Vickrey,
    Withdraw,
    replay,
    seal,
    verify,
)
from moot.patterns.market.ed25519 import Ed25519Signer, Ed25519Verifier
from moot.patterns.market.kinds import AnyRules
from moot.patterns.market.signing import Signer, Verifier
from moot.patterns.market.transcript import MOST_REFUSED, first_digest, next_digest
from tests.patterns.market.bidding import SALT

KEY = HmacSigner(b"a key that is long enough")
PAIR = Ed25519Signer(bytes(range(32)))


def recorded(rules: AnyRules, seed: int) -> Recording:
    """An auction in which much happens, some of it refused."""
    choice = random.Random(seed)
    recording = Recording.of(rules, 1000.0)
    at = 1000.0
    while recording.auction.stage != "closed":
        at += choice.choice([0.5, 2.0, 5.0])
        name = choice.choice(["ann", "bob", "cid"])
        amount = choice.randint(0, 100)
        events: list[Event] = [
            Bid(name, amount),
            Commit(name, seal(rules.id, name, amount, SALT)),
            Reveal(name, choice.randint(0, 100), SALT),
            Withdraw(name),
            Confirm(name),
            Tick(),
        ]
        recording, _ = recording.take(choice.choice(events), at)
    return recording


def english(name: str = "lot") -> English:
    return English(name, seller="sue", lasts=60, snipe_within=5, extend_by=5, withdrawable=20, confirm_within=10)


def vickrey(name: str = "lot") -> Vickrey:
    return Vickrey(name, lasts=60, reveal_within=40, confirm_within=10, deposit=3, withdrawable=20)


kinds = st.sampled_from([english, vickrey])


@given(kinds, st.integers(0, 10_000))
def test_it_replays_to_the_same_auction(kind: Callable[[], AnyRules], seed: int) -> None:
    recording = recorded(kind(), seed)

    transcript = recording.signed(KEY)

    assert replay(transcript) == recording.auction == verify(transcript, KEY)


@given(kinds, st.integers(0, 10_000))
def test_it_is_the_same_after_a_journey(kind: Callable[[], AnyRules], seed: int) -> None:
    transcript = recorded(kind(), seed).signed(PAIR)

    by_json = msgspec.json.decode(msgspec.json.encode(transcript), type=Transcript)
    by_msgpack = msgspec.msgpack.decode(msgspec.msgpack.encode(transcript), type=Transcript)

    assert by_json == by_msgpack == transcript
    assert verify(by_json, PAIR) == verify(by_msgpack, PAIR) == verify(transcript, PAIR)


def edited(value: Any, data: st.DataObject) -> Any:
    """The value with something in it changed, however deep."""
    if isinstance(value, msgspec.Struct) and value.__struct_fields__:
        field = data.draw(st.sampled_from(value.__struct_fields__), label="field")
        return msgspec.structs.replace(value, **{field: edited(getattr(value, field), data)})
    if isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct):
        place = data.draw(st.integers(0, len(value) - 1), label="entry")
        return (*value[:place], edited(value[place], data), *value[place + 1 :])
    return data.draw(st.sampled_from(others_than(value)), label="instead")


def others_than(value: Any) -> list[Any]:
    match value:
        case str():
            return [value + "x", "ann", "bob", value[:-1], ""]
        case int() | float():
            return [value + 1, value - 1, 0, 0.5]
        case bytes():
            return [b"", value[:-1], value[1:] + value[:1], bytes([value[0] ^ 1]) + value[1:]]
        case tuple():
            return [(*value, "eve"), value[1:], value[::-1]]
        case dict():
            return [{**value, "eve": 1}]
        case _:
            return [Bid("eve", 99), 1.0, None]


def cut(entries: tuple[Any, ...], others: tuple[Any, ...], data: st.DataObject) -> tuple[Any, ...]:
    """The entries, with one dropped, moved, inserted or doubled, or the end cut off, or one of another auction."""
    place = data.draw(st.integers(0, len(entries) - 1), label="place")
    before, this, after = entries[:place], entries[place], entries[place + 1 :]
    ways = {
        "drop": (*before, *after),
        "swap": (*before, *after[:1], this, *after[1:]),
        "double": (*before, this, this, *after),
        "truncate": before,
        "splice": (*before, data.draw(st.sampled_from(others)), *after),
        "insert": (*before, msgspec.structs.replace(this, event=Bid("eve", 99)), this, *after),
        "go on with another": (*before, *others[place:]),
    }
    return ways[data.draw(st.sampled_from(sorted(ways)), label="way")]


def rehashed(transcript: Transcript) -> Transcript:
    """With numbers and digests as the auctioneer would have written them: a forger can do that without the key."""
    before = first_digest(transcript.rules, transcript.opened_at)
    entries = []
    for number, entry in enumerate(transcript.entries):
        before = next_digest(before, number, entry.at, entry.event, entry.refused)
        entries.append(msgspec.structs.replace(entry, number=number, digest=before))
    return msgspec.structs.replace(transcript, entries=tuple(entries))


@given(kinds, st.integers(0, 200), st.data())
def test_any_single_change_is_noticed(kind: Callable[..., AnyRules], seed: int, data: st.DataObject) -> None:
    signer: Signer = PAIR if data.draw(st.booleans(), label="pair") else KEY
    true = recorded(kind(), seed).signed(signer)
    others = recorded(kind("another"), seed + 1).entries
    if data.draw(st.booleans(), label="edit"):
        try:
            false = edited(true, data)
        except (ValueError, TypeError):  # rules that cannot even be
            assume(False)
    else:
        false = msgspec.structs.replace(true, entries=cut(true.entries, others, data))
    assume(false != true)

    with pytest.raises(TranscriptInvalid):
        verify(false, signer)
    forged = rehashed(false)
    if forged != true:
        with pytest.raises(TranscriptInvalid):
            verify(forged, signer)


def test_it_says_where_it_was_changed() -> None:
    true = recorded(english(), 3).signed(KEY)
    entry = msgspec.structs.replace(true.entries[2], at=true.entries[2].at + 0.25)

    with pytest.raises(TranscriptInvalid) as wrong:
        verify(msgspec.structs.replace(true, entries=(*true.entries[:2], entry, *true.entries[3:])))

    assert (wrong.value.number, wrong.value.auction) == (2, "lot")


@pytest.mark.parametrize("opened_at", [-1.0, float("inf"), float("nan")])
def test_an_auction_that_opened_at_no_time_is_no_auction(opened_at: float) -> None:
    with pytest.raises(TranscriptInvalid, match="opens at a time"):
        verify(Transcript(English("lot", lasts=60), opened_at, (), Outcome("lot")))


def test_an_auctioneer_that_breaks_the_rules_is_found_out_by_the_replay() -> None:
    """It has the key and writes a sound chain, but takes a bid that it had to refuse, or awards to another."""
    fair, _ = Recording.of(english(), 0).take(Bid("ann", 50), 1)
    fair, _ = fair.take(Close("sue"), 2)
    fair, _ = fair.take(Confirm("ann"), 3)
    true = fair.signed()
    event = msgspec.structs.replace(true.entries[0], event=Bid("ann", 50), refused="over_budget")

    for false in (
        msgspec.structs.replace(true, entries=(event, *true.entries[1:])),
        msgspec.structs.replace(true, outcome=Outcome("lot", "bob", 1, 1)),
    ):
        signed = rehashed(msgspec.structs.replace(false, scheme=KEY.scheme))
        with pytest.raises(TranscriptInvalid, match=r"was over_budget|lead to"):
            replay(signed)


def test_another_key_and_another_scheme_do_not_verify() -> None:
    transcript = recorded(english(), 1).signed(PAIR)

    assert verify(transcript, Ed25519Verifier(PAIR.public_key)).stage == "closed"
    others: list[Verifier] = [KEY, Ed25519Verifier(Ed25519Signer(bytes(32)).public_key)]
    for other in others:
        with pytest.raises(TranscriptInvalid, match="signature"):
            verify(transcript, other)
    with pytest.raises(TranscriptInvalid, match="signature"):
        verify(recorded(english(), 1).signed(), KEY)


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "moot.patterns.market.ed25519")
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)

    with pytest.raises(ImportError, match=r"pip install 'moot\[signing\]'"):
        importlib.import_module("moot.patterns.market.ed25519")


def test_what_is_not_closed_is_not_signed() -> None:
    with pytest.raises(RuntimeError, match="not closed"):
        Recording.of(english(), 0).signed(KEY)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="guessed"):
        HmacSigner(b"short")


def test_who_only_disturbs_does_not_fill_the_book() -> None:
    recording, _ = Recording.of(english(), 0).take(Bid("ann", 50), 0)
    for _ in range(100):
        recording, refused = recording.take(Bid("ann", 1), 1)
        assert refused is not None
    for rubbish in (Bid("ann", 10**40), Bid("bob", 1.5), Commit("ann", "x" * 10_000), Bid("stranger", 1)):  # type: ignore[arg-type]
        recording, _ = recording.take(rubbish, 1)

    assert len(recording.entries) == 1 + MOST_REFUSED


def test_a_seal_is_of_one_bidder_in_one_auction() -> None:
    seals = [
        seal(auction, bidder, amount, salt)
        for auction in ("a", "ab")
        for bidder in ("b", "")
        for amount in (1, 11)
        for salt in (SALT, SALT + "1")
    ]

    assert len(set(seals)) == len(seals)
