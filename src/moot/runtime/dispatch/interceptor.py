"""The interceptor: wraps each run of a handler.

A tracer begins a span there, and a simulator lets handlers crash.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from moot.agent.context import AgentContext
    from moot.agent.handlers import Handler

__all__ = ["Interceptor", "called"]


class Interceptor(Protocol):
    """Runs handlers."""

    async def intercept(self, ctx: AgentContext[Any], proceed: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Run the handler by awaiting ``proceed()`` once, and return its answer. An exception fails the turn."""
        ...


async def called(handler: Handler, content: Any, ctx: AgentContext[Any]) -> Any:
    """The answer of a handler to ``content``."""
    cell: Any = ctx.cell
    call = handler.call
    answer = call(cell.agent, content, ctx) if handler.wants_context else call(cell.agent, content)
    return await answer if handler.is_async or hasattr(answer, "__await__") else answer
