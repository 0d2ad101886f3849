"""The breakers of agents: by caller and by the address that it asks."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from moot.clock import Clock
from moot.errors import AgentStopped, AskTimeout, BreakerOpen, MailboxFull, MessageError, TurnError, UnknownAgent
from moot.resilience.breaker import Breaker, BreakerStatus

if TYPE_CHECKING:
    from moot.agent.ask import Ask

__all__ = ["Breakers"]


_Key = tuple[str, str]


_FAILURES = (AskTimeout, MailboxFull, TurnError, AgentStopped, UnknownAgent)


class Breakers:
    """The breakers of all agents that have a policy, by caller and by the address that it asks.

    A breaker is made when a call of its pair has failed. All other pairs are closed, and their asks cost next to
    nothing. At most ``most`` breakers are kept; then the one with the oldest last failure is forgotten.
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
        """Let ``ask`` pass, and have it report how it ends.

        Raises:
            BreakerOpen: the ask may not pass now.
        """
        ask.guard = self
        if self._failing and (breaker := self._failing.get((caller, ask.to))) is not None:
            if wait := breaker.retry_after(self._clock.now()):
                raise BreakerOpen(ask.to, wait)
            ask.guard = _Call(self, breaker, breaker.admit())

    def settled(self, ask: Ask[Any], error: BaseException | None) -> None:
        """An ask without a breaker has ended, with a failure or while a failure is known."""
        asker: Any = ask.asker
        caller: str = asker.cell.id
        if ask.key < self._closed.get((caller, ask.to), 0):
            return  # the ask began before the breaker opened, and says nothing about the time after
        breaker = self._failing.get((caller, ask.to))
        if breaker is None:
            breaker = Breaker(asker.cell.policies.breaker, f"of {caller!r} to {ask.to!r}")
        self.ended((caller, ask.to), breaker, 0, error)

    def ended(self, key: _Key, breaker: Breaker, in_round: int, error: BaseException | None) -> None:
        """A call that ``breaker`` let pass has ended. Tell the breaker, and remember or forget it."""
        if error is None or isinstance(error, MessageError):  # an agent that refuses a message works
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
        """``probe`` has closed a breaker. Asks of that pair that began before it say nothing any more."""
        self._closed[key] = probe.key
        self._closed.move_to_end(key)
        if len(self._closed) > self._most:
            self._closed.popitem(last=False)

    def forget(self, caller: str) -> None:
        """Forget the breakers of an agent that has stopped."""
        for table in (self._failing, self._closed):
            for key in [key for key in table if key[0] == caller]:
                table.pop(key, None)
        self.alert = bool(self._failing)

    def status(self) -> list[BreakerStatus]:
        """The breakers that know of a failure, the one with the latest failure last."""
        now = self._clock.now()
        return [
            BreakerStatus(caller, target, breaker.state, breaker.failures, breaker.retry_after(now))
            for (caller, target), breaker in self._failing.items()
        ]


class _Call:
    """One ask that a breaker with a known failure let pass. The ask tells this object how it ended."""

    alert = True

    __slots__ = ("_breaker", "_breakers", "_round")

    def __init__(self, breakers: Breakers, breaker: Breaker, in_round: int) -> None:
        self._breakers = breakers
        self._breaker = breaker
        self._round = in_round

    def settled(self, ask: Ask[Any], error: BaseException | None) -> None:
        asker: Any = ask.asker
        key = (asker.cell.id, ask.to)
        was_open = self._breaker.state != "closed"
        self._breakers.ended(key, self._breaker, self._round, error)
        if was_open and self._breaker.state == "closed":
            self._breakers.closed(key, ask)
