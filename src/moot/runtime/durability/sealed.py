"""Sealed turns: the bytes of what a turn is about to do, made before any of it takes effect."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from typing import NamedTuple

__all__ = ["UNSEALED", "Sealed"]


class Sealed(NamedTuple):
    """Bytes in the order of a turn's effects. None stands for an effect that is not stored."""

    outputs: Iterable[bytes | None]
    timers: Iterable[bytes | None]
    answers: Iterable[bytes | None]
    state: bytes | None = None
    answer: bytes | None = None


UNSEALED = Sealed(repeat(None), repeat(None), repeat(None))
"""Nothing of the turn is stored."""
