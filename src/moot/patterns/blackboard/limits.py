"""Limits: how much a board holds, how long it waits, and how often it lets something be tried."""

from __future__ import annotations

import msgspec

from moot.policies.fields import check_fields

__all__ = ["Limits"]


class Limits(msgspec.Struct, frozen=True):
    """The bounds of a board.

    ``parallel``: claims at once; ``lease``: seconds that a claim holds; ``attempts``: how often a trigger is given to a
    source, and ``failures``: how often one source may fail at it; ``quiet``: seconds in which nobody could be given
    anything, after which it is exhausted (longer than the time between two announcements of a source); ``entries``,
    ``sources``, ``post``: the most that are held, and taken in one post.
    """

    parallel: int = 4
    lease: float = 10.0
    attempts: int = 3
    failures: int = 2
    quiet: float = 5.0
    entries: int = 1000
    sources: int = 256
    post: int = 100

    def __post_init__(self) -> None:
        check_fields(self)
        if (
            min(self.parallel, self.attempts, self.failures, self.entries, self.sources, self.post) < 1
            or self.quiet < 0
        ):
            raise ValueError("the limits of a board are 1 or more, and quiet is 0 s or more")
        if not 0 < self.lease < float("inf"):
            raise ValueError(f"a lease is above 0 s and finite, not {self.lease:g}")
