"""A source of knowledge: it is told of entries that concern it, one at a time, and posts what follows from them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Sequence
from typing import ClassVar

from moot import Agent, AgentContext, Payload, handles
from moot.patterns.blackboard.messages import (
    Activation,
    Entry,
    GiveBack,
    Hypothesis,
    Interest,
    Post,
    ReadBoard,
    Renew,
    Subscribe,
)

__all__ = ["KnowledgeSource"]


class Announce(Payload):
    """Time to tell the board again."""


class KnowledgeSource(Agent):
    """Override `contribute` and ``interests``. Sources of one ``kind``, by default the class, stand in for each other.

    It tells the board that it is there when it starts and every ``announce_every`` seconds.
    """

    kind: ClassVar[str] = ""
    interests: ClassVar[tuple[Interest, ...]] = ()

    def __init__(self, agent_id: str, board: str, *, announce_every: float = 2.0) -> None:
        super().__init__(agent_id)
        self.board = board
        self.announce_every = announce_every

    def contribute(self, entry: Entry, ctx: AgentContext) -> Sequence[Hypothesis] | Awaitable[Sequence[Hypothesis]]:
        """What follows from an entry; may be async. What it raises is told to the board, which asks another."""
        raise NotImplementedError(f"{type(self).__name__} has no contribute(); override it")

    async def read(self, ctx: AgentContext, level: str = "") -> tuple[Entry, ...]:
        """The entries of a level of the board, or all, as they are now."""
        return await ctx.ask(self.board, ReadBoard(level), timeout=_left(ctx))

    def renew(self, ctx: AgentContext) -> None:
        """Tell the board that this turn still works, so that its claim does not lapse."""
        if isinstance(ctx.message.content, Activation):
            ctx.progress(self.board, Renew(ctx.message.content.token))

    async def on_start(self, ctx: AgentContext) -> None:
        self._announce(ctx)
        ctx.schedule(self.announce_every, Announce(), every=self.announce_every, name="announce")

    @handles
    async def on_announce(self, message: Announce, ctx: AgentContext) -> None:
        self._announce(ctx)

    @handles
    async def on_activation(self, message: Activation, ctx: AgentContext) -> None:
        if ctx.sender != self.board or ctx.now() >= message.expires:
            return
        try:
            found = self.contribute(message.entry, ctx)
            hypotheses = await found if inspect.isawaitable(found) else found
        except Exception as error:  # the turn fails, and the board need not wait for its lease to know
            ctx.progress(self.board, GiveBack(message.token, f"{type(error).__name__}: {error}"))
            raise
        await ctx.ask(self.board, Post(message.token, tuple(hypotheses)), timeout=_left(ctx))

    def _announce(self, ctx: AgentContext) -> None:
        kind = self.kind or type(self).__name__
        ctx.send(self.board, Subscribe(kind, self.interests))


def _left(ctx: AgentContext) -> float:
    """Seconds that the claim of this turn holds yet: later no answer is of use."""
    content = ctx.message.content
    return max(0.1, content.expires - ctx.now()) if isinstance(content, Activation) else 30.0
