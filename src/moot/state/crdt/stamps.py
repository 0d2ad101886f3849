"""Stamps: an order of writes that follows the clocks where they can be trusted, and causality where they cannot.

A hybrid logical clock (S. Kulkarni et al., "Logical Physical Clocks", 2014) in one number: milliseconds times 65,536
plus a count. The next stamp lies after the machine's time and after the last stamp seen, whichever is later, so a write
that knows of another always comes after it, also when its clock is behind. Ties go to the larger replica id.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec

from moot.state.crdt.version_vector import LARGEST, ReplicaId, check_counter, check_replica

__all__ = ["Stamp", "Time", "next_time"]

Time = Annotated[int, msgspec.Meta(ge=1, le=LARGEST)]

_COUNTS = 1 << 16


class Stamp(msgspec.Struct, frozen=True, order=True, array_like=True):
    """When (a hybrid time) and by whom something was written; totally ordered."""

    time: Time
    replica: ReplicaId

    def __post_init__(self) -> None:
        check_counter(self.time, check_replica(self.replica))

    @property
    def seconds(self) -> float:
        """The machine's time in it, in seconds."""
        return self.time / _COUNTS / 1000


def next_time(last: int | None, now: float, max_drift: float) -> int:
    """The hybrid time after ``last``, the latest that was seen, on a machine whose clock says ``now`` (seconds).

    Raises:
        ValueError: ``now`` is no time, or lies more than ``max_drift`` seconds before ``last``.
    """
    wall = max(1, int(_seconds(now) * 1000) * _COUNTS)
    if last is None:
        return wall
    if last - wall > max_drift * 1000 * _COUNTS:
        raise ValueError(
            f"the clock says {now:.3f} s, but a write of {last / _COUNTS / 1000:.3f} s has been seen: it went back, or "
            f"another runs ahead, by more than {max_drift:g} s; correct the clock, or allow it with max_drift="
        )
    if last >= LARGEST:
        raise ValueError("the last stamp is the largest there is; remove the damaged write")
    return max(wall, last + 1)


def _seconds(now: Any) -> float:
    if not isinstance(now, (int, float)) or isinstance(now, bool):
        raise TypeError(f"a time is a number of seconds, not {type(now).__name__}; pass ctx.now()")
    if not (math.isfinite(now) and 0 <= now * 1000 * _COUNTS < LARGEST):
        raise ValueError(f"{now} is no time in seconds since 1970; pass ctx.now()")
    return now
