"""Identifiers: cheap, unique, and drawn from an injected source of randomness.

A random UUID costs more than delivering a message does. So each run of a manager
draws one random *incarnation*, and messages are numbered within it: the pair is
unique, ordered, and costs a counter. With a seed the incarnation is the same in
every run, which makes a whole run repeatable.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from itertools import count
from typing import Any

__all__ = ["CAPABILITY", "OUTSIDE", "TOPIC", "Ids", "checked_text", "is_text", "snake_case"]


CAPABILITY = "capability:"
"""What the address of anyone who can do something begins with."""
TOPIC = "topic:"
"""What the address of all who listen to something begins with."""
OUTSIDE = "outside"
"""The sender's name of callers that are not agents; no agent may have it."""

_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Ids:
    """The identity of one run: its ``incarnation``, its message numbers, its random numbers.

    ``next_sequence()`` gives the next message number, from 1.
    """

    __slots__ = ("_seed", "incarnation", "next_sequence")

    def __init__(self, seed: int | None = None) -> None:
        source = random.SystemRandom() if seed is None else random.Random(seed)
        self._seed = source.getrandbits(64) if seed is None else seed
        self.incarnation = f"{source.getrandbits(48):012x}"
        self.next_sequence: Callable[[], int] = count(1).__next__

    def begin_run(self, run: int) -> None:
        """This is not the first run of what a durable backend keeps: number its messages apart from those before."""
        self.incarnation = f"{random.Random(f'{self._seed}:run:{run}').getrandbits(48):012x}"

    def random_for(self, name: str) -> random.Random:
        """A stream of random numbers of its own for ``name``; the same seed and name give the same stream."""
        return random.Random(f"{self._seed}:{name}")


def checked_text(what: str, given: Any) -> str:
    """``given``, if it is text; ``what`` names it in the error. Raises `TypeError`."""
    if isinstance(given, str):
        return given
    raise TypeError(f"{what} is text, not {given!r}")


def is_text(name: str) -> bool:
    """Whether a name is Unicode that can be written: no half of a surrogate pair."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def snake_case(name: str) -> str:
    """``ResearchRequest`` as ``research_request``."""
    return _WORD_START.sub("_", name).lower()
