"""The replica as a value: any mix of pushes and catch-ups, lost, repeated and late, gives what the changes say.

Checked on random histories for every kind, with a log that is too short and messages that are too small; and that what
a peer is sent is as small as it can be.
"""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moot.replication import Add, Assign, At, Change, Increment, Kind, Put, Remove, Replica, ReplicationPolicy
from moot.replication.digests import differing, digest_of, haves, keys_in, summary
from moot.replication.kinds import CUMULATIVE, EMPTY, TYPES, decode, encode, shown
from moot.replication.messages import Digest, Part
from moot.replication.replica import key_of, lacking, logged_since, read_back, received, updated
from moot.replication.splitting import split
from moot.state.crdt import CausalContext, Dot, ORSet
from tests.state.histories import ALL, STEPS, World

from .recording import Log, Made, elements, entries, known, last_writes, note, total

NOW = 1_700_000_000.0
TIGHT = ReplicationPolicy(log_entries=3, message_bytes=256)
USUAL = ReplicationPolicy()

KINDS = get_args(Kind)

ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["change", "change", "change", "push", "deliver", "deliver", "sync", "lose"]),
        st.integers(0, 4),
        st.integers(0, 40),
        st.integers(0, 11),
    ),
    max_size=40,
)


def change_of(kind: str, choice: int, number: int) -> Change:
    key = f"key {choice % 3}"
    if choice < 4 and kind not in {"g_counter", "pn_counter", "lww_register", "mv_register"}:
        return Remove((key,))
    if kind.startswith("or_map/"):
        return At(key, change_of(kind.removeprefix("or_map/"), choice, number))  # type: ignore[arg-type]
    match kind:
        case "g_counter" | "pn_counter":
            return Increment(choice)
        case "lww_register" | "mv_register":
            return Assign(number)
        case "or_set":
            return Add((key, number % 3))
    return Put({key: number})


class Group:
    """Some replicas, and parts that are on their way."""

    def __init__(self, kind: Kind, count: int) -> None:
        self.kind = kind
        self.replicas = [Replica(writer=f"w{number}") for number in range(count)]
        self.parts: list[tuple[str, Part]] = []
        self.log: Log = {}
        self.lives = 0

    def step(self, action: str, one: int, other: int, choice: int) -> None:
        here, there = one % len(self.replicas), other % len(self.replicas)
        if action == "change":
            self.change(here, f"v{choice % 2}", change_of(self.kind, choice, other))
        elif action == "push":
            for key, held in self.replicas[here].values.items():
                parts = logged_since(self.replicas[here], key, held.seen.minus(held.unsent), TIGHT) or ()
                self.parts += [(f"r{here}", part) for part in parts]
        elif action == "deliver" and self.parts:
            sender, part = self.parts[other % len(self.parts)]
            self.replicas[here] = received(self.replicas[here], sender, part, NOW, TIGHT)
        elif action == "sync":
            self.sync(here, there, lost=choice)
        elif action == "lose" and choice == 0:
            self.lives += 1
            self.replicas[here] = Replica(writer=f"w{here}.{self.lives}")

    def change(self, here: int, name: str, change: Change) -> None:
        before = self.replicas[here]
        after = updated(before, self.kind, name, change, NOW, TIGHT)
        if after is not before:
            held = before.held(self.kind, name)
            made = Made(change, held.value, after.held(self.kind, name).value)
            note(self.log, key_of(self.kind, name), held.seen.next(before.writer), made)
        self.replicas[here] = after

    def sync(self, here: int, there: int, lost: int = -1) -> None:
        """``there`` sends a digest, ``here`` says what it has, and gets what it lacks; one part may be lost."""
        asker, peer = self.replicas[here], self.replicas[there]
        digest = digest_of(peer)
        for have in haves(asker, digest.count, differing(asker, digest), TIGHT.message_bytes, wants_answer=False):
            for key in keys_in(peer, have.count, have.buckets):
                for number, part in enumerate(lacking(peer, key, have.seen.get(key, CausalContext()), TIGHT)):
                    if number != lost:
                        self.replicas[here] = received(self.replicas[here], f"r{there}", part, NOW, TIGHT)

    def settle(self) -> None:
        for _ in range(2):
            for here in range(len(self.replicas)):
                for there in range(len(self.replicas)):
                    self.sync(here, there)


def expected(kind: str, shown_: Any, made: dict[tuple[str, int], Made]) -> bool:
    match kind:
        case "g_counter" | "pn_counter":
            return bool(shown_ == total(made))
        case "or_set":
            return bool(sorted(shown_, key=str) == elements(made))
        case "mv_register":
            return bool(shown_ == last_writes(made))
        case "lww_register":
            latest = max(made.values(), key=lambda one: one.after.stamp, default=None)
            return bool(shown_ == (latest and latest.after.content))
        case "lww_map":
            possible = entries(made)
            return shown_.keys() == possible.keys() and all(one in possible[key] for key, one in shown_.items())
    return True


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(count=st.integers(3, 5), steps=ACTIONS)
def test_replicas_that_have_all_compared_are_equal_and_show_what_the_changes_say(
    kind: Kind, count: int, steps: list[Any]
) -> None:
    group = Group(kind, count)

    for step in steps:
        group.step(*step)
    group.settle()

    first = group.replicas[0]
    assert len({summary(replica) for replica in group.replicas}) == 1
    for key, held in first.values.items():
        assert all(replica.values[key].value == held.value for replica in group.replicas)
        assert all(not replica.arriving for replica in group.replicas)
        assert expected(kind, shown(held.value), known(group.log[key], held.seen))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(steps=ACTIONS)
def test_a_replica_comes_back_equal_from_what_is_kept_of_it(kind: Kind, steps: list[Any]) -> None:
    group = Group(kind, 3)
    for step in steps:
        group.step(*step)

    for replica in group.replicas:
        assert read_back(msgspec.msgpack.decode(msgspec.msgpack.encode(replica), type=Replica)) == replica


@pytest.mark.parametrize("model", ALL, ids=lambda kind: type(kind).__name__)
@settings(max_examples=60)
@given(steps=STEPS, most=st.integers(1, 120))
def test_the_parts_of_a_value_joined_in_any_order_are_the_whole(model: Any, steps: list[Any], most: int) -> None:
    world = World(model, 3)
    for step in steps:
        world.step(*step)

    for state in world.states:
        joined = model.empty
        for body in reversed(split(state, most)):
            joined = joined.join(msgspec.msgpack.decode(body, type=model.type))
        assert joined == state


def after_the_last_of_three(kind: Kind) -> tuple[Replica, Replica]:
    """A replica that has made three changes, and a peer that got the delta of the last one only."""
    maker = Replica(writer="w")
    for number in (1, 2, 3):
        maker = updated(maker, kind, "v", change_of(kind, 4, number), NOW, USUAL)
    (part,) = lacking(maker, key_of(kind, "v"), CausalContext({"w": (1, 2)}), USUAL)
    return maker, received(Replica(writer="p"), "r", part, NOW, USUAL)


@pytest.mark.parametrize("kind", sorted(CUMULATIVE))
def test_a_delta_that_holds_the_earlier_changes_of_its_writer_says_so(kind: Kind) -> None:
    maker, peer = after_the_last_of_three(kind)

    assert shown(peer.held(kind, "v").value) == shown(maker.held(kind, "v").value)
    assert peer.held(kind, "v").seen == CausalContext({"w": (1, 3)})
    assert lacking(maker, key_of(kind, "v"), peer.held(kind, "v").seen, USUAL) == []


@pytest.mark.parametrize("kind", sorted({*KINDS} - CUMULATIVE))
def test_a_delta_that_holds_its_own_change_says_no_more(kind: Kind) -> None:
    maker, peer = after_the_last_of_three(kind)

    assert peer.held(kind, "v").seen == CausalContext({"w": (3, 3)})
    assert lacking(maker, key_of(kind, "v"), peer.held(kind, "v").seen, USUAL) != []


@pytest.mark.parametrize("kind", sorted(CUMULATIVE))
def test_only_the_last_delta_is_unsent_also_where_it_bears_the_names_of_others(kind: Kind) -> None:
    maker = Replica(writer="w")
    for number in (1, 2):
        maker = updated(maker, kind, "v", change_of(kind, 4, number), NOW, USUAL)
        held = maker.held(kind, "v")
        assert held.unsent == CausalContext({"w": (number, number)})
        sent = msgspec.structs.replace(held, unsent=CausalContext())
        maker = msgspec.structs.replace(maker, values={key_of(kind, "v"): sent}, unsent=())


def test_a_write_is_over_also_for_a_peer_that_lost_the_write_that_ended_it() -> None:
    first = updated(Replica(writer="w"), "mv_register", "v", Assign(1), NOW, USUAL)
    second = updated(first, "mv_register", "v", Assign(2), NOW, USUAL)
    third = updated(second, "mv_register", "v", Assign(3), NOW, USUAL)
    peer = Replica(writer="p")

    for before, after in ((Replica(), first), (second, third)):
        (part,) = lacking(after, "mv_register:v", before.held("mv_register", "v").seen, USUAL)
        peer = received(peer, "r", part, NOW, USUAL)

    assert peer.held("mv_register", "v").value.value == (3,)
    assert summary(peer) == summary(third)


def map_of(count: int, policy: ReplicationPolicy = USUAL) -> Replica:
    replica = Replica(writer="replica_1~0123456789")
    for first in range(0, count, 50):
        new = Put({f"item {number:05}": number for number in range(first, first + 50)})
        replica = updated(replica, "lww_map", "prices", new, NOW, policy)
    return replica


def body_bytes(parts: list[Part]) -> int:
    return len(msgspec.msgpack.encode(parts))


def test_the_delta_of_ten_scattered_keys_of_ten_thousand_takes_less_than_a_kilobyte() -> None:
    replica = map_of(10_000)
    peer = msgspec.structs.replace(replica, writer="p")
    for number in range(0, 10_000, 1000):
        replica = updated(replica, "lww_map", "prices", Put({f"item {number:05}": -1}), NOW, USUAL)

    parts = lacking(replica, "lww_map:prices", peer.values["lww_map:prices"].seen, USUAL)
    for part in parts:
        peer = received(peer, "r", part, NOW, USUAL)

    assert body_bytes(parts) <= 1000
    assert peer.values["lww_map:prices"].value == replica.values["lww_map:prices"].value


def test_whoever_the_log_does_not_reach_gets_the_whole_in_bounded_parts_and_whoever_it_does_a_delta() -> None:
    policy = ReplicationPolicy(log_entries=5, message_bytes=4096)
    old = map_of(2000, policy)
    replica = old
    for number in range(5):
        replica = updated(replica, "lww_map", "prices", Put({f"item {number:05}": -1}), NOW, policy)
    key = "lww_map:prices"

    near = lacking(replica, key, old.values[key].seen, policy)
    far = lacking(replica, key, CausalContext(), policy)

    assert [part.is_whole for part in near] == [False]
    assert len(far) > 10
    assert all(part.is_whole and len(part.body) <= 4096 for part in far)


def test_a_transfer_that_lost_a_part_goes_on_where_it_was_cut_off() -> None:
    policy = ReplicationPolicy(log_entries=0, message_bytes=4096)
    replica = map_of(2000, policy)
    key = "lww_map:prices"
    first, *rest = lacking(replica, key, CausalContext(), policy)
    peer = Replica(writer="p")

    for part in rest:
        peer = received(peer, "r", part, NOW, policy)

    assert summary(peer) != summary(replica)  # it does not say that it has what it lacks
    peer = received(peer, "r", lacking(replica, key, peer.values[key].seen, policy)[0], NOW, policy)
    assert first.number == 0
    assert summary(peer) == summary(replica)
    assert peer.values[key].value == replica.values[key].value


@pytest.mark.parametrize("kind", ["g_counter", "pn_counter"])
def test_a_count_that_came_in_part_is_known_as_far_as_it_came_and_goes_on_from_there(kind: Kind) -> None:
    key = key_of(kind, "v")
    made = Replica()
    for number in range(40):
        writer = msgspec.structs.replace(made, writer=f"the writer with the number {number}")
        made = updated(writer, kind, "v", Increment(1), NOW, TIGHT)
    lost, *rest = lacking(made, key, CausalContext(), TIGHT)
    one, other = Replica(writer="one"), Replica(writer="other")

    for part in rest:
        one = received(one, "r", part, NOW, TIGHT)
    for part in lacking(one, key, CausalContext(), TIGHT):
        other = received(other, "one", part, NOW, TIGHT)

    assert len(rest) > 1
    assert one.held(kind, "v").value.value == len(one.held(kind, "v").seen) == 40 - len(lost.seen)
    assert other.held(kind, "v").value == one.held(kind, "v").value
    assert summary(other) == summary(one) != summary(made)
    assert not one.arriving
    assert received(one, "r", lost, NOW, TIGHT).held(kind, "v").value == made.held(kind, "v").value


def test_a_removal_that_one_peer_missed_is_found_by_the_digest() -> None:
    one = updated(Replica(writer="a"), "or_set", "tags", Add(("x",)), NOW, USUAL)
    removed = updated(one, "or_set", "tags", Remove(("x",)), NOW, USUAL)

    assert one.values["or_set:tags"].value.digest == removed.values["or_set:tags"].value.digest
    assert differing(one, digest_of(removed)) == [0]


def test_only_buckets_that_differ_are_told() -> None:
    replica = Replica(writer="a")
    for number in range(200):
        replica = updated(replica, "pn_counter", f"v{number}", Increment(1), NOW, USUAL)
    changed = updated(replica, "pn_counter", "v77", Increment(1), NOW, USUAL)
    digest = digest_of(changed)

    (bucket,) = differing(replica, digest)
    (have,) = haves(replica, digest.count, [bucket], 1 << 16, wants_answer=True)

    assert "pn_counter:v77" in have.seen
    assert len(have.seen) < 20
    assert differing(changed, digest) == []


REFUSED = [
    Part("os.system", "v", CausalContext({"w": (1, 1)}), b"\x80"),
    Part("or_set", "", CausalContext({"w": (1, 1)}), b"\x80"),
    Part("or_set", "v", CausalContext({"w": (1, 1)}), b"\xc1"),
    Part("or_set", "v", CausalContext({"w": (1, 1)}), b""),
    Part("or_set", "v", CausalContext({"w": (1, 1)}), encode(EMPTY["pn_counter"].increment("w"))[:-1]),
    Part("or_set", "v", CausalContext({"w": (1, 1)}), msgspec.msgpack.encode({"entries": {"x": [["w", 1]]}})),
    Part("or_set", "v", CausalContext({"w": (1, 1)}), msgspec.msgpack.encode({"entries": {1.5: [["w", 1]]}})),
    Part("lww_register", "v", CausalContext({"w": (1, 1)}), b"\x81\xa7content" + b"\x91" * 5000),
    Part("lww_register", "v", CausalContext({"w": (1, 1)}), encode(EMPTY["lww_register"].set("w", 1, NOW + 100))),
    Part("lww_map", "v", CausalContext({"w": (1, 1)}), encode(EMPTY["lww_map"].put("w", {"k": 1}, NOW + 100))),
    Part(
        "or_map/lww_register",
        "v",
        CausalContext({"w": (1, 1)}),
        encode(
            EMPTY["or_map/lww_register"].update("w", "k", EMPTY["lww_register"], lambda v, w: v.set(w, 1, NOW + 99))
        ),
    ),
    Part("pn_counter", "v", CausalContext({"w": (1, 1)}), encode(EMPTY["pn_counter"]), number=2, count=2),
    Part("pn_counter", "v", CausalContext({"w": (1, 1)}), msgspec.msgpack.encode({"ups": {"w": -3}})),
]


@pytest.mark.parametrize("part", REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_value_or_lies_in_the_future_is_refused(part: Part) -> None:
    with pytest.raises(ValueError):
        received(Replica(writer="p"), "r", part, NOW, USUAL)


POISON = [
    ("g_counter", EMPTY["g_counter"].increment("p", (1 << 63) - 1)),
    ("pn_counter", EMPTY["pn_counter"].decrement("p", (1 << 63) - 1)),
    ("lww_register", EMPTY["lww_register"].set("p", 1, NOW)),
    ("or_set", ORSet({"x": (Dot("p", (1 << 63) - 1),)}, CausalContext({"p": ((1 << 63) - 1,) * 2}))),
]


@pytest.mark.parametrize(("kind", "value"), POISON, ids=[kind for kind, _ in POISON])
def test_nobody_writes_in_the_name_of_another_that_holds_the_value(kind: Kind, value: Any) -> None:
    part = Part(kind, "v", CausalContext({"w": (1, 1)}), encode(value))

    with pytest.raises(ValueError, match="did not make them"):
        received(Replica(writer="p"), "r", part, NOW, USUAL)


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_history_under_one_name_is_refused_and_the_first_stays(kind: Kind) -> None:
    left = updated(Replica(writer="w"), kind, "v", change_of(kind, 5, 1), NOW, USUAL)
    right = updated(Replica(writer="w"), kind, "v", change_of(kind, 7, 2), NOW, USUAL)
    key = key_of(kind, "v")
    (part,) = lacking(left, key, CausalContext(), USUAL)
    (other,) = lacking(right, key, CausalContext(), USUAL)
    peer = received(Replica(writer="p"), "r", part, NOW, USUAL)

    assert received(peer, "r", part, NOW, USUAL) is peer
    with pytest.raises(ValueError, match="'w' has made two different changes of one number"):
        received(peer, "r", other, NOW, USUAL)


def test_a_peer_may_tell_a_replica_its_own_write_that_another_overwrote_meanwhile() -> None:
    policy = ReplicationPolicy(log_entries=0)  # (so that the peer sends its value, and not a delta of it)
    other = updated(Replica(writer="x"), "lww_register", "v", Assign("first"), NOW, policy)
    here = updated(Replica(writer="p"), "lww_register", "v", Assign("second"), NOW + 1, policy)
    (own,) = lacking(here, "lww_register:v", CausalContext(), policy)
    peer = received(other, "p", own, NOW + 1, policy)
    last = updated(Replica(writer="y"), "lww_register", "v", Assign("third"), NOW + 2, policy)
    (overwriting,) = lacking(last, "lww_register:v", CausalContext(), policy)
    here = received(here, "y", overwriting, NOW + 2, policy)

    (part,) = lacking(peer, "lww_register:v", here.held("lww_register", "v").seen, policy)
    here = received(here, "r", part, NOW + 2, policy)

    assert here.held("lww_register", "v").value.value == "third"
    assert here.held("lww_register", "v").seen == CausalContext({"p": (1, 1), "x": (1, 1), "y": (1, 1)})


@settings(max_examples=300)
@given(kind=st.sampled_from(KINDS), body=st.binary(max_size=60))
def test_any_bytes_are_a_value_or_refused(kind: Kind, body: bytes) -> None:
    try:
        value = decode(kind, body)
    except ValueError:
        return
    assert type(value) is type(EMPTY[kind])


@pytest.mark.parametrize("digest", [Digest(0, b""), Digest(2, b"12345678"), Digest(1 << 40, b"")])
def test_what_is_no_digest_is_refused(digest: Digest) -> None:
    with pytest.raises(ValueError, match="no hashes"):
        differing(Replica(), digest)


def test_a_change_that_changes_nothing_makes_no_delta() -> None:
    replica = Replica(writer="a")

    assert updated(replica, "or_set", "tags", Remove(("x",)), NOW, USUAL) is replica
    assert updated(replica, "pn_counter", "n", Increment(0), NOW, USUAL) is replica
    assert updated(replica, "lww_map", "m", Remove((1, "x")), NOW, USUAL) is replica


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("pn_counter", Assign(1)),
        ("g_counter", Increment(-1)),
        ("or_set", Add((True,))),
        ("or_map/pn_counter", At("k", Assign(1))),
        ("lww_register", Assign(object())),
        ("lww_register", Assign("x" * 70_000)),
    ],
)
def test_a_change_that_its_value_does_not_take_is_refused(kind: Kind, change: Change) -> None:
    with pytest.raises((TypeError, ValueError)):
        updated(Replica(writer="a"), kind, "v", change, NOW, USUAL)


def test_every_kind_stands_in_the_closed_table() -> None:
    assert list(TYPES) == list(KINDS) == list(EMPTY)


@pytest.mark.parametrize("bad", [{"interval": 0}, {"fanout": 0}, {"message_bytes": 10}, {"max_drift": -1.0}])
def test_a_policy_that_cannot_be_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        ReplicationPolicy(**bad)
