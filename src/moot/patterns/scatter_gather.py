"""Scatter-gather: the same question to several agents, and as many of their answers as are needed.

With a quorum it ends as soon as that many have answered, and the others are no longer waited for: their requests are
withdrawn, or their turns cancelled if they say `cancel_with_asker`. Without one it hears everybody out, up to the
timeout, and tells who failed and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec

from moot import AgentContext, MootError, Request

__all__ = ["Gathered", "scatter_gather"]

R = TypeVar("R")


class Gathered(msgspec.Struct, Generic[R], frozen=True):
    """Answers and, as texts, failures, by agent, in the order of the agents; for who is in neither nobody waited."""

    answers: dict[str, R] = {}
    failures: dict[str, str] = {}


async def scatter_gather(
    ctx: AgentContext[Any],
    to: str | Sequence[str],
    request: Request[R],
    *,
    quorum: int | None = None,
    timeout: float = 30.0,
) -> Gathered[R]:
    """Ask several agents ``request``: those in ``to``, or all who can do it if that is ``capability:NAME``; any
    other text is the id of one agent.

    With ``quorum`` it returns as soon as so many have answered; without, when all have answered or failed, at the
    latest after ``timeout`` seconds.

    Raises:
        QuorumFailed: too many failed. ValueError: nobody is to be asked, or fewer than the quorum.
    """
    asked = ctx.find(to)
    if not asked or not 1 <= (quorum if quorum is not None else 1) <= len(asked):
        raise ValueError(f"{quorum or 1} answers cannot be had from {len(asked)} agents; check whom {to!r} names")
    asks = {agent: ctx.ask(agent, request, timeout=timeout) for agent in asked}
    if quorum is None:
        await ctx.gather(list(asks.values()), return_exceptions=True)
    else:
        await ctx.gather(list(asks.values()), quorum)
    return Gathered(
        {agent: ask.answer for agent, ask in asks.items() if ask.error is None},
        {agent: str(ask.error) for agent, ask in asks.items() if isinstance(ask.error, MootError)},
    )
