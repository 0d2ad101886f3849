"""Policies: small frozen values that say how an agent is to be treated.

They are class attributes of an agent or arguments of its registration. Each
checks itself when it is made, so that a wrong number fails at import and not
under load.
"""

from __future__ import annotations

import random
from typing import Literal

import msgspec

from moot.errors import CoordinationError, DeliveryError

__all__ = ["Backoff", "MailboxPolicy", "RetryPolicy"]


class MailboxPolicy(msgspec.Struct, frozen=True):
    """How many messages may wait for an agent, and what happens to the next one.

    ``block``: the sender's outbox waits (an outside caller waits up to its timeout).
    ``fail``: an outside caller gets `MailboxFull` at once; a message from a turn becomes a dead letter.
    """

    capacity: int = 1024
    overflow: Literal["block", "fail"] = "block"

    def __post_init__(self) -> None:
        if self.capacity < 1:
            raise ValueError(f"a mailbox needs room for at least 1 message, not {self.capacity}")
        if self.overflow not in ("block", "fail"):
            raise ValueError(f"overflow is 'block' or 'fail', not {self.overflow!r}")


class Backoff(msgspec.Struct, frozen=True):
    """Exponential delays with full jitter, in seconds.

    Attempt *n* waits a random time between 0 and ``min(limit, first * 2**(n-1))``.
    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    first: float = 0.1
    limit: float = 30.0

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.limit:
            raise ValueError(f"a backoff needs 0 <= first <= limit, not first={self.first}, limit={self.limit}")

    def delay(self, attempt: int, random: random.Random) -> float:
        """Seconds to wait after the failed attempt number ``attempt`` (1, 2, …)."""
        return random.uniform(0, min(self.limit, self.first * 2.0 ** min(attempt - 1, 60)))


class RetryPolicy(msgspec.Struct, frozen=True):
    """How often a failed turn is run again, in place, and for which errors."""

    max_attempts: int = 3
    backoff: Backoff = Backoff()
    retry_on: tuple[type[Exception], ...] = (DeliveryError, CoordinationError, OSError, TimeoutError)

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError(f"a turn runs at least once, so max_attempts cannot be {self.max_attempts}")
