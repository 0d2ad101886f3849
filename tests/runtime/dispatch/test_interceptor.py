"""An interceptor wraps each run of a handler, of whatever kind, and what it raises fails the turn."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from moot import Agent, AgentContext, AgentManager, Request, RetryPolicy, TurnError, handles


class Double(Request[int]):
    value: int


class Doubler(Agent):
    @handles
    async def double(self, message: Double, ctx: AgentContext) -> int:
        return 2 * message.value


class PlainDoubler(Agent):
    @handles
    def double(self, message: Double) -> int:
        return 2 * message.value


class Spans:
    """Notes when a run begins and ends, as a tracer does; ``refused`` are contents whose turns it fails."""

    def __init__(self, *refused: int) -> None:
        self.refused = refused
        self.spans: list[tuple[str, str, int]] = []

    async def intercept(self, ctx: AgentContext[Any], proceed: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        self.spans.append(("begin", ctx.agent_id, ctx.attempt))
        if ctx.message.content.value in self.refused:
            raise PermissionError("not today")
        try:
            return await proceed()
        finally:
            self.spans.append(("end", ctx.agent_id, ctx.attempt))


@pytest.mark.parametrize("kind", [Doubler, PlainDoubler])
async def test_it_sees_each_run_and_passes_on_the_answer(kind: type[Agent]) -> None:
    spans = Spans()
    async with AgentManager(interceptor=spans) as manager:
        await manager.register(kind("doubler"))

        assert await manager.ask("doubler", Double(value=21)) == 42
        assert spans.spans == [("begin", "doubler", 1), ("end", "doubler", 1)]


async def test_what_it_raises_fails_the_turn_and_is_retried_as_the_policy_says() -> None:
    spans = Spans(7)
    async with AgentManager(interceptor=spans) as manager:
        await manager.register(Doubler("doubler"), retry=RetryPolicy(max_attempts=2, retry_on=(PermissionError,)))

        with pytest.raises(TurnError, match="not today"):
            await manager.ask("doubler", Double(value=7))

        assert spans.spans == [("begin", "doubler", 1), ("begin", "doubler", 2)]
        assert await manager.ask("doubler", Double(value=1)) == 2
