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
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from moot.clock import Clock
from moot.errors import AgentStopped, AskTimeout, BreakerOpen, MailboxFull, MessageError, TurnError, UnknownAgent
from moot.policies import BreakerPolicy

if TYPE_CHECKING:
    from moot.asks import Ask

__all__ = ["Breaker", "BreakerState", "BreakerStatus", "Breakers"]

BreakerState = Literal["closed", "open", "half_open"]

_Key = tuple[str, str]

_FAILURES = (AskTimeout, MailboxFull, TurnError, AgentStopped, UnknownAgent)

_log = logging.getLogger("moot.breaker")


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


class Breakers:
    """The breakers of all agents that have a policy, by caller and by the address that it asks.

    There is one only for a pair of which a failure is known; any other is closed, and costs its asks next to nothing.
    ``most`` of them are kept; then the one whose last failure is longest ago is forgotten.
    """

    def __init__(self, clock: Clock, *, most: int = 10_000) -> None:
        self._clock = clock
        self._most = most
        self._failing: OrderedDict[_Key, Breaker] = OrderedDict()
        self.alert = False
        """Whether a failure is known."""
        self._closed: OrderedDict[_Key, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failing)

    def guard(self, caller: str, ask: Ask[Any]) -> None:
        """Let an ask pass, and hear from it how it ends.

        Raises:
            BreakerOpen: it may not pass now.
        """
        ask.guard = self
        if self._failing and (breaker := self._failing.get((caller, ask.to))) is not None:
            if wait := breaker.retry_after(self._clock.now()):
                raise BreakerOpen(ask.to, wait)
            ask.guard = _Call(self, breaker, breaker.admit())

    def settled(self, ask: Ask[Any], error: BaseException | None) -> None:
        """An ask has ended that began when no failure of its target was known; it has failed, or a failure is known."""
        asker: Any = ask.asker
        caller: str = asker.seat.id
        if ask.key < self._closed.get((caller, ask.to), 0):
            return  # it began before the breaker opened, and says nothing about the time after
        breaker = self._failing.get((caller, ask.to))
        if breaker is None:
            breaker = Breaker(asker.seat.breaker, f"of {caller!r} to {ask.to!r}")
        self.ended((caller, ask.to), breaker, 0, error)

    def ended(self, key: _Key, breaker: Breaker, in_round: int, error: BaseException | None) -> None:
        """A call has ended so: tell its breaker, and remember or forget that."""
        if error is None or isinstance(error, MessageError):  # one that refuses a message is there and well
            breaker.succeeded(in_round)
        elif isinstance(error, _FAILURES):
            breaker.failed(in_round, self._clock.now())
            self._failing.pop(key, None)  # to stand last again
        else:
            breaker.abandoned(in_round)
        if breaker.knows_of_failure:
            self._failing[key] = breaker
            if len(self._failing) > self._most:
                self._failing.popitem(last=False)
        elif self._failing.get(key) is breaker:
            del self._failing[key]
        self.alert = bool(self._failing)

    def closed(self, key: _Key, probe: Ask[Any]) -> None:
        """``probe`` has closed a breaker: asks that began before it are history."""
        self._closed[key] = probe.key
        self._closed.move_to_end(key)
        if len(self._closed) > self._most:
            self._closed.popitem(last=False)

    def forget(self, caller: str) -> None:
        """An agent is gone: forget its breakers."""
        for table in (self._failing, self._closed):
            for key in [key for key in table if key[0] == caller]:
                table.pop(key, None)
        self.alert = bool(self._failing)

    def status(self) -> list[BreakerStatus]:
        """Those that know of a failure; that of the latest comes last."""
        now = self._clock.now()
        return [
            BreakerStatus(caller, target, breaker.state, breaker.failures, breaker.retry_after(now))
            for (caller, target), breaker in self._failing.items()
        ]


class _Call:
    """One ask that a breaker let pass that knows of failures; the ask tells it how it ended."""

    alert = True

    __slots__ = ("_breaker", "_breakers", "_round")

    def __init__(self, breakers: Breakers, breaker: Breaker, in_round: int) -> None:
        self._breakers = breakers
        self._breaker = breaker
        self._round = in_round

    def settled(self, ask: Ask[Any], error: BaseException | None) -> None:
        asker: Any = ask.asker
        key = (asker.seat.id, ask.to)
        was_open = self._breaker.state != "closed"
        self._breakers.ended(key, self._breaker, self._round, error)
        if was_open and self._breaker.state == "closed":
            self._breakers.closed(key, ask)
