"""Aggregation: several messages of one type, handled in one turn.

A batch is an envelope around envelopes (G. Hohpe, B. Woolf, "Enterprise Integration
Patterns", 2003: Aggregator). It is itself a message, so that a turn is still the handling
of one message, and all that holds for a turn holds for the batch: one commit or none of
it. What is owed to each message is owed to each member: its own answer, its own dead
letter. A batch whose turn fails is taken apart, and its members are handled alone, so
that one of them cannot take the others down; a batch of one is therefore no batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from moot.message import AgentMessage, Batch

if TYPE_CHECKING:
    from moot.context import AgentContext

__all__ = ["BatchCall", "batch_of", "check_single"]


def batch_of(messages: Sequence[AgentMessage]) -> Batch:
    """The batch of some messages of one type.

    It goes by the envelope of the first, with the earliest deadline of all. Who waits for any of them waits for the
    batch, so their chains are joined.
    """
    first = messages[0]
    deadlines = [message.deadline for message in messages if message.deadline is not None]
    return Batch(
        sender=first.sender,
        to=first.to,
        content=first.content,
        message_type=first.message_type,
        sequence=first.sequence,
        incarnation=first.incarnation,
        conversation=first.conversation_id,
        deadline=min(deadlines, default=None),
        chain=tuple(dict.fromkeys(agent for message in messages for agent in message.chain)),
        trace=first.trace,
        priority=first.priority,
        given_id=f"{first.id}+{len(messages) - 1}",
        members=tuple(messages),
    )


def check_single(message: AgentMessage, what: str) -> None:
    """Raise `RuntimeError` if ``message`` is a batch, which cannot be answered or passed on as a whole."""
    if message.__class__ is Batch:
        raise RuntimeError(f"this turn handles a batch, so there is no one message to {what}; return a list of answers")


class BatchCall:
    """Calls a handler of batches as if it were one of messages, and hands each asker its answer."""

    __slots__ = ("_fn", "_name", "_wants_context")

    def __init__(self, fn: Callable[..., Any], name: str, *, wants_context: bool) -> None:
        self._fn = fn
        self._name = name
        self._wants_context = wants_context

    async def __call__(self, agent: Any, contents: list[Any], ctx: AgentContext[Any]) -> Any:
        """Run the handler; the answer to a message that came alone, or None."""
        answers = await self.answers(agent, contents, ctx)
        if answers is None:
            return None
        if ctx.message.__class__ is not Batch:
            return answers[0]
        for message, answer in zip(ctx.messages, answers, strict=True):
            if message.reply_to is not None:
                ctx.send(message.reply_to, answer)
        return None

    async def answers(self, agent: Any, contents: list[Any], ctx: AgentContext[Any]) -> Sequence[Any] | None:
        """Run the handler; its answers, one for each message, or None when none is owed.

        Raises:
            TypeError: it returned something else.
        """
        answers = self._fn(agent, contents, ctx) if self._wants_context else self._fn(agent, contents)
        if inspect.isawaitable(answers):
            answers = await answers
        asked = sum(message.reply_to is not None for message in ctx.messages)
        if answers is None and not asked:
            return None
        if not isinstance(answers, (list, tuple)) or len(answers) != len(contents):
            given = f"{len(answers)}" if isinstance(answers, (list, tuple)) else f"a {type(answers).__name__}"
            raise TypeError(
                f"batch handler {self._name!r} was given {len(contents)} messages, {asked} of them asks, and returned "
                f"{given}; return a list with one answer for each message, or None if none was asked"
            )
        return answers
