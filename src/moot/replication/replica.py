"""A replica: named values, the deltas that made them, and which of all deltas have been seen.

Every delta has a name, a dot of its value: the writer and the how-manieth this is. What has been seen is a causal
context of such dots, exact also where deltas came out of order, and for removals too, which leave no dot of their own
in a set. The delta of a counter holds the whole count of its writer, and a write to a register ends all that its writer
wrote before. So it bears the names of the writer's earlier deltas too, and a replica that lost those has still seen
them. A peer that says what it has seen is sent the deltas between, joined to one; if the log does not reach back to all
of them, the whole value (P. S. Almeida, A. Shoker and C. Baquero, "Delta State Replicated Data Types", 2018). All
functions here are pure.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from moot.replication.changes import Change, delta_of
from moot.replication.kinds import CUMULATIVE, EMPTY, convert, decode, encode, latest, reach, writers_of
from moot.replication.messages import Part
from moot.replication.policy import ReplicationPolicy
from moot.replication.splitting import split
from moot.state.crdt import CausalContext, GCounter, PNCounter

__all__ = ["Held", "Replica", "key_of", "lacking", "logged_since", "read_back", "received", "split_key", "updated"]

_NOTHING = CausalContext()


class Logged(msgspec.Struct, frozen=True, array_like=True):
    """A delta, or several joined, by their names."""

    seen: CausalContext
    body: bytes


class Arriving(msgspec.Struct, frozen=True, array_like=True):
    """Which parts of a transfer have come."""

    transfer: bytes
    numbers: tuple[int, ...]


class Held(msgspec.Struct, frozen=True, omit_defaults=True):
    """One value: ``seen`` are the deltas in it, ``log`` the last of them, ``unsent`` those that no peer was sent."""

    value: Any
    seen: CausalContext = CausalContext()
    log: tuple[Logged, ...] = ()
    log_bytes: int = 0
    unsent: CausalContext = CausalContext()


class Replica(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of a replicator.

    ``left`` are former peers, ``unsent`` the values that no peer was told of, ``arriving`` is by sender and value.
    """

    writer: str = ""
    values: dict[str, Held] = {}
    arriving: dict[str, dict[str, Arriving]] = {}
    peers: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    unsent: tuple[str, ...] = ()
    refused: int = 0

    def held(self, kind: str, name: str) -> Held:
        """The value, or an empty one."""
        return self.values.get(key_of(kind, name)) or Held(EMPTY[kind])


def key_of(kind: str, name: str) -> str:
    """Under which a value is stored."""
    return f"{kind}:{name}"


def split_key(key: str) -> tuple[str, str]:
    """Kind and name."""
    kind, _, name = key.partition(":")
    return kind, name


def read_back(replica: Replica) -> Replica:
    """A replica whose values were read as plain maps and lists. Raises `ValueError`."""
    values = {
        key: msgspec.structs.replace(held, value=convert(split_key(key)[0], held.value))
        for key, held in replica.values.items()
    }
    return msgspec.structs.replace(replica, values=values)


def updated(replica: Replica, kind: str, name: str, change: Change, now: float, policy: ReplicationPolicy) -> Replica:
    """The replica after a change of its own at ``now`` (seconds); itself, if that changes nothing.

    Raises:
        TypeError, ValueError: the value refuses the change, or its delta is too large or holds what is not plain.
    """
    _check_name(name)
    held = replica.held(kind, name)
    body = encode(delta_of(kind, held.value, change, replica.writer, now, policy.max_drift))
    if len(body) > policy.message_bytes:
        raise ValueError(
            f"the change of {name!r} takes {len(body)} bytes, and a message has room for {policy.message_bytes}; "
            "make several smaller changes"
        )
    delta = decode(kind, body)  # what the peers will read, to the bit
    if delta == EMPTY[kind]:
        return replica
    dot = held.seen.next(replica.writer)
    made = CausalContext.of([dot])
    brings = CausalContext({dot.replica: (1, dot.counter)}) if kind in CUMULATIVE else made
    held = _logged(held, Logged(brings, body), policy)
    held = msgspec.structs.replace(
        held, value=held.value.join(delta), seen=held.seen.join(brings), unsent=held.unsent.join(made)
    )
    key = key_of(kind, name)
    unsent = replica.unsent if key in replica.unsent else (*replica.unsent, key)
    return msgspec.structs.replace(_with(replica, key, held), unsent=unsent)


def received(replica: Replica, sender: str, part: Part, now: float, policy: ReplicationPolicy) -> Replica:
    """The replica after a part from a peer; itself, if there is nothing new in it.

    Raises:
        ValueError: it is no part of such a value, a write in it lies too far in the future, is made in the name of
            this replica, or bears the name of another write.
    """
    _check_name(part.name)
    if part.kind not in EMPTY:
        raise ValueError(f"there is no replicated kind {part.kind!r}")
    held = replica.held(part.kind, part.name)
    if not part.seen.minus(held.seen):
        _check_one_history(held, part)
        return replica
    delta = decode(part.kind, part.body)
    if (ahead := latest(delta) - now) > policy.max_drift:
        raise ValueError(f"a write in it lies {ahead:.0f} s in the future; correct the clock of its writer")
    value = held.value.join(delta)
    if reach(value, replica.writer) > reach(held.value, replica.writer):
        raise ValueError(f"it has writes of {replica.writer!r}, which is this replica and did not make them")
    key = key_of(part.kind, part.name)
    arriving = replica.arriving.get(sender, {}).get(key)
    come = _come(part, arriving)
    if come is None or len(come.numbers) == part.count:
        if part.count == 1 and not part.is_whole:
            held = _logged(held, Logged(part.seen, part.body), policy)
        held = msgspec.structs.replace(held, seen=held.seen.join(part.seen))
        come = None
    replica = _with(replica, key, msgspec.structs.replace(held, value=value))
    return replica if come == arriving else _noted(replica, sender, key, come)


def _check_one_history(held: Held, part: Part) -> None:
    """A delta that comes again, under a name that is known, is the same as before."""
    for entry in held.log if part.count == 1 and not part.is_whole else ():
        if entry.seen != part.seen or entry.body == part.body:
            continue
        if decode(part.kind, entry.body) != decode(part.kind, part.body):
            raise ValueError(
                f"{min(part.seen.seen)!r} has made two different changes of one number: two replicas write under one "
                "name; give each an id of its own"
            )


def lacking(replica: Replica, key: str, theirs: CausalContext, policy: ReplicationPolicy) -> list[Part]:
    """What brings a peer that has seen ``theirs`` of a value up to date: deltas of the log, or the whole value."""
    held = replica.values[key]
    parts = logged_since(replica, key, theirs, policy)
    return _parts(key, held.seen, held.value, policy, is_whole=True) if parts is None else parts


def logged_since(replica: Replica, key: str, theirs: CausalContext, policy: ReplicationPolicy) -> list[Part] | None:
    """All that a peer lacks of a value, from the log; None if that does not reach back far enough."""
    held = replica.values[key]
    missing = held.seen.minus(theirs)
    if not missing:
        return []
    entries = [entry for entry in held.log if entry.seen.minus(theirs)]
    brought = _joined([entry.seen for entry in entries]) if entries else _NOTHING
    if missing.minus(brought):
        return None
    kind, _ = split_key(key)
    return _parts(key, brought, _joined([decode(kind, entry.body) for entry in entries]), policy, is_whole=False)


def _parts(key: str, seen: CausalContext, value: Any, policy: ReplicationPolicy, *, is_whole: bool) -> list[Part]:
    kind, name = split_key(key)
    bodies = split(value, policy.message_bytes)
    if len(bodies) == 1:
        return [Part(kind, name, seen, bodies[0], is_whole)]
    if isinstance(value, GCounter | PNCounter):
        return [Part(kind, name, names, body, is_whole) for names, body in _named_by_writer(kind, seen, bodies)]
    transfer = blake2b(b"".join(bodies), digest_size=8).digest()  # a second try goes on where the first was cut off
    return [Part(kind, name, seen, body, is_whole, number, len(bodies), transfer) for number, body in enumerate(bodies)]


def _named_by_writer(kind: str, seen: CausalContext, bodies: list[bytes]) -> list[tuple[CausalContext, bytes]]:
    """The parts of a counter, each with the names of its writers' deltas: a part that is lost then costs only itself.

    The last part has all names that are left, so that no name is lost.
    """
    named: list[tuple[CausalContext, bytes]] = []
    rest = seen
    for body in bodies[:-1]:
        writers = writers_of(decode(kind, body))
        own = CausalContext({writer: runs for writer, runs in rest.seen.items() if writer in writers})
        rest = rest.minus(own)
        named.append((own, body))
    return [*named, (rest, bodies[-1])]


def _joined(values: list[Any]) -> Any:
    """All joined, each with its like in size: joining copies, so a thousand into one would cost a thousand copies."""
    while len(values) > 1:
        pairs = [left.join(right) for left, right in zip(values[::2], values[1::2], strict=False)]
        values = pairs + values[len(pairs) * 2 :]
    return values[0]


def _logged(held: Held, entry: Logged, policy: ReplicationPolicy) -> Held:
    log, size = (*held.log, entry), held.log_bytes + len(entry.body)
    first = 0
    while size > policy.log_bytes or len(log) - first > policy.log_entries:
        size -= len(log[first].body)
        first += 1
    return msgspec.structs.replace(held, log=log[first:], log_bytes=size)


def _come(part: Part, arriving: Arriving | None) -> Arriving | None:
    """Which parts have come with this one; None if it is the only one."""
    if part.count == 1:
        return None
    if not 0 <= part.number < part.count:
        raise ValueError(f"there is no part {part.number} of {part.count}")
    before = arriving.numbers if arriving is not None and arriving.transfer == part.transfer else ()
    return Arriving(part.transfer, tuple(sorted({*before, part.number})))


def _with(replica: Replica, key: str, held: Held) -> Replica:
    return msgspec.structs.replace(replica, values={**replica.values, key: held})


def _noted(replica: Replica, sender: str, key: str, come: Arriving | None) -> Replica:
    of_sender = dict(replica.arriving.get(sender, {}))
    if come is None:
        of_sender.pop(key, None)
    else:
        of_sender[key] = come
    arriving = {**replica.arriving, sender: of_sender}
    if not of_sender:
        del arriving[sender]
    return msgspec.structs.replace(replica, arriving=arriving)


def _check_name(name: str) -> None:
    if not 0 < len(name) <= 256:
        raise ValueError(f"the name of a value has 1 to 256 characters, not {len(name)}")
