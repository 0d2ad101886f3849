"""Routing: which worker gets which part.

A routing is a value that assigns all parts of a task at once, so that a manager can record what it decided and a run
again of its turn asks the same workers.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Protocol

import msgspec

__all__ = ["ByKey", "LeastLoaded", "RoundRobin", "Routing"]


class Routing(Protocol):
    """Assigns parts to workers."""

    def assign(self, parts: Sequence[Any], workers: Sequence[str], load: Mapping[str, int], turn: int) -> list[str]:
        """For each part its worker, one of ``workers``, of which there is one at least.

        ``load`` is how many parts each has under way from this manager (none if it is not there), ``turn`` how many
        it has assigned so far.
        """
        ...


class RoundRobin(msgspec.Struct, frozen=True):
    """Each worker in its turn."""

    def assign(self, parts: Sequence[Any], workers: Sequence[str], load: Mapping[str, int], turn: int) -> list[str]:
        return [workers[(turn + number) % len(workers)] for number in range(len(parts))]


class LeastLoaded(msgspec.Struct, frozen=True):
    """The worker that has the fewest parts under way; of several, each in its turn."""

    def assign(self, parts: Sequence[Any], workers: Sequence[str], load: Mapping[str, int], turn: int) -> list[str]:
        if not load:
            return RoundRobin().assign(parts, workers, load, turn)  # what follows comes to the same, and costs more
        count = len(workers)
        heap = [(load.get(workers[(turn + n) % count], 0), n) for n in range(count)]
        heapq.heapify(heap)
        chosen = []
        for _ in parts:
            under_way, n = heap[0]
            heapq.heapreplace(heap, (under_way + 1, n))
            chosen.append(workers[(turn + n) % count])
        return chosen


class ByKey(msgspec.Struct, frozen=True):
    """Parts of one key go to one worker, as long as it is there; when one comes or goes, few keys move.

    Rendezvous hashing (D. Thaler and C. Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998).
    """

    key: Callable[[Any], str]

    def assign(self, parts: Sequence[Any], workers: Sequence[str], load: Mapping[str, int], turn: int) -> list[str]:
        owner: dict[str, str] = {}
        chosen = []
        for part in parts:
            key = self.key(part)
            if key not in owner:
                owner[key] = max(workers, key=lambda worker: (_weight(key, worker), worker))
            chosen.append(owner[key])
        return chosen


def _weight(key: str, worker: str) -> bytes:
    return blake2b(f"{key}\0{worker}".encode(errors="surrogatepass"), digest_size=8).digest()
