"""Settings: small frozen values that say how an agent is to be treated.

They are class attributes of an agent or arguments of its registration. Each
checks itself when it is made, so that a wrong number or a wrong type fails at
import and not under load. Where a tuple is meant, one class or a list is taken too.
"""

from __future__ import annotations

import math
import random
import typing
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Literal

import msgspec

from moot.errors import CoordinationError, DeliveryError
from moot.policies.fields import check_fields

__all__ = [
    "Backoff",
    "BatchPolicy",
    "BreakerPolicy",
    "Directive",
    "MailboxPolicy",
    "Overflow",
    "ParkedMail",
    "RateLimit",
    "RestartKind",
    "RetryPolicy",
    "Strategy",
    "Supervision",
    "TimeoutPolicy",
]

Overflow = Literal["block", "fail", "drop_newest", "drop_oldest", "drop_lowest", "coalesce"]
Directive = Literal["resume", "restart", "stop", "escalate"]
Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
RestartKind = Literal["permanent", "transient", "temporary"]


class MailboxPolicy(msgspec.Struct, frozen=True):
    """How many messages may wait for an agent, and what happens to the next one. What is lost is a dead letter.

    ``block``: the sender's outbox waits (an outside caller waits up to its timeout).
    ``fail``: an outside caller gets `MailboxFull` at once; a message from a turn becomes a dead letter.
    ``drop_newest``: the one that comes is lost. ``drop_oldest``: the one that waits longest is.
    ``drop_lowest``: the one of lowest priority is, the newest of several; priority never reorders.
    ``coalesce``: the newest waiting one of its message type that has the same ``key(content)`` is lost, and the one
    that comes takes its place, or goes to the end if it would overtake another of its sender; where none has it, as
    ``block``.
    Nobody waits for a mailbox that drops, an outside caller is told nothing, and the asker of a lost request gets
    `MailboxFull` at once.
    """

    capacity: int = 1024
    overflow: Overflow = "block"
    key: Callable[[Any], Hashable] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.capacity < 1:
            raise ValueError(f"a mailbox needs room for at least 1 message, not {self.capacity}")
        if (self.overflow == "coalesce") != (self.key is not None):
            raise ValueError("key= says which messages are alike; overflow='coalesce' needs it, and nothing else does")


class Backoff(msgspec.Struct, frozen=True):
    """Exponential delays with full jitter, in seconds.

    Attempt *n* waits a random time between 0 and ``min(limit, first * 2**(n-1))``.
    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    first: float = 0.1
    limit: float = 30.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 <= self.first <= self.limit:
            raise ValueError(f"a backoff needs 0 <= first <= limit, not first={self.first}, limit={self.limit}")
        if self.first == math.inf:
            raise ValueError("the first pause of a backoff has an end, so first cannot be inf")

    def delay(self, attempt: int, random: random.Random) -> float:
        """Seconds to wait after the failed attempt number ``attempt`` (1, 2, …)."""
        return random.uniform(0, min(self.limit, self.first * 2.0 ** min(attempt - 1, 60)))

    def pauses(self, within: float = math.inf) -> Iterator[float]:
        """The seconds to wait after each failed attempt, without jitter, as long as less than ``within`` have passed.

        They are for what is recorded: a turn that runs again must not draw other random numbers. None is below 1 ms.
        """
        waited, pause = 0.0, max(self.first, 0.001)
        while waited < within:
            yield pause
            waited += pause
            pause = min(pause * 2, max(self.limit, 0.001))


class RetryPolicy(msgspec.Struct, frozen=True):
    """How often a failed turn is run again, in place, and for which errors.

    ``retry_on``: the classes of the errors, or one class. ``max_deaths``: on a durable backend, how often the process
    may die while a message's handler runs, without it getting on, before the message becomes a dead letter.
    """

    max_attempts: int = 3
    backoff: Backoff = Backoff()
    retry_on: tuple[type[Exception], ...] = (DeliveryError, CoordinationError, OSError, TimeoutError)
    max_deaths: int = 10

    def __post_init__(self) -> None:
        check_fields(self)
        if self.max_deaths < 1:
            raise ValueError(f"the process may die at least once in a turn, not {self.max_deaths} times")
        if self.max_attempts < 1:
            raise ValueError(f"a turn runs at least once, so max_attempts cannot be {self.max_attempts}")


SEND_TIMEOUT = 30.0
"""Seconds that what an agent sends waits for room, unless it says otherwise."""


class TimeoutPolicy(msgspec.Struct, frozen=True):
    """How long may pass without progress, in seconds; None is for ever.

    A turn still running after ``run_timeout`` is cancelled, rolled back and has failed with `TurnTimeout`. An agent
    that has mail and ends no turn for ``idle_timeout`` is reported. What it sent to another's full mailbox waits for
    room for ``send_timeout``, and the agent begins no turn meanwhile; after that, with 0 at once, it is a dead letter.
    """

    run_timeout: float | None = None
    idle_timeout: float | None = 60.0
    send_timeout: float = SEND_TIMEOUT

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("run_timeout", "idle_timeout"):
            seconds = getattr(self, name)
            if seconds is not None and not 0 < seconds < math.inf:
                raise ValueError(f"{name} is above 0 s and finite, or None for no limit, not {seconds:g}")
        if not 0 <= self.send_timeout < math.inf:
            raise ValueError(f"send_timeout is 0 s or more and finite, not {self.send_timeout:g}")


class RateLimit(msgspec.Struct, frozen=True):
    """At most ``rate`` messages in ``per`` seconds, and ``burst`` at once (by default ``rate``): a token bucket.

    One too many waits in the mailbox (``delay``) or is refused with `RateLimited` (``refuse``).
    """

    rate: float
    per: float = 1.0
    burst: int | None = None
    excess: Literal["delay", "refuse"] = "delay"

    def __post_init__(self) -> None:
        check_fields(self)
        if not (0 < self.rate < math.inf and 0 < self.per < math.inf):
            raise ValueError(f"a rate limit needs rate and per above 0, not {self.rate:g} in {self.per:g} s")
        if not 0 < self.per / self.rate < math.inf:
            raise ValueError(f"{self.rate:g} in {self.per:g} s is no time between two messages that a clock can tell")
        if self.burst is not None and self.burst < 1:
            raise ValueError(f"a burst is at least 1 message, not {self.burst}; with less nothing would ever pass")


class BreakerPolicy(msgspec.Struct, frozen=True):
    """After ``failures`` failed calls in a row the breaker opens; ``reset_after`` seconds later it lets ``probes`` by.

    As many successes close it again, one failure opens it anew.
    Source: M. Nygard, "Release It!", 2007.
    """

    failures: int = 5
    reset_after: float = 30.0
    probes: int = 1

    def __post_init__(self) -> None:
        check_fields(self)
        if self.failures < 1 or self.probes < 1:
            raise ValueError(f"failures and probes are at least 1, not {self.failures} and {self.probes}")
        if not 0 < self.reset_after < math.inf:
            raise ValueError(f"reset_after is above 0 s and finite, not {self.reset_after:g}")


class BatchPolicy(msgspec.Struct, frozen=True):
    """Messages handled together: up to ``max_size``, and the first waits ``max_wait`` seconds at most for the rest."""

    max_size: int = 64
    max_wait: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.max_size < 1:
            raise ValueError(f"a batch has room for at least 1 message, not {self.max_size}")
        if not 0 <= self.max_wait < math.inf:
            raise ValueError(f"max_wait is 0 s or more and finite, not {self.max_wait:g}")


class Supervision(msgspec.Struct, frozen=True):
    """What a parent does about the failures of its children; the manager is the parent of those it registered.

    ``directives`` are pairs of an exception type and what follows, or a dict of them: the first that fits a failed
    turn counts, and ``resume`` if none does. A failed hook or a swallowed cancellation means ``restart`` then.
    ``strategy`` says who is restarted with the one that failed. More than ``max_restarts`` ``within`` seconds is
    ``escalate``: the failure becomes the parent's own.
    Source: Erlang/OTP, "Supervision Principles".
    """

    strategy: Strategy = "one_for_one"
    directives: tuple[tuple[type[BaseException], Directive], ...] = ()
    max_restarts: int = 3
    within: float = 30.0
    backoff: Backoff = Backoff()

    def __post_init__(self) -> None:
        check_fields(self)
        for kind, directive in self.directives:
            if directive not in typing.get_args(Directive):
                known = ", ".join(typing.get_args(Directive))
                raise ValueError(f"directives: the directive for {kind.__name__} is one of {known}, not {directive!r}")
        if self.max_restarts < 0 or not 0 < self.within < math.inf:
            raise ValueError(
                f"max_restarts is 0 or more within more than 0 s, not {self.max_restarts} within {self.within:g} s"
            )

    def directive(self, error: BaseException, default: Directive = "resume") -> Directive:
        """What follows ``error``."""
        for kind, directive in self.directives:
            if isinstance(error, kind):
                return directive
        return default


class ParkedMail(msgspec.Struct, frozen=True):
    """What may wait on a durable backend for an agent that is not registered, and for how long.

    Up to ``capacity`` messages of ``max_bytes`` bytes together; one more is a dead letter of the reason ``overflow``.
    What nobody has claimed for ``keep_for`` seconds becomes a dead letter of the reason ``unclaimed``; None is never.
    """

    capacity: int = 100_000
    max_bytes: int = 256 << 20
    keep_for: float | None = 7 * 24 * 3600.0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.capacity < 0 or self.max_bytes < 0:
            raise ValueError(f"capacity and max_bytes are 0 or more, not {self.capacity} and {self.max_bytes}")
        if self.keep_for is not None and not 0 < self.keep_for < math.inf:
            raise ValueError(f"keep_for is above 0 s and finite, or None for ever, not {self.keep_for:g}")
