"""How much of the recipe a model can carry, by its size.

Measured: a model of 135 million parameters writes noise; one of half a billion
gives a direct answer worth checking and nothing more; from 1.5 billion on the
keyword plan, the details and the yes/no judge help. Without any model the
extracts alone answer most questions.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import msgspec

__all__ = ["DIRECT_ONLY", "EXTRACTIVE", "FULL", "Profile", "profile_of"]


class Profile(msgspec.Struct, frozen=True):
    """Which steps use the model."""

    mode: Literal["full", "direct", "extractive"]
    keywords: bool
    direct: bool
    details: bool
    judge: bool


FULL = Profile("full", keywords=True, direct=True, details=True, judge=True)
DIRECT_ONLY = Profile("direct", keywords=False, direct=True, details=False, judge=False)
EXTRACTIVE = Profile("extractive", keywords=False, direct=False, details=False, judge=False)

_TINY = re.compile(r"tiny|smol|(?<![\d.])(?:[1-3]\d{2})m\b", re.IGNORECASE)
_SMALL = re.compile(r"\bsmall\b|(?<![\d.])0[._]?[5-9]b|(?<![\d.])[4-9]\d{2}m\b", re.IGNORECASE)
_TINY_BYTES = 250_000_000
_SMALL_BYTES = 700_000_000


def profile_of(engine: str | None) -> Profile:
    """The profile for an engine's name, such as ``local:tiny`` or ``local:/models/some.gguf``; None is no engine."""
    if engine is None:
        return EXTRACTIVE
    model = engine.partition(":")[2]
    size = _file_size(model) if engine.startswith("local:") else None
    if size is not None:
        return EXTRACTIVE if size < _TINY_BYTES else DIRECT_ONLY if size < _SMALL_BYTES else FULL
    name = model.partition("@")[0] or engine
    if _TINY.search(name):
        return EXTRACTIVE
    return DIRECT_ONLY if _SMALL.search(name) else FULL


def _file_size(path: str) -> int | None:
    try:
        return Path(path).stat().st_size if path.endswith(".gguf") else None
    except OSError:
        return None
