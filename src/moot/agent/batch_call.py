"""Batch calls: a handler of batches is called as if it were one of messages."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from moot.messaging.message import Batch

__all__ = ["BatchCall"]


class BatchCall:
    """Calls a handler of batches as if it were one of messages, and hands each asker its answer."""

    __slots__ = ("_fn", "_name", "_wants_context")

    def __init__(self, fn: Callable[..., Any], name: str, *, wants_context: bool) -> None:
        self._fn = fn
        self._name = name
        self._wants_context = wants_context

    async def __call__(self, agent: Any, contents: list[Any], ctx: Any) -> Any:
        """Run the handler. The result is the answer to a message that came alone; None for a batch."""
        answers = await self.answers(agent, contents, ctx)
        if answers is None:
            return None
        if ctx.message.__class__ is not Batch:
            return answers[0]
        for message, answer in zip(ctx.messages, answers, strict=True):
            if message.reply_to is not None:
                ctx.send(message.reply_to, answer)
        return None

    async def answers(self, agent: Any, contents: list[Any], ctx: Any) -> Sequence[Any] | None:
        """Run the handler. The result has one answer for each message; None when no answer is owed.

        Raises:
            TypeError: the handler returned something else.
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
