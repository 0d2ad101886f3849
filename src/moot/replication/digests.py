"""Digests: whether two replicas have seen the same, in a few bytes, and where they differ, in few more.

Values are spread over buckets by a hash of their key, a few to a bucket. The hash of a bucket is that of all its values
with what was seen of each, in any order, so equal replicas have equal hashes whatever way they took. Only of the
buckets that differ do replicas tell each other what they have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b

import msgspec

from moot.replication.messages import Digest, Have
from moot.replication.replica import Replica
from moot.state.crdt import CausalContext

__all__ = ["differing", "digest_of", "haves", "keys_in", "summary"]

_WIDTH = 8
_MOST_BUCKETS = 4096
_VALUES_IN_A_BUCKET = 4

_encoder = msgspec.msgpack.Encoder(order="deterministic")


def digest_of(replica: Replica) -> Digest:
    """The digest of a replica, with as many buckets as its number of values asks for."""
    count = min(_MOST_BUCKETS, 1 + len(replica.values) // _VALUES_IN_A_BUCKET)
    return Digest(count=count, hashes=_hashes(replica, count))


def summary(replica: Replica) -> str:
    """One hash of all that a replica has seen."""
    return _hashes(replica, 1).hex()


def differing(replica: Replica, digest: Digest) -> list[int]:
    """The buckets of a peer's digest in which this replica has seen something else.

    Raises:
        ValueError: it is no digest.
    """
    if not 1 <= digest.count <= _MOST_BUCKETS or len(digest.hashes) != digest.count * _WIDTH:
        raise ValueError(f"{len(digest.hashes)} bytes are no hashes of {digest.count} buckets")
    mine = _hashes(replica, digest.count)
    places = range(0, len(mine), _WIDTH)
    return [at // _WIDTH for at in places if mine[at : at + _WIDTH] != digest.hashes[at : at + _WIDTH]]


def keys_in(replica: Replica, count: int, buckets: Iterable[int]) -> list[str]:
    """The keys of a replica's values in some of ``count`` buckets."""
    wanted = set(buckets)
    return [key for key in replica.values if _bucket(key, count) in wanted]


def haves(replica: Replica, count: int, buckets: list[int], most: int, *, wants_answer: bool) -> Iterator[Have]:
    """What a replica has in these buckets, in messages of about ``most`` bytes that have whole buckets each."""
    seen: dict[int, dict[str, CausalContext]] = {bucket: {} for bucket in buckets}
    for key in keys_in(replica, count, buckets):
        seen[_bucket(key, count)][key] = replica.values[key].seen
    told: list[int] = []
    size = 0
    for bucket in buckets:
        more = len(_encoder.encode(seen[bucket]))
        if told and size + more > most:
            yield _have(count, told, seen, wants_answer=wants_answer)
            told, size = [], 0
        told.append(bucket)
        size += more
    if told:
        yield _have(count, told, seen, wants_answer=wants_answer)


def _have(count: int, buckets: list[int], seen: dict[int, dict[str, CausalContext]], *, wants_answer: bool) -> Have:
    together = {key: context for bucket in buckets for key, context in seen[bucket].items()}
    return Have(count=count, buckets=tuple(buckets), seen=together, wants_answer=wants_answer)


def _hashes(replica: Replica, count: int) -> bytes:
    hashes = [0] * count
    for key, held in replica.values.items():
        data = key.encode() + b"\0" + _encoder.encode(held.seen)
        hashes[_bucket(key, count)] ^= int.from_bytes(blake2b(data, digest_size=_WIDTH).digest(), "big")
    return b"".join(one.to_bytes(_WIDTH, "big") for one in hashes)


def _bucket(key: str, count: int) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big") % count if count > 1 else 0
