"""Progress: an agent is alive as long as it gets on with its mail, whatever its task or its pulse may say.

Nothing is counted or stamped per message. A slow tick looks at all agents and compares what it
sees with what it saw before. If the turns of an agent are the same ones while mail waits, the
agent has made no progress in between. So all times here are rounded down by up to a tick: a
second, or more for many agents.

The tick runs only while there is something to watch, so an idle system sleeps. On a virtual
clock the tick ends its watch of an agent after a long time without news, because ticking for
ever would hide that nothing can happen any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from moot.clock import Clock
from moot.runtime.liveness.watchdog import Watchdog
from moot.runtime.phase import RESTARTING

if TYPE_CHECKING:
    from moot.messaging.message import MessageName
    from moot.runtime.cell import Cell
    from moot.runtime.dispatch.runner import Runner
    from moot.runtime.liveness.deadlock import Deadlocks

__all__ = ["AgentHealth", "Health", "Liveness"]

_TICK = 1.0
_LONGEST_RESTART = 600.0
"""On a virtual clock a restart is watched for so many seconds. Then the loop may say that nothing happens any more."""
_LONG_ENOUGH = 10  # idle timeouts; see above
_AGENTS_PER_TICK = 20_000  # a look at so many agents takes about a millisecond

_log = logging.getLogger("moot.runtime.liveness.progress")


class AgentHealth(msgspec.Struct, frozen=True):
    """How one agent gets on. Durations are in seconds, seen by the tick: up to a tick too short.

    ``mail`` messages wait, the first for ``oldest``. ``running`` turns are under way, the longest for ``running_for``.
    For ``no_progress`` mail has waited while no turn has ended. ``doing`` says what the agent does, or waits for.
    """

    mail: int
    oldest: float
    running: int
    running_for: float
    no_progress: float
    doing: str


class Health(msgspec.Struct, frozen=True):
    """How a system gets on, at the time ``at``.

    ``agents`` has the agents with mail, turns under way or undelivered output. ``stuck`` are those of them that have
    mail and have ended no turn for their ``idle_timeout``; ``reported`` counts how often that happened. ``loop_lag`` is
    how long the event loop last took to get to a callback, and ``blocks`` how often it was blocked. Without a watchdog
    they are None and 0.
    """

    at: float
    agents: dict[str, AgentHealth]
    stuck: tuple[str, ...]
    reported: int
    open_asks: int
    loop_lag: float | None
    blocks: int


class Pool(Protocol):
    """The pool that runs turns; `moot.runtime.dispatch.pool.RunnerPool` is it."""

    woken: Callable[[], None] | None

    def running(self, task: asyncio.Task[Any] | None) -> Cell | None:
        """The cell whose turn runs in ``task``; None if no turn does."""
        ...

    def busy(self) -> list[Runner]:
        """The runners that run turns."""
        ...


class _Sample:
    """What a tick saw of one agent, and since when that has been so."""

    __slots__ = ("head", "head_since", "is_reported", "mail_since", "since", "turns")

    def __init__(self, now: float) -> None:
        self.turns: list[tuple[MessageName | None, float]] = []
        self.head: MessageName | None = None
        self.head_since = now
        self.mail_since = now
        self.since = now
        self.is_reported = False

    def update(self, cell: Cell, runners: list[Runner], now: float) -> None:
        """Look at the agent again."""
        names = [runner.message.name if runner.message is not None else None for runner in runners]
        turns = [(name, self._since(name, now)) for name in names]
        head = cell.mailbox.items[0].name if cell.mailbox.items else None
        turned = names != [name for name, _ in self.turns]
        if turned or (not names and head != self.head):
            self.since = now
            self.is_reported = False
        if head is None or self.head is None:
            self.mail_since = now
        if head != self.head:
            self.head, self.head_since = head, now
        self.turns = turns

    def _since(self, name: MessageName | None, now: float) -> float:
        return next((since for known, since in self.turns if known == name), now)

    def no_progress(self, now: float) -> float:
        """For how long mail has waited while no turn has ended."""
        return now - max(self.since, self.mail_since) if self.head is not None else 0.0


class Liveness:
    """Watches the agents of one system, and the loop. ``cells`` are all agents, by id; ``waits`` knows the asks that
    they wait for.

    ``threshold`` is after how many seconds a blocked loop is reported. A thread does that, and never on a virtual
    clock.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        cells: dict[str, Any],
        pool: Pool,
        waits: Deadlocks,
        threshold: float | None = None,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._cells = cells
        self._pool = pool
        self._waits = waits
        self._is_real = getattr(loop, "epoch", None) is None
        self._samples: dict[Cell, _Sample] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.reported = 0
        self._woken_at = 0.0
        self._watchdog = (
            Watchdog(loop, threshold, partial(_agent_now, loop, pool))
            if threshold is not None and self._is_real
            else None
        )
        pool.woken = self._arm

    def wake(self) -> None:
        """Begin to tick, because agents are being made anew, which no runner does."""
        self._woken_at = self._clock.now()
        if self._pool.woken is not None:
            self._pool.woken()

    def close(self) -> None:
        """Watch no more."""
        self._pool.woken = None
        if self._timer is not None:
            self._timer.cancel()
        if self._watchdog is not None:
            self._watchdog.close()
        self._samples.clear()

    def health(self, open_asks: int) -> Health:
        """How all agents are now. Takes about 5 ms for 100,000 agents."""
        now = self._clock.now()
        busy = self._sample(now)
        agents = {cell.id: self._describe(cell, busy.get(cell, []), now) for cell in self._samples}
        stuck = tuple(sorted(cell.id for cell, sample in self._samples.items() if _is_overdue(cell, sample, now)))
        dog = self._watchdog
        lag, blocks = (dog.lag, dog.blocks) if dog is not None else (None, 0)
        return Health(now, agents, stuck, self.reported, open_asks, lag, blocks)

    def _arm(self) -> None:
        """Begin to tick, because something begins to run."""
        self._timer = self._loop.call_later(max(_TICK, _TICK * len(self._cells) / _AGENTS_PER_TICK), self._tick)
        self._pool.woken = None  # last: what is woken may have run out of stack

    def _tick(self) -> None:
        now = self._clock.now()
        busy = self._sample(now)
        for cell, sample in self._samples.items():
            if not sample.is_reported and _is_overdue(cell, sample, now):
                sample.is_reported = True
                self.reported += 1
                self._report(cell, self._describe(cell, busy.get(cell, []), now))
        if self._is_real:
            goes_on = bool(self._samples) or self._is_restarting()
        else:
            goes_on = any(_is_worth_watching(cell, sample, now) for cell, sample in self._samples.items()) or (
                self._is_restarting() and now - self._woken_at < _LONGEST_RESTART
            )
        if goes_on:
            self._arm()
        else:
            self._timer = None
            self._pool.woken = self._arm

    def _is_restarting(self) -> bool:
        """Whether agents are being made anew. Their mail wakes nobody, so it is looked at."""
        return any(cell.phase is RESTARTING for cell in self._cells.values())

    def _sample(self, now: float) -> dict[Cell, list[Runner]]:
        """Look at all agents, and return the runners of each."""
        busy: dict[Cell, list[Runner]] = {}
        for runner in self._pool.busy():
            if runner.cell is not None:
                busy.setdefault(runner.cell, []).append(runner)
        waiting = [cell for cell in self._cells.values() if cell.mailbox.items or cell.lanes]
        samples = self._samples
        self._samples = {cell: samples.get(cell) or _Sample(now) for cell in (*busy, *waiting)}
        for cell, sample in self._samples.items():
            sample.update(cell, busy.get(cell, []), now)
        return busy

    def _describe(self, cell: Cell, runners: list[Runner], now: float) -> AgentHealth:
        sample = self._samples[cell]
        return AgentHealth(
            mail=len(cell.mailbox),
            oldest=now - sample.head_since if sample.head is not None else 0.0,
            running=len(sample.turns),
            running_for=max((now - since for _, since in sample.turns), default=0.0),
            no_progress=sample.no_progress(now),
            doing=self._doing(cell, runners, sample, now),
        )

    def _doing(self, cell: Cell, runners: list[Runner], sample: _Sample, now: float) -> str:
        """What an agent does, or waits for, in words."""
        if cell.phase is RESTARTING:
            return "it is being restarted"
        if cell.limits is not None and cell.limits.is_waiting and not runners:
            return "it waits until its rate limit or its batch lets it take the next"
        doing = [f"its output waits for room in the mailbox of {target.id!r}" for target in cell.lanes or ()]
        for runner, (_, since) in zip(runners, sample.turns, strict=True):
            turn = f"a turn on {runner.message.message_type!r}" if runner.message is not None else "its on_start"
            is_hook = runner.message is None
            awaited = self._waits.asks_of(cell, runner.made) if runner.made is not None or is_hook else ()
            asks = [f"{ask.to!r} to answer {ask.message_type!r}" for ask in awaited]
            waits = f", waits for {' and '.join(asks)}" if asks else ""
            doing.append(f"{turn} has run for {now - since:.3g} s{waits}")
        return "; ".join(doing) or "it waits to be run"

    def _report(self, cell: Cell, health: AgentHealth) -> None:
        head = cell.mailbox.items[0].message_type if cell.mailbox.items else ""
        _log.warning(
            "agent %s has %d message(s), the first a %r, and has ended no turn for %.3g s: %s; "
            "mend what it waits for, or give it a longer idle_timeout",
            *(cell.id, health.mail, head, health.no_progress, health.doing),
        )


def _is_overdue(cell: Cell, sample: _Sample, now: float) -> bool:
    timeout = cell.policies.timeouts.idle_timeout
    if cell.limits is not None and cell.limits.is_waiting:
        return False  # on purpose, until its timer
    return sample.head is not None and timeout is not None and sample.no_progress(now) >= timeout


def _is_worth_watching(cell: Cell, sample: _Sample, now: float) -> bool:
    """Whether a longer look may show something new."""
    timeout = cell.policies.timeouts.idle_timeout
    return timeout is not None and now - sample.since < _LONG_ENOUGH * timeout


def _agent_now(loop: asyncio.AbstractEventLoop, pool: Pool) -> str | None:
    """The id of the agent whose turn the loop runs at this moment. The watchdog's thread calls this."""
    cell = pool.running(asyncio.current_task(loop))
    return cell.id if cell is not None else None
