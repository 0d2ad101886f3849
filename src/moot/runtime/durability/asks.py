"""Durable asks: the table of a durable system, whose asks can be answered in another life of the process.

An ask that has a name is found by it: an answer that was deferred finds the ask of the
turn that was run again. Every answer passes here, so here it is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moot.agent.ask import Ask, AskTable
from moot.messaging.message import ReplyTo
from moot.resilience.deadlines import DeadlineWheel

__all__ = ["DurableAskTable", "name_of", "named"]


def name_of(address: str, idempotency_key: str) -> str:
    """The name of the ask that has this id at this address; what follows the length of the address can be anything."""
    return f"{len(address)}:{address}{idempotency_key}"


def named(name: str) -> tuple[str, str] | None:
    """Address and id of a name; None if it is none."""
    length, colon, rest = name.partition(":")
    if not (colon and length.isdecimal()):
        return None
    return rest[: int(length)], rest[int(length) :]


class DurableAskTable(AskTable):
    """An `AskTable` that knows asks by name besides. ``answering(reply_to, answer)`` is called before each answer, and
    ``failing(reply_to)`` before each failure.
    """

    __slots__ = ("_names", "answering", "failing")

    def __init__(self, inbox: str, next_key: Callable[[], int], wheel: DeadlineWheel) -> None:
        super().__init__(inbox, next_key, wheel)
        self._names: dict[str, int] = {}
        self.answering: Callable[[ReplyTo, Any], None] = lambda reply_to, answer: None
        self.failing: Callable[[ReplyTo], None] = lambda reply_to: None

    def open(self, ask: Ask[Any], deadline: float) -> ReplyTo:
        reply_to = super().open(ask, deadline)
        if ask.name is None:
            return reply_to
        self._names[ask.name] = ask.key
        return ReplyTo(ask.name, 0)  # the same in every life, because requests may hold it, and are compared

    def get(self, reply_to: ReplyTo) -> Ask[Any] | None:
        key = reply_to.key if reply_to.inbox == self.inbox else self._names.get(reply_to.inbox)
        return self._pending.get(key) if key is not None else None

    def close(self, ask: Ask[Any]) -> None:
        super().close(ask)
        if ask.name is not None and self._names.get(ask.name) == ask.key:
            del self._names[ask.name]

    def fail(self, reply_to: ReplyTo, error: BaseException) -> bool:
        self.failing(reply_to)
        return super().fail(reply_to, error)

    def resolve(self, reply_to: ReplyTo, answer: Any) -> bool:
        self.answering(reply_to, answer)
        ask = self.get(reply_to)
        if ask is None:
            return False
        if self.link is not None:
            return self.link.answer(reply_to, answer, None)
        self.close(ask)
        ask.resolve(answer)
        return True
