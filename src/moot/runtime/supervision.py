"""Supervision: what becomes of an agent that has failed, after Erlang/OTP.

A failed turn is not yet a failed agent: most often the agent just goes on (``resume``). The
policy of its parent says for which errors the agent is made anew or stopped, and for which the
parent fails, too. A restart keeps the mailbox and the committed state, and runs again the turns
that it interrupted. An agent that fails too often is not restarted for ever: the failure goes
up, and at the top the manager stops.

Source: "OTP Design Principles", chapter "Supervisor Behaviour".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from typing import TYPE_CHECKING, Any

from moot.errors import Factual, MootError
from moot.policies import Directive, Supervision
from moot.resilience.retry import decisive
from moot.runtime.cell import Cell, Restarts
from moot.runtime.dispatch.dispatcher import Dispatcher
from moot.runtime.phase import ACTIVE, CLOSING, RESTARTING, STOPPING, SystemPhase
from moot.runtime.tasks import begin_later

if TYPE_CHECKING:
    from moot.agent.port import Runtime
    from moot.clock import Clock
    from moot.runtime.liveness.progress import Liveness
    from moot.runtime.registrar import Registrar
    from moot.runtime.routing.directory import Directory

__all__ = ["SupervisionFailed", "Supervisor"]

_log = logging.getLogger("moot.runtime.supervision")

_PATIENCE = 5.0
"""Seconds that a hook may take to end when it is cancelled."""


class SupervisionFailed(Factual, MootError):
    """An agent failed more often than its supervision allows, up to the manager, which stopped."""

    agent_id: str
    error: BaseException
    restarts: int
    template = (
        "agent {agent_id!r} failed for good after {restarts} restart(s): {error.__class__.__name__}: {error}; "
        "mend what fails, or allow more with AgentManager(supervision=Supervision(…))"
    )


class Supervisor:
    """Restarts, stops and escalates. ``given_up(error)`` is called when a failure has reached the manager."""

    def __init__(  # noqa: PLR0913 - it acts on all that has agents
        self,
        policy: Supervision,
        clock: Clock,
        runtime: Runtime,
        directory: Directory,
        dispatcher: Dispatcher,
        *,
        registrar: Registrar,
        liveness: Liveness,
        phase: SystemPhase,
        given_up: Callable[[SupervisionFailed], None],
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._runtime = runtime
        self._directory = directory
        self._dispatcher = dispatcher
        self._remove = registrar.remove_quietly
        self._liveness = liveness
        self._phase = phase
        self._given_up = given_up
        self._has_given_up = False
        self._own_restarts = Restarts()
        self.tasks: set[asyncio.Task[None]] = set()
        """The restarts and stops under way."""
        self._hooks: dict[Cell, asyncio.Task[None]] = {}
        self._starting: set[Cell] = set()
        self.restarts = 0
        dispatcher.supervised_by(self)
        registrar.await_release = self._await_release

    async def wait_idle(self) -> None:
        """Return when nothing is being restarted or stopped."""
        while self.tasks:
            await asyncio.wait(self.tasks)

    def cancel(self) -> None:
        """End the restarts and stops under way, because the system closes."""
        for task in self.tasks:
            task.cancel()

    async def close(self, grace: float) -> None:
        """End the restarts and stops under way. A hook that does not end in ``grace`` seconds is left behind."""
        self.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=grace)

    async def _await_release(self, cell: Cell) -> None:
        """Let the hook of a restart of ``cell`` end. An ``on_start`` is cancelled, an ``on_stop`` is not."""
        task = self._hooks.get(cell)
        if task is None:
            return
        if cell in self._starting:
            task.cancel()
        await asyncio.wait({task}, timeout=_PATIENCE)

    def failed(self, cell: Cell, error: BaseException, default: Directive) -> None:
        """The agent of ``cell`` has failed. The policy of its parent decides; ``default`` if that says nothing."""
        if not (self._phase.now >= CLOSING or cell.phase is not ACTIVE):
            self._decide(cell, error, default, again=())

    def stopped_itself(self, cell: Cell) -> None:
        """The agent of ``cell`` said that it stops. A permanent agent begins anew, any other is taken out."""
        if self._phase.now >= CLOSING or cell.phase is not ACTIVE:
            return
        if cell.policies.restart == "permanent":
            self._restart_group(cell, None, again=())
        else:
            self._stop(cell, None)

    def _restarts_below(self, parent: Cell | None) -> Restarts:
        """The restarts of a parent's children. The manager is the parent of agents that have no other."""
        if parent is None:
            return self._own_restarts
        if parent.restarts is None:
            parent.restarts = Restarts()
        return parent.restarts

    def _policy_for(self, cell: Cell) -> Supervision:
        return cell.parent.policies.supervision if cell.parent is not None else self._policy

    def _decide(self, cell: Cell, error: BaseException, default: Directive, again: Collection[Cell]) -> None:
        error = decisive(error)
        directive = self._policy_for(cell).directive(error, default)
        if directive == "restart" and cell.policies.restart == "temporary":
            directive = "stop"
        if directive != "resume":
            _log.warning("agent %s failed (%s: %s): %s", cell.id, type(error).__name__, error, directive)
        if directive == "restart":
            self._restart_group(cell, error, again)
        elif directive == "stop":
            self._stop(cell, error)
        elif directive == "escalate":
            self._escalate(cell, error)
        elif cell.phase is RESTARTING:
            cell.release()

    def _restart_group(self, cell: Cell, error: BaseException | None, again: Collection[Cell]) -> None:
        """Begin to restart ``cell``, and the agents that the strategy of its parent adds.

        ``again`` are agents whose restart is to be repeated.
        """
        policy = self._policy_for(cell)
        now = self._clock.now()
        restarts = self._restarts_below(cell.parent)
        count = restarts.count(now, policy.within)
        if count >= policy.max_restarts:
            _log.error("agent %s was restarted %d times within %g s", cell.id, count, policy.within)
            self._escalate(cell, error or RuntimeError("it stopped itself too often"))
            return
        delay = policy.backoff.delay(count + 1, self._runtime.random_for(f"{cell.id}/restart/{self.restarts + 1}"))
        group = self._group(cell, policy, again)
        restarts.add(now)
        self.restarts += 1
        self._own(self._restart_or_stop(group, delay))
        for member in group:
            member.pause()
        self._liveness.wake()

    def _group(self, cell: Cell, policy: Supervision, again: Collection[Cell]) -> list[Cell]:
        """The agents that are restarted with ``cell``, in the order of their start."""
        if policy.strategy == "one_for_one":
            return [cell]
        siblings = self._directory.cells.values() if cell.parent is None else (cell.parent.children or {})
        group = [
            one
            for one in siblings
            if one.parent is cell.parent
            and (one.phase is ACTIVE or (one.phase is RESTARTING and (one is cell or one in again)))
        ]
        return group if policy.strategy == "one_for_all" else group[group.index(cell) :]

    async def _restart_or_stop(self, group: list[Cell], delay: float) -> None:
        """Restart the agents of a group. If that fails itself, they are stopped, so that nobody waits for them."""
        try:
            await self._restart(group, delay)
        except Exception as error:
            _log.critical("the restart of agent %s failed; it is stopped", group[0].id, exc_info=True)
            for cell in group:
                if cell.phase is RESTARTING:
                    self._stop(cell, error)

    async def _restart(self, group: list[Cell], delay: float) -> None:
        """Stop the agents of a group in reverse, wait, and start them in order."""
        for cell in reversed(group):
            await self._halt(cell)
        await asyncio.sleep(delay)
        for index, cell in enumerate(group):
            if cell.policies.restart == "temporary":
                await self._remove(cell, None)
            elif cell.phase is not STOPPING and (error := await self._renew(cell)) is not None:
                rest = group[index + 1 :]
                self._decide(cell, error, "restart", again=rest)
                if not self._goes_on_without(cell):
                    return

    def _goes_on_without(self, cell: Cell) -> bool:
        """Whether a group is made anew although ``cell`` could not start again.

        It is not where ``cell`` is tried again, because the others are part of the next try. Nor is it where the
        failure went up: then the parent is made anew or stopped, or the whole system.
        """
        if cell.phase is RESTARTING or self._has_given_up:
            return False
        return cell.parent is None or cell.parent.phase is ACTIVE

    async def _halt(self, cell: Cell) -> None:
        for child in tuple(reversed(cell.children or {})):
            await self._remove(child, None)
        error = await self._hook(cell, self._dispatcher.lifecycle.halt(cell))
        if error is not None:
            _log.error("agent %s failed in on_stop, before its restart", cell.id, exc_info=error)

    async def _renew(self, cell: Cell) -> BaseException | None:
        """Construct and start one agent anew; the error if that failed, else None."""
        cell.restarts = None  # the count of its children begins anew, too
        try:
            cell.renew()
        except Exception as refused:
            cell.starting = True
            return refused
        self._starting.add(cell)
        error = await self._hook(cell, self._dispatcher.lifecycle.begin_again(cell))
        self._starting.discard(cell)
        if cell.phase is STOPPING:
            return None
        if error is not None:
            cell.starting = True
            return error
        cell.release()
        self._dispatcher.pool.wake(cell)
        return None

    async def _hook(self, cell: Cell, work: Coroutine[Any, Any, None]) -> BaseException | None:
        """Run a hook in a task that `await_release` knows; the error if that failed, else None."""
        task = self._hooks[cell] = begin_later(work)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task}, timeout=_PATIENCE)
            raise
        finally:
            del self._hooks[cell]
        return asyncio.CancelledError() if task.cancelled() else task.exception()

    def _escalate(self, cell: Cell, error: BaseException) -> None:
        """Let the failure be the parent's own. The agent itself is stopped."""
        if cell.parent is None:
            cell.phase = STOPPING
            self._has_given_up = True
            self._given_up(SupervisionFailed(cell.id, error, self.restarts))
        else:
            self._stop(cell, error)
            self.failed(cell.parent, error, "restart")

    def _stop(self, cell: Cell, error: BaseException | None) -> None:
        cell.phase = STOPPING  # from now on the agent is given no message
        self._own(self._remove(cell, error))

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = begin_later(_quietly(work))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        task.add_done_callback(lambda _: work.close())  # a task that is cancelled before it begins has not touched it


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        _log.exception("an agent could not be stopped or restarted")
