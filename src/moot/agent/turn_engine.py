"""The engine as one turn sees it: recorded, with the turn's deadline and its program.

A turn that is run again finds the completions that it has paid for. The requests of all turns
of one conversation carry the conversation's id as their program. So a scheduler can tell which
requests belong together.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import msgspec

from moot.agent.records import Records
from moot.engine.base import Completion, CompletionChunk, Engine, EngineFront, EngineRequest

if TYPE_CHECKING:
    from moot.agent.port import Turn

__all__ = ["TurnEngine"]


class TurnEngine(EngineFront):
    """An `Engine` for the length of a turn."""

    def __init__(self, engine: Engine, turn: Turn) -> None:
        super().__init__(engine)
        self._turn = turn

    async def generate(self, request: EngineRequest) -> Completion:
        turn = self._turn
        if turn.records is None:
            turn.records = Records()
        records = turn.records
        known, completion = records.find("engine", self.engine.name, request, Completion)
        if not known:
            key = records.last
            completion = await self.engine.generate(self._of_this_turn(request))
            await records.keep(key, "engine", self.engine.name, request, completion)
        answer: Completion = completion
        return answer

    async def stream(self, request: EngineRequest) -> AsyncIterator[CompletionChunk]:
        async for chunk in self.engine.stream(self._of_this_turn(request)):
            yield chunk

    async def close(self) -> None:
        raise RuntimeError("the engine belongs to the manager, which closes it; a turn only uses it")

    def _of_this_turn(self, request: EngineRequest) -> EngineRequest:
        deadlines = [moment for moment in (request.deadline, self._turn.deadline) if moment is not None]
        return msgspec.structs.replace(
            request,
            deadline=min(deadlines, default=None),
            program=request.program or self._turn.message.conversation_id,
        )
