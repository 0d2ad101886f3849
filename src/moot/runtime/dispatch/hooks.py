"""Hooks: ``on_start`` and ``on_stop``, each run as a turn of its own.

What a hook does through its context takes effect when it returns, or not at all when
it raises, as in any turn.
"""

from __future__ import annotations

from types import CoroutineType
from typing import TYPE_CHECKING, Any

from moot.agent.agent import Agent
from moot.agent.context import AgentContext
from moot.runtime.cell import Cell
from moot.runtime.dispatch.commit import Commit, end_asks
from moot.runtime.dispatch.rollback import Rollback

if TYPE_CHECKING:
    from moot.agent.port import Runtime
    from moot.runtime.durability.turn_journal import TurnJournal

__all__ = ["Hooks"]


class Hooks:
    """Runs the hooks of agents."""

    def __init__(self, runtime: Runtime, rollback: Rollback, commit: Commit) -> None:
        self._runtime = runtime
        self._rollback = rollback
        self._commit = commit
        self.turn_journal: TurnJournal | None = None

    async def on_start(self, cell: Cell) -> None:
        """Run ``on_start``; the agent handles as many messages at once as its class says from then on."""
        await self._run(cell, "start")
        if cell.renewed is None:  # else it takes no mail yet, and has its slots when its restart is over
            cell.concurrency = cell.agent.concurrency

    async def on_stop(self, cell: Cell) -> None:
        """Run ``on_stop``, if the agent has one."""
        if type(cell.agent).on_stop is not Agent.on_stop:
            await self._run(cell, "stop")

    async def _run(self, cell: Cell, name: str) -> None:
        message = self._runtime.numbering.envelope(cell.id, cell.id, None, f"moot.{name}")
        ctx: AgentContext[Any] = AgentContext(self._runtime, cell, message)
        if self.turn_journal is not None:
            self.turn_journal.begun(cell, ctx)
        try:
            waiting = cell.agent.on_start(ctx) if name == "start" else cell.agent.on_stop(ctx)
            if waiting.__class__ is CoroutineType:  # a plain function has done it all
                await waiting
            if ctx.effects is not None:
                if ctx.effects.asks:
                    end_asks(ctx, ctx.effects)
                if self.turn_journal is not None:
                    self.turn_journal.seal(ctx.effects, message, None)
                if ctx.effects.transaction is not None:
                    await ctx.effects.transaction.commit()
                if self.turn_journal is not None:
                    self.turn_journal.committed(cell, ctx)
                self._commit.run(cell, ctx, ctx.effects)
            ctx.closed = True
        except BaseException:
            await self._rollback.roll_back(ctx)
            raise
