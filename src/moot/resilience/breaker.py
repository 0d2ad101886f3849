"""Circuit breakers: after several failures in a row, fail at once instead of trying again.

A caller that waits for what does not answer wastes its own time and keeps the other from
recovering. So a breaker counts failed calls: *closed*, it lets all through; after
``failures`` in a row it is *open* and lets none through; ``reset_after`` seconds later it
is *half open* and lets ``probes`` through, whose outcome closes it or opens it anew.
(M. Nygard, "Release It!", 2007.)

A call that began before the last change of state tells nothing about the present one, so
each call carries the number of the round it began in, and only the present round counts.
"""

from __future__ import annotations

import logging
from typing import Literal

import msgspec

from moot.policies import BreakerPolicy

__all__ = ["Breaker", "BreakerState", "BreakerStatus"]


BreakerState = Literal["closed", "open", "half_open"]


_log = logging.getLogger("moot.resilience.breaker")


class Breaker:
    """One breaker. ``name`` is for the log; times are seconds of the caller's clock.

    A call asks `retry_after`, begins with `admit`, and tells its outcome to `succeeded`, `failed` or `abandoned`.
    """

    __slots__ = ("_opened_at", "_passed", "_probes", "_round", "failures", "name", "policy", "state")

    def __init__(self, policy: BreakerPolicy, name: str) -> None:
        self.policy = policy
        self.name = name
        self.state: BreakerState = "closed"
        self.failures = 0
        """Failed calls in a row."""
        self._opened_at = 0.0
        self._probes = 0
        self._passed = 0
        self._round = 0

    @property
    def knows_of_failure(self) -> bool:
        """Whether it is more than a new one would be."""
        return self.failures > 0 or self.state != "closed"

    def retry_after(self, now: float) -> float:
        """Seconds until a call may pass; 0.0 if one may now. While probes are out, nobody knows: a whole period."""
        if self.state == "open":
            return max(0.0, self._opened_at + self.policy.reset_after - now)
        if self.state == "half_open" and self._probes >= self.policy.probes:
            return self.policy.reset_after
        return 0.0

    def admit(self) -> int:
        """Let a call pass that may; the number of its round."""
        if self.state == "open":
            self._enter("half_open")
            _log.info("the circuit breaker %s tries again", self.name)
        if self.state == "half_open":
            self._probes += 1
        return self._round

    def succeeded(self, in_round: int) -> None:
        """A call of that round was answered."""
        if in_round != self._round:
            return
        self.failures = 0
        if self.state == "half_open":
            self._passed += 1
            if self._passed >= self.policy.probes:
                self._enter("closed")
                _log.info("the circuit breaker %s is closed again", self.name)

    def failed(self, in_round: int, now: float) -> None:
        """A call of that round failed."""
        if in_round != self._round:
            return
        self.failures += 1
        if self.state == "half_open" or self.failures >= self.policy.failures:
            self._opened_at = now
            self._enter("open")
            _log.warning(
                "the circuit breaker %s opened after %d failure(s) in a row; the next try is in %g s",
                *(self.name, self.failures, self.policy.reset_after),
            )

    def abandoned(self, in_round: int) -> None:
        """A call of that round ended without telling whether it would have been answered."""
        if in_round == self._round and self.state == "half_open":
            self._probes -= 1

    def _enter(self, state: BreakerState) -> None:
        self.state = state
        self._round += 1
        self._probes = self._passed = 0


class BreakerStatus(msgspec.Struct, frozen=True):
    """The breaker of one agent's calls to one address. ``retry_after`` is in seconds, 0 when it lets a call pass."""

    caller: str
    target: str
    state: BreakerState
    failures: int
    retry_after: float
