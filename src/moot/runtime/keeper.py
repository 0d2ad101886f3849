"""The keeper: the task that holds a running system, and ends it.

A program does not always stop its manager. A second Ctrl-C raises in the middle of a handler,
``asyncio.run`` cancels all tasks when its function returns, a handler calls ``sys.exit``. Then
no turn may take effect by halves, none may begin, and a durable backend keeps what was accepted
for the next life, as after a kill. The keeper is cancelled with the other tasks of the loop, and
so it knows. An interruption of one turn, which is no end of the program, never cancels it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from moot.errors import ManagerStopped
from moot.runtime.cell import Cell
from moot.runtime.phase import CLOSED, CLOSING, DRAINING, STOPPING
from moot.runtime.system import System
from moot.runtime.tasks import begin_later

__all__ = ["Keeper"]

_GRACE = 5.0
"""Seconds that a handler or a hook may take to end when it is cancelled."""

_log = logging.getLogger("moot.runtime.keeper")


class Keeper:
    """Waits until ``system`` is to stop, and stops it; ``let_go()`` then releases what the manager holds.

    If its ``task`` is cancelled, the program ends: the system is halted, and the rest of the stop is done.
    """

    def __init__(self, system: System, let_go: Callable[[], Awaitable[None]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._system = system
        self._let_go = let_go
        self._is_halted = False
        self._asked: asyncio.Future[tuple[bool, float]] = self._loop.create_future()
        system.dispatcher.halt = self.halt
        self.task = system.phase.keeper = self._loop.create_task(self._keep(), name="moot keeper")

    @property
    def is_asked(self) -> bool:
        """Whether the system is to stop, or has stopped."""
        return self._asked.done()

    def stop(self, *, drain: bool, timeout: float) -> asyncio.Task[None]:
        """Let the system stop, see `AgentManager.stop`. Of several calls the first counts. Returns what to wait for."""
        self._system.phase.move_on(DRAINING)
        if not self._asked.done():
            self._asked.set_result((drain, timeout))
        return self.task

    async def hurry(self, grace: float = _GRACE) -> None:
        """End the stop under way: it waits for no turn and no restart. Handlers have ``grace`` seconds to end."""
        system = self._system
        if not self.task.done() and not system.phase.is_over():
            system.phase.move_on(CLOSING)
            system.supervisor.cancel()
            await self._end_turns(grace)
        await asyncio.shield(self.task)

    def halt(self) -> bool:
        """The program ends: from this step on no turn begins or takes effect, and no timer fires.

        On a durable backend everything stays as after a kill. In memory, mail becomes dead letters when the keeper gets
        to it. Returns whether it will, which it cannot where the loop is closed.
        """
        system = self._system
        if not self._is_halted:
            self._is_halted = True
            system.phase.move_on(CLOSED)
            system.opening.close()
            for cell in system.directory.cells.values():
                cell.phase = STOPPING
            if not self._loop.is_closed():
                system.timers.close()
                system.supervisor.cancel()
                self.stop(drain=False, timeout=_GRACE)
        return not self._loop.is_closed()

    async def _keep(self) -> None:
        try:
            drain, timeout = await self._asked
            await self._close(drain=drain, timeout=timeout)
        except asyncio.CancelledError:
            _log.warning("the program ends before its manager has stopped: what was under way is rolled back")
            self.halt()
            await self._close(drain=False, timeout=_GRACE)
        finally:
            await self._let_go()

    async def _close(self, *, drain: bool, timeout: float) -> None:
        """Stop all agents and end every ask. Agents that were halted run no hook."""
        system, grace = self._system, min(timeout, _GRACE)
        if not self._is_halted:
            if system.unclaimed is not None:
                system.unclaimed.close()
            await self._stop_agents(drain=drain, timeout=timeout, grace=grace)
        await self._end_turns(grace)
        for cell in reversed(tuple(system.directory.cells.values())):  # they were halted
            system.dispatcher.departure.run(cell, None)
        system.asks.fail_all(lambda: ManagerStopped("finish an ask"))
        system.wheel.close()
        system.liveness.close()
        for name in system.threads.leave() if system.threads is not None else ():
            _log.warning("%s does not end; its thread is left behind, and ends with the process", name)

    async def _stop_agents(self, *, drain: bool, timeout: float, grace: float) -> None:
        system = self._system
        if drain:
            system.opening.open()
        drained = drain and await self._drained(timeout)
        system.opening.close()
        system.phase.move_on(CLOSING)
        await system.supervisor.close(grace)
        if not drained:
            await self._end_turns(grace)
        for cell in reversed(tuple(system.directory.cells.values())):
            if self._is_halted:
                return
            if not await self._removed(cell, grace):
                _log.error("agent %s did not stop within %g s", cell.id, grace)
                await self._end_turns(grace)

    async def _end_turns(self, grace: float) -> None:
        """Let no turn run any more, and no timer fire."""
        self._system.phase.move_on(CLOSED)
        self._system.timers.close()
        await self._system.dispatcher.close(grace)

    async def _removed(self, cell: Cell, grace: float) -> bool:
        """Whether an agent could be taken out in time. A hook that swallows its cancellation is left behind."""
        removing = begin_later(self._system.registrar.remove_quietly(cell, None))
        done, _ = await asyncio.wait({removing}, timeout=grace)
        if not done:
            removing.cancel()
            await asyncio.wait({removing}, timeout=grace)
        return bool(done)

    async def _drained(self, timeout: float) -> bool:
        try:
            await asyncio.wait_for(self._system.settle(), timeout)
        except TimeoutError:
            return False
        return True
