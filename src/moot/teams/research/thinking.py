"""An agent's use of the engine in one turn: it counts tokens, and goes on without a model when the engine fails.

What the sources say does not depend on the engine. So a failure is noted, once,
and every later request is answered with None; the caller then falls back to
quotes.
"""

from __future__ import annotations

from moot.agent.context import AgentContext
from moot.engine.base import Completion, Engine, EngineRequest
from moot.engine.errors import EngineError
from moot.teams.research.profile import Profile, profile_of
from moot.teams.research.values import AgentUse

__all__ = ["Thinking"]


class Thinking:
    """The engine as one turn uses it. ``failure`` is why it was given up, and of which kind; ``use`` what it took."""

    def __init__(self, ctx: AgentContext, profile: Profile | None = None) -> None:
        self._engine = _engine(ctx)
        name = self._engine.name if self._engine is not None else None
        self.profile = profile if profile is not None and name is not None else profile_of(name)
        self.use = AgentUse(agent=ctx.agent_id)
        self.failure = ""
        self.failure_kind = ""
        self.model = name or ""

    @property
    def has_grammar(self) -> bool:
        """Whether answers can be bound by a grammar."""
        return self._engine is not None and self._engine.supports_grammar

    async def complete(self, request: EngineRequest) -> Completion | None:
        """The engine's answer; None when there is no engine, or it has failed in this turn."""
        if self._engine is None or self.failure:
            return None
        try:
            completion = await self._engine.generate(request)
        except EngineError as error:
            self.failure, self.failure_kind = str(error), type(error).__name__
            return None
        usage = completion.usage
        self.use += AgentUse(
            agent=self.use.agent,
            calls=1,
            fresh_tokens=usage.fresh_tokens,
            cached_tokens=usage.cached_tokens,
            completion_tokens=usage.completion_tokens,
            engine_seconds=completion.seconds,
        )
        self.model = completion.model or self.model
        return completion


def _engine(ctx: AgentContext) -> Engine | None:
    try:
        return ctx.engine
    except RuntimeError:
        return None
