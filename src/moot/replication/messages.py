"""Messages of a replicator: what local agents send it, and what replicators send each other."""

from __future__ import annotations

from typing import Any

import msgspec

from moot.messaging.message import Payload, Request
from moot.replication.changes import Change
from moot.replication.kinds import Kind
from moot.state.crdt import CausalContext

__all__ = [
    "Changed",
    "Deltas",
    "Digest",
    "Have",
    "Join",
    "Leave",
    "Part",
    "Push",
    "Read",
    "Standing",
    "Status",
    "Tick",
    "Update",
    "changes",
]


class Update(Request[None]):
    """Change a value; one that nobody has written yet begins empty. Answered when this replica has it.

    A value is known by kind *and* name, so two replicas that are cut off can never disagree about what it is.
    """

    kind: Kind
    name: str
    change: Change


class Read(Request[Any]):
    """What this replica holds of a value: a number, a list, a map, as its kind shows it."""

    kind: Kind
    name: str


class Join(Payload):
    """Exchange values with this replicator from now on; it is told, and does the same."""

    peer: str


class Leave(Payload):
    """Exchange nothing with this replicator any more; it is told, and does the same."""

    peer: str


class Status(Request["Standing"]):
    """How this replica stands."""


class Standing(msgspec.Struct, frozen=True):
    """How a replica stands. Replicas with the same ``digest`` have seen the same changes.

    ``writer`` is the name under which it writes; ``refused`` counts what came from peers and was no value.
    """

    writer: str
    digest: str
    values: int
    peers: tuple[str, ...]
    refused: int


class Changed(Payload):
    """Published to the topic `changes` when a value has changed: read it, if you want it."""

    kind: Kind
    name: str


def changes(replicator: str, kind: Kind, name: str) -> str:
    """The topic to which a replicator publishes that a value has changed; ``ctx.subscribe`` to it."""
    return f"{replicator}/{kind}/{name}"


# between replicators
class Part(msgspec.Struct, frozen=True, array_like=True):
    """Something of a value: the names of the deltas it brings, and its bytes.

    A part ``number`` of ``count`` brings them when all have come that belong to the same ``transfer``. ``is_whole``:
    it is cut from the state and not from the log.
    """

    kind: str
    name: str
    seen: CausalContext
    body: bytes
    is_whole: bool = False
    number: int = 0
    count: int = 1
    transfer: bytes = b""


class Deltas(Payload):
    """What the receiver lacks, as far as the sender knows; to be joined in any order, as often as it comes."""

    parts: tuple[Part, ...]


class Digest(Payload):
    """All that the sender has seen, as one hash of eight bytes for each of ``count`` buckets of values."""

    count: int
    hashes: bytes


class Have(Payload):
    """For all values in some buckets, the names of the deltas that the sender has: send what it lacks.

    ``wants_answer``: the sender would like to know what you lack, too.
    """

    count: int
    buckets: tuple[int, ...]
    seen: dict[str, CausalContext]
    wants_answer: bool


class Push(Payload):
    """To itself: send the deltas that were made since the last time."""

    message_type = "push_deltas"


class Tick(Payload):
    """To itself: compare with a peer."""

    message_type = "anti_entropy"
