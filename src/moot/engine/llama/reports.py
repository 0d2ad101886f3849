"""Reports: the lines that a child writes to its control channel, as values."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from moot.engine.llama.ear import Over

__all__ = ["Beat", "Facts", "Loaded", "decoded"]

T = TypeVar("T")


class Facts(msgspec.Struct, frozen=True):
    """What a child tells when its model is loaded."""

    context_size: int
    pid: int


class Loaded(msgspec.Struct, frozen=True):
    """The first line: the facts of a child that is ready, or why its model was not loaded."""

    context_size: int = 0
    pid: int = 0
    failed: str = ""
    is_model: bool = False


class Beat(msgspec.Struct, frozen=True):
    """Each further line: how long there has been no progress, and the longest such pause that ended, in seconds."""

    quiet: float
    longest: float


def decoded(line: bytes, type: type[T]) -> T:
    """A line as a value of ``type``.

    Raises:
        Over: it is no such value.
    """
    try:
        return msgspec.json.decode(line, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Over(f"sent what no child of ours sends ({line[:80]!r})") from None
