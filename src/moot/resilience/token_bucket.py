"""Rate limits: a token bucket.

A bucket holds up to ``burst`` tokens and gains ``rate`` of them in ``per`` seconds;
each message takes one. So in any window of *t* seconds no more than
``burst + t * rate / per`` messages pass.

The tokens are not counted but timed: all that is kept is the moment at which the bucket
is full again, which a message moves ahead by the time of one token. That is the same
bucket in one number (ITU-T I.371, "virtual scheduling"). Times are kept relative to the
first use: in seconds since 1970, a number has no digits left for microseconds.
"""

from __future__ import annotations

from moot.policies import RateLimit

__all__ = ["TokenBucket"]


class TokenBucket:
    """The bucket of one `RateLimit`; it begins full. Times are seconds of the caller's clock."""

    __slots__ = ("_burst_time", "_full_at", "_origin", "_token_time", "limit")

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        burst = limit.burst if limit.burst is not None else max(1, int(limit.rate))
        self._token_time = limit.per / limit.rate
        self._burst_time = (burst - 1) * self._token_time
        self._full_at = 0.0
        self._origin: float | None = None

    def wait(self, now: float) -> float:
        """Seconds until there is a token; 0.0 if there is one."""
        return max(0.0, self._full_at - self._burst_time - self._elapsed(now))

    def take(self, now: float) -> None:
        """Take a token that is there."""
        self._full_at = max(self._full_at, self._elapsed(now)) + self._token_time

    def try_take(self, now: float) -> bool:
        """Take a token if there is one; whether there was. `wait` and `take` in one step."""
        if self._origin is None:
            self._origin = now
        elapsed, full_at = now - self._origin, self._full_at
        if full_at - self._burst_time > elapsed:
            return False
        self._full_at = (max(elapsed, full_at)) + self._token_time
        return True

    def _elapsed(self, now: float) -> float:
        if self._origin is None:
            self._origin = now
        return now - self._origin
