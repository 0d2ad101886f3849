"""What each replicated type promises in words: who wins, what is kept, how big it gets, and what it refuses."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from moot import Payload
from moot.messaging.codec import JsonCodec, MsgpackCodec
from moot.messaging.message import AgentMessage
from moot.state.crdt import (
    CausalContext,
    Dot,
    GCounter,
    LWWMap,
    LWWRegister,
    MVRegister,
    ORMap,
    ORSet,
    PNCounter,
    Stamp,
    VersionVector,
)

NOW = 1_700_000_000.0


def hits(empty: Any, by: int, key: str = "k") -> ORMap[Any]:
    """A map in which ``a`` has counted."""
    return ORMap[Any]().update("a", key, empty, lambda value, writer: value.increment(writer, by))


def size(value: Any) -> int:
    return len(msgspec.msgpack.encode(value))


def after(state: Any, *changes: Callable[[Any], Any]) -> Any:
    """The state after each of the changes, which return deltas."""
    for change in changes:
        state = state.join(change(state))
    return state


# --- who wins --------------------------------------------------------------------------------------------------------


def test_two_replicas_that_count_at_once_lose_nothing() -> None:
    start: GCounter = after(GCounter(), lambda c: c.increment("a", 5))

    both = start.join(start.increment("a", 2)).join(start.increment("b"))

    assert both.value == 8
    assert (both.share("a"), both.share("b")) == (7, 1)


def test_an_addition_wins_over_a_removal_that_did_not_see_it() -> None:
    start: ORSet[str] = after(ORSet(), lambda s: s.add("a", "x", "y"))

    both = start.join(start.remove("x", "y")).join(start.add("b", "x"))

    assert both.value == {"x"}
    assert ("x" in both, "y" in both, len(both)) == (True, False, 1)


def test_a_removal_of_what_is_not_in_changes_nothing() -> None:
    assert ORSet[str]().remove("x") == ORSet()


def test_the_later_write_wins_and_at_one_time_the_larger_replica() -> None:
    first = LWWRegister[str]().set("a", "early", NOW)

    assert first.join(LWWRegister[str]().set("b", "same time", NOW)).value == "same time"
    assert first.join(LWWRegister[str]().set("b", "earlier", NOW - 1)).value == "early"
    assert first.join(first.set("b", "its clock is behind", NOW - 30)).value == "its clock is behind"


def test_a_stamp_carries_the_time_of_the_machine() -> None:
    stamp = LWWRegister[int]().set("a", 1, NOW).stamp

    assert stamp is not None
    assert stamp.seconds == NOW


def test_concurrent_writes_of_a_register_are_all_there_until_one_sees_them() -> None:
    start = MVRegister[str]()

    both = start.join(start.set("a", "left")).join(start.set("b", "right"))

    assert both.value == ("left", "right")
    assert both.join(both.set("a", "decided")).value == ("decided",)


def test_a_removal_that_knows_only_the_last_of_three_writes_is_the_same_in_any_order() -> None:
    first: ORSet[str] = ORSet[str]().add("a", "x")
    second = first.join(first.add("a", "x"))
    third = second.add("a", "x")  # its own delta says nothing of the first
    removal = ORSet[str]().join(third).remove("x")

    assert first.join(third).join(removal) == first.join(third.join(removal))
    assert first.join(third).join(removal).join(second).value == frozenset()


def test_a_removed_key_that_was_written_meanwhile_stays() -> None:
    start: LWWMap[int] = after(LWWMap(), lambda m: m.put("a", {"k": 1, "l": 1}, NOW))

    both = start.join(start.remove("k", "l")).join(start.put("b", {"k": 2}, NOW))

    assert both.value == {"k": 2}
    assert (both.get("k"), both.get("l"), both.get("l", 7)) == (2, None, 7)
    assert ("k" in both, "l" in both, len(both)) == (True, False, 1)


def test_a_counter_that_was_removed_begins_anew_though_another_still_has_the_old_one() -> None:
    def hits(by: int, replica: str) -> Callable[[ORMap[GCounter]], ORMap[GCounter]]:
        return lambda m: m.update(replica, "hits", GCounter(), lambda value, writer: value.increment(writer, by))

    old: ORMap[GCounter] = after(ORMap(), hits(5, "a"))
    new = after(old, lambda m: m.remove("hits"), hits(1, "a"))
    elsewhere = after(old, hits(1, "b"))

    assert new.value == {"hits": 1}
    assert old.join(new).value == {"hits": 1}
    assert elsewhere.join(new).value == {"hits": 2}
    assert ("hits" in new, len(new), new.get("none")) == (True, 1, None)


WRITES: dict[str, tuple[Any, Callable[..., Any], Any]] = {
    "g_counter": (GCounter(), lambda value, writer, what: value.increment(writer, what), 2),
    "pn_counter": (PNCounter(), lambda value, writer, what: value.decrement(writer, what), -2),
    "lww_register": (LWWRegister(), lambda value, writer, what: value.set(writer, what, NOW), 2),
    "mv_register": (MVRegister(), lambda value, writer, what: value.set(writer, what), (2,)),
    "or_set": (ORSet(), lambda value, writer, what: value.add(writer, what), {2}),
    "lww_map": (LWWMap(), lambda value, writer, what: value.put(writer, {str(what): what}, NOW), {"2": 2}),
}


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize("by", ["a", "b", "c"])
def test_a_removal_takes_back_what_it_saw_whoever_wrote_it_and_nothing_else(kind: str, by: str) -> None:
    empty, write, left = WRITES[kind]

    def written(state: ORMap[Any], replica: str, what: int) -> ORMap[Any]:
        return state.update(replica, "k", empty, lambda value, writer: write(value, writer, what))

    start: ORMap[Any] = written(ORMap(), by, 1)
    removal = start.remove("k")  # by a
    meanwhile = written(start, "b", 2)

    assert start.join(removal).value == {}
    for joined in (start.join(removal).join(meanwhile), start.join(meanwhile).join(removal), removal.join(meanwhile)):
        assert joined.value == {"k": left}
        again = joined.join(written(joined, "b", 2)).join(removal)
        assert again.value == joined.join(written(joined, "b", 2)).value


def test_a_count_under_a_key_takes_no_more_room_for_each_change_nor_after_removals() -> None:
    def counted(state: ORMap[PNCounter]) -> ORMap[PNCounter]:
        return state.update("a", "k", PNCounter(), lambda value, writer: value.increment(writer))

    state: ORMap[PNCounter] = after(ORMap(), counted, lambda m: m.remove("k"), counted)
    before = size(state)

    for number in range(3000):
        state = after(state, counted, (lambda m: m.remove("k")) if number % 7 == 0 else counted)

    assert size(state) <= before + 16  # the numbers got longer, nothing else


def test_two_lives_of_a_key_are_counted_apart_where_the_removal_between_them_was_lost() -> None:
    def hits(state: ORMap[GCounter], by: int) -> ORMap[GCounter]:
        return state.update("a", "hits", GCounter(), lambda value, writer: value.increment(writer, by))

    old = hits(ORMap(), 5)
    removal = old.remove("hits")
    new = hits(old.join(removal), 1)

    assert old.join(new).value == {"hits": 6}
    assert old.join(new).join(removal).value == {"hits": 1}


def test_a_map_holds_sets_and_an_element_removed_in_one_is_removed_in_all() -> None:
    tags: ORMap[ORSet[str]] = ORMap()
    tags = tags.join(tags.update("a", "page", ORSet(), lambda value, writer: value.add(writer, "new", "hot")))

    there = tags.join(tags.update("b", "page", ORSet(), lambda value, _: value.remove("new")))

    assert there.join(tags).value == {"page": frozenset({"hot"})}


# --- sizes -----------------------------------------------------------------------------------------------------------


def test_a_set_is_no_bigger_after_100_000_additions_and_removals() -> None:
    state: ORSet[str] = after(ORSet(), lambda s: s.add("a", "stays"), lambda s: s.add("b", "too"))
    before = size(state)
    one = "x"

    for turn in range(50_000):
        replica = "ab"[turn % 2]
        state = state.join(state.add(replica, one))
        state = state.join(state.remove(one))

    assert len(state.context) == 50_002
    assert size(state) <= before + 16  # the numbers got longer, nothing else


def test_ten_changed_keys_of_ten_thousand_are_a_small_delta() -> None:
    keys = [f"key-{number:05}" for number in range(10_000)]
    state: LWWMap[str] = after(LWWMap(), lambda m: m.put("a", dict.fromkeys(keys, "before"), NOW))
    seen = state.digest
    changes = dict.fromkeys(random.Random(1).sample(keys, 10), "after")

    delta = state.put("b", changes, NOW + 1)
    caught_up = state.join(delta).since(seen)

    assert size(delta) <= 1000
    assert size(caught_up) <= 1000
    assert state.join(caught_up) == state.join(delta)
    assert size(state) > 100 * size(caught_up)


def test_whoever_has_seen_everything_is_sent_next_to_nothing() -> None:
    state: ORSet[str] = after(ORSet(), lambda s: s.add("a", *(str(number) for number in range(1000))))

    assert size(state.since(state.digest)) <= 16


# --- on the wire -----------------------------------------------------------------------------------------------------


class Gossip(Payload):
    tags: ORSet[str]
    hits: ORMap[PNCounter]
    seen: VersionVector


@pytest.mark.parametrize("codec", [JsonCodec(), MsgpackCodec()], ids=["json", "msgpack"])
def test_replicated_values_travel_in_messages(codec: Any) -> None:
    tags: ORSet[str] = after(ORSet(), lambda s: s.add("a", "x", "y"), lambda s: s.remove("x"))
    hits: ORMap[PNCounter] = ORMap[PNCounter]().update("a", "k", PNCounter(), lambda v, w: v.decrement(w))
    gossip = Gossip(tags=tags, hits=hits, seen=tags.digest)

    arrived = codec.decode(codec.encode(AgentMessage(sender="a", to="b", content=gossip, message_type="gossip")))

    assert msgspec.convert(arrived.content, Gossip) == gossip


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "type"),
    [
        (b'{"counts":{"a":-1}}', GCounter),
        (b'{"ups":{"a":0}}', PNCounter),
        (b'{"counts":{"":1}}', GCounter),
        (b'{"counts":{"a":"many"}}', GCounter),
        (b'{"counts":{"a":99999999999999999999}}', GCounter),
        (b'{"clocks":[1]}', VersionVector),
        (b'{"seen":{"a":[5,1]}}', CausalContext),
        (b'{"entries":{"x":[]}}', ORSet[str]),
        (b'{"entries":{"x":[["a",0]]}}', ORSet[str]),
        (b'{"entries":{"x":[["a",1,-5,"v"]]}}', LWWMap[str]),
        (b'{"content":1,"stamp":[5,""]}', LWWRegister[int]),
        (b'{"writes":[["a",1]]}', MVRegister[int]),
        (b'{"entries":{"k":[["a",1,1,{"ups":{"a":-1}}]]}}', ORMap[PNCounter]),
        (b"[]", ORMap[PNCounter]),
    ],
)
def test_damaged_bytes_are_refused(data: bytes, type: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(data, type=type)


@pytest.mark.parametrize(
    ("value", "change", "error", "text"),
    [
        (GCounter(), lambda v: v.increment("a", -1), ValueError, "must lie between 0"),
        (PNCounter(), lambda v: v.decrement("a", -1), ValueError, "must lie between 0"),
        (GCounter(), lambda v: v.increment("a", 1.5), TypeError, "whole number, not float"),
        (GCounter({"a": 2**63 - 1}), lambda v: v.increment("a"), ValueError, "must lie between"),
        (GCounter(), lambda v: v.increment(""), ValueError, "replica id is not empty"),
        (GCounter(), lambda v: v.increment(7), TypeError, "replica id is text, not int"),
        (GCounter({"a": 1}), lambda v: v.share("b"), ValueError, "unknown replica id 'b'; known are: a"),
        (
            GCounter(),
            lambda v: v.join(PNCounter()),
            TypeError,
            "GCounter cannot be joined or compared with a PNCounter",
        ),
        (ORSet(), lambda v: v.join({"x"}), TypeError, "cannot be joined"),
        (ORSet(), lambda v: v.add("", "x"), ValueError, "replica id is not empty"),
        (ORSet(), lambda v: v.add("a", ["x"]), TypeError, "unhashable"),
        (LWWMap(), lambda v: v.put("a", {1: 1}, NOW), TypeError, "key of a replicated map is text, not int"),
        (ORMap(), lambda v: v.update("a", 1, GCounter(), lambda old, _: old), TypeError, "is text, not int"),
        (ORMap(), lambda v: v.update("a", "k", GCounter(), lambda *_: 1), TypeError, "cannot be joined"),
        (ORMap(), lambda v: v.update("a", "k", ORMap(), lambda old, _: old), TypeError, "'page/tags'"),
        (
            ORMap(),
            lambda v: v.update("a", "k", GCounter(), lambda old, _: old.increment("b")),
            ValueError,
            "made by 'a' wrote as 'b'; write as the name it is given",
        ),
        (
            ORMap(),
            lambda v: v.update("a", "k", ORSet(), lambda old, _: old.add("b", "x")),
            ValueError,
            "made by 'a' wrote as 'b'",
        ),
        (LWWRegister(), lambda v: v.set("a", 1, "noon"), TypeError, "number of seconds, not str"),
        (LWWRegister(), lambda v: v.set("a", 1, math.nan), ValueError, "no time in seconds"),
        (LWWRegister(), lambda v: v.set("a", 1, -1.0), ValueError, "no time in seconds"),
        (
            LWWRegister(1, Stamp(2**63 - 1, "a")),
            lambda v: v.set("a", 1, NOW, max_drift=math.inf),
            ValueError,
            "largest",
        ),
    ],
)
def test_misuse_is_an_error_that_says_what_is_wrong(
    value: Any, change: Callable[[Any], Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        change(value)


def test_a_clock_that_went_back_too_far_is_an_error_unless_it_is_allowed() -> None:
    written = LWWRegister[int]().set("a", 1, NOW)
    kept = LWWMap[int]().put("a", {"k": 1}, NOW)

    with pytest.raises(ValueError, match="it went back, or another runs ahead, by more than 60 s; correct the clock"):
        written.set("a", 2, NOW - 3600)
    with pytest.raises(ValueError, match="it went back"):
        kept.put("a", {"k": 2}, NOW - 3600)
    assert written.join(written.set("a", 2, NOW - 3600, max_drift=math.inf)).value == 2


def test_a_write_outside_its_own_context_is_refused_when_it_is_joined() -> None:
    damaged = ORSet({"x": (Dot("a", 3),)}, CausalContext({"a": (1, 2)}))

    with pytest.raises(ValueError, match="write 3 of 'a' is not in its own context; ask the peer for its whole state"):
        ORSet[str]().join(damaged)


def test_two_replicas_with_one_id_are_found_out() -> None:
    left, right = MVRegister[str]().set("a", "left"), MVRegister[str]().set("a", "right")

    with pytest.raises(ValueError, match="event 1 of 'a' was two different writes; give each replica an id of its own"):
        left.join(right)


SECOND_HISTORIES = {
    "register": (LWWRegister("p", Stamp(1, "a")), LWWRegister("q", Stamp(1, "a"))),
    "set": (ORSet[str]().add("a", "left"), ORSet[str]().add("a", "right")),
    "map": (LWWMap[int]().put("a", {"left": 1}, NOW), LWWMap[int]().put("a", {"right": 1}, NOW)),
    "map, one key": (LWWMap[int]().put("a", {"k": 1}, NOW), LWWMap[int]().put("a", {"k": 2}, NOW)),
    "map of counts": (hits(GCounter(), 1), hits(GCounter(), 2)),
    "map of counts, two keys": (hits(GCounter(), 1), hits(GCounter(), 1, "other")),
    "counter": (PNCounter().increment("a"), PNCounter().decrement("a")),
    "later": (
        after(ORSet[str](), lambda s: s.add("b", "x"), lambda s: s.add("a", "left", "again")),
        after(ORSet[str](), lambda s: s.add("a", "again", "left", "third")),
    ),
}


@pytest.mark.parametrize("pair", SECOND_HISTORIES.values(), ids=SECOND_HISTORIES)
def test_two_histories_under_one_id_are_found_out_whoever_joins(pair: tuple[Any, Any]) -> None:
    for mine, theirs in (pair, pair[::-1]):
        with pytest.raises(ValueError, match="give each replica an id of its own"):
            mine.join(theirs)


def test_a_value_that_is_not_equal_to_itself_is_no_second_write() -> None:
    one = MVRegister[float]().set("a", math.nan)
    copy = msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=MVRegister[float])

    assert len(one.join(copy).value) == 1
