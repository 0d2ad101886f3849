"""RunnerPool: a few tasks that run all turns.

A task for each agent costs memory, and a task for each message costs more than the message. So
a small pool of parked tasks serves one ready queue. One runner at a time, the *owner*, takes
cells from the queue. Handlers run inside its task, so everything that needs a task (timeouts,
task groups, cancellation) works in them. When a handler suspends, its runner is no longer the
owner. If there is more to do, another runner is woken, so a waiting handler holds up nobody. An
ask tells the pool that it suspends; any other suspension is noticed on the next pass of the
loop.

A runner that has emptied the queue waits for one pass before it parks. An asker resumes in that
pass, and most often it has the next thing to do.

A runner whose handlers changed its context variables or cancelled its task is retired, because
the next agent must not see that.

A parked runner is also lent, to begin a visit in another task: `moot.runtime.dispatch.at_once`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from moot.runtime.cell import Cell
from moot.runtime.dispatch.ready_queue import ReadyQueue
from moot.runtime.dispatch.runner import MakeContext, Runner, Visit, rest_of
from moot.runtime.phase import ACTIVE, CLOSED, SystemPhase
from moot.runtime.stack import check_headroom, is_deep
from moot.runtime.tasks import next_pass

__all__ = ["RunnerPool"]

_TURNS_PER_VISIT = 64
_TURNS_PER_PASS = 256
_MOST_PARKED = 64
_OPENING = 8  # frames that asyncio may need to open a gate


class RunnerPool:
    """The pool. `begin` tells it how turns are run."""

    run: Callable[[Cell, Runner, int], Visit]
    """Run up to so many turns of a cell that is ready."""
    _make_context: MakeContext

    def __init__(self, loop: asyncio.AbstractEventLoop, ready: ReadyQueue, phase: SystemPhase) -> None:
        self._loop = loop
        self._ready = ready
        self._phase = phase
        self.turns_per_visit: int = getattr(ready, "turns_per_visit", _TURNS_PER_VISIT)
        self._owner: Runner | None = None
        self._parked: list[Runner] = []
        self._held: dict[Cell, None] = {}
        self.runners: dict[asyncio.Task[Any], Runner] = {}
        """All runners, by their tasks."""
        self._idle_waiters: list[asyncio.Future[None]] = []
        self._clean = copy_context()  # what every turn begins with: the context in which the system was started
        self._looking = False
        self._is_sparing = False
        self.woken: Callable[[], None] | None = None  # told once that there is something to run

    @property
    def is_idle(self) -> bool:
        """Whether no cell is ready or held, and no turn is under way."""
        return not self._ready and not self._held and len(self._parked) == len(self.runners)

    def begin(self, run: Callable[[Cell, Runner, int], Visit], make_context: MakeContext) -> None:
        """Let ``run(cell, runner, most)`` run up to so many turns of a cell that is ready, and return how many."""
        self.run = run
        self._make_context = make_context

    def wake(self, cell: Cell) -> None:
        """``cell`` has changed: queue it, if it may run and has something to do."""
        if (
            cell.queued
            or cell.running >= cell.concurrency
            or cell.lanes is not None
            or cell.phase is not ACTIVE
            or not (cell.mailbox.items or cell.starting)
        ):
            return
        owner = self._owner
        if owner is None:
            self._wake()
        elif owner.cell is not None and not self._looking:
            self._loop.call_soon(self._look)
            self._looking = True
        self._ready.append(cell)  # last: a caller that has run out of stack has changed nothing before
        cell.queued = True

    def hold(self, cell: Cell) -> None:
        """``cell`` has mail that it must not take yet. It counts as queued until `release`."""
        cell.queued = True
        self._held[cell] = None

    def release(self, cell: Cell) -> None:
        """``cell`` need no longer wait. The caller says whether it is ready."""
        if cell in self._held:
            del self._held[cell]
            cell.queued = False
            self._loop.call_soon(self._note_idle)

    def suspending(self) -> None:
        """The present turn is about to wait. Without this call the pool finds that out a pass of the loop later."""
        if self._owner is not None and self._owner.cell is not None:
            self._owner = None
            if self._ready:
                self._wake()

    def lend(self) -> Runner | None:
        """A parked runner for a visit that begins in another task. If none is parked, one soon will be: None."""
        parked = self._parked
        while parked:
            runner = parked.pop()
            if runner.gate is not None and not runner.gate.done():  # else it is being cancelled
                return runner
        if not self._is_sparing and not self._phase.is_over():
            self._make()
            self._is_sparing = True
        return None

    def take_back(self, runner: Runner) -> None:
        """The visit for which ``runner`` was lent has ended. The runner parks again, if the next agent may have it."""
        gate = runner.gate
        try:
            is_as_before = gate is not None and not gate.done() and runner.context == self._clean
        except Exception:  # as in `Runner.has_changed`, a call shorter
            is_as_before = False
        if not is_as_before:
            self.retire(runner)
            return
        runner.cell = runner.message = runner.made = None
        self._parked.append(runner)
        if self._idle_waiters:
            self._note_idle()

    def retire(self, runner: Runner) -> None:
        """``runner``, which was lent, must not run another visit: it ends."""
        runner.cell = runner.message = runner.made = None
        runner.is_spent = True
        runner.open()

    def running(self, task: asyncio.Task[Any] | None) -> Cell | None:
        """The cell whose turn runs in ``task``; None if no turn does. Another thread may call this."""
        runner = self.runners.get(task) if task is not None else None
        return runner.cell if runner is not None else None

    def busy(self) -> list[Runner]:
        """The runners that run turns."""
        return [runner for runner in self.runners.values() if runner.cell is not None]

    def of(self, cell: Cell) -> list[Runner]:
        """The runners that run turns of ``cell``."""
        return [runner for runner in self.runners.values() if runner.cell is cell]

    def abandon(self, runner: Runner) -> None:
        """Go on without ``runner``, whose handler does not end. The runner retires when the handler ends."""
        runner.abandoned = True
        if runner.task is not None:
            self.runners.pop(runner.task, None)
        if self._owner is runner:
            self._give_up()
        self._note_idle()

    async def wait_idle(self) -> None:
        """Return when `is_idle`."""
        while not self.is_idle and self._phase.now < CLOSED:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._idle_waiters.append(waiter)
            await waiter

    async def close(self, grace: float = 5.0) -> list[Runner]:
        """Cancel all turns and end all runners. Return those whose handlers did not end in ``grace`` seconds."""
        runners = dict(self.runners)
        for task in runners:
            task.cancel()
        stuck: set[asyncio.Task[None]] = set()
        if runners:
            _, stuck = await asyncio.wait(runners, timeout=grace)
        self._let_idle_waiters_go()
        return [runner for task, runner in runners.items() if task in stuck]

    def _wake(self) -> None:
        if self.woken is not None:
            self.woken()
        if self._parked:
            if is_deep():
                check_headroom(_OPENING)  # else the gate could be open, and its runner never told
            runner = self._parked.pop()
            runner.open()
        elif self._phase.is_over():
            return
        else:
            runner = self._make()
        self._owner = runner

    def _make(self) -> Runner:
        runner = Runner(self._clean.copy(), self._make_context)
        runner.task = self._loop.create_task(
            self._serve(runner), name=f"moot runner {len(self.runners)}", context=runner.context
        )
        self.runners[runner.task] = runner
        runner.task.add_done_callback(lambda _: self._end(runner))  # if it is cancelled before its first step
        return runner

    async def _serve(self, runner: Runner) -> None:
        """The life of ``runner``: run ready cells while it owns the queue, park, begin again, until it is retired."""
        if runner.task is None:
            await next_pass()  # the loop's task factory began this task before the pool knew it
        ready, most = self._ready, self.turns_per_visit
        turns = 0
        try:
            while True:
                lingers = bool(ready)
                while ready and self._owner is runner:
                    cell = runner.cell = ready.popleft()
                    if ready and not self._looking:
                        self._looking = True
                        self._loop.call_soon(self._look)
                    turns += await self.run(cell, runner, most)
                    if self._is_spent(runner):
                        return
                    if turns >= _TURNS_PER_PASS:
                        turns = 0
                        await next_pass()
                if lingers and self._owner is runner:
                    await next_pass()
                    continue
                if self._phase.now is CLOSED or len(self._parked) >= _MOST_PARKED:
                    return
                await self._park(runner)
                rest, runner.rest = runner.rest, None
                if rest is not None and runner.task is not None:
                    turns += await rest_of(rest, runner.task)
                    runner.is_spent = self._is_spent(runner)
                if runner.is_spent:
                    return
        finally:
            self._end(runner)

    def _end(self, runner: Runner) -> None:
        """``runner`` runs no more."""
        if runner.task is not None and self.runners.pop(runner.task, None) is not None:
            if runner in self._parked:
                self._parked.remove(runner)
            if self._owner is runner:
                self._give_up()
            self._note_idle()

    def _is_spent(self, runner: Runner) -> bool:
        """A visit has ended: whether ``runner`` must end, too. If not, and nobody owns the queue, it does."""
        runner.cell = runner.message = runner.made = None
        is_cancelled = runner.task is not None and runner.task.cancelling()
        if is_cancelled or runner.abandoned or runner.has_changed(self._clean):
            return True
        if self._owner is None:
            self._owner = runner
        return False

    async def _park(self, runner: Runner) -> None:
        """Wait until there is something to do."""
        if self._owner is runner:
            self._owner = None
        self._is_sparing = False
        runner.gate = self._loop.create_future()
        self._parked.append(runner)
        if self._idle_waiters:
            self._note_idle()
        try:
            await runner.gate
        except asyncio.CancelledError as cancelled:
            if runner.rest is None:
                raise (runner.failure or cancelled) from None
            runner.rest.cancelled = cancelled
        if runner.failure is not None:
            raise runner.failure

    def _look(self) -> None:
        """Find out, between the steps of tasks, whether the owner has suspended in the middle of a visit."""
        self._looking = False
        self.suspending()

    def _give_up(self) -> None:
        self._owner = None
        if self._ready:
            self._wake()

    def _note_idle(self) -> None:
        if self.is_idle:
            self._let_idle_waiters_go()

    def _let_idle_waiters_go(self) -> None:
        for waiter in self._idle_waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._idle_waiters.clear()
