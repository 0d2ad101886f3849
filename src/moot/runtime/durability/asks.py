"""Durable asks: the table of a durable system, whose asks can be answered in another life of the process.

An ask may have a request key, by which its answer finds it. So a deferred answer finds the ask
of a turn that was run again. Every answer passes this table, and is stored here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moot.agent.ask import Ask, AskTable
from moot.messaging.message import AgentMessage, ReplyTo, RequestKey
from moot.resilience.deadlines import DeadlineWheel
from moot.runtime.durability.records import DurableRecords
from moot.runtime.durability.replies import Handling, ReplyCache, request_key

__all__ = ["DurableAskTable"]


class DurableAskTable(AskTable):
    """An `AskTable` that also knows asks by request key, and stores answers in ``replies``."""

    __slots__ = ("_keys", "replies")

    def __init__(self, inbox: str, next_key: Callable[[], int], wheel: DeadlineWheel, replies: ReplyCache) -> None:
        super().__init__(inbox, next_key, wheel)
        self._keys: dict[RequestKey, int] = {}
        self.replies = replies

    def open(self, ask: Ask[Any], deadline: float) -> ReplyTo:
        reply_to = super().open(ask, deadline)
        if ask.request_key is None:
            return reply_to
        self._keys[ask.request_key] = ask.key
        return ReplyTo(*ask.request_key)  # the same in every life, because requests may hold it, and are compared

    def get(self, reply_to: ReplyTo) -> Ask[Any] | None:
        key: int | str | None = reply_to.key
        if reply_to.inbox != self.inbox or isinstance(key, str):
            known = request_key(reply_to)
            key = self._keys.get(known) if known is not None else None
        return self._pending.get(key) if key is not None else None

    def close(self, ask: Ask[Any]) -> None:
        super().close(ask)
        if ask.request_key is not None and self._keys.get(ask.request_key) == ask.key:
            del self._keys[ask.request_key]

    def fail(self, reply_to: ReplyTo, error: BaseException) -> bool:
        self.replies.failed(reply_to)
        return super().fail(reply_to, error)

    def resolve(self, reply_to: ReplyTo, answer: Any, body: bytes | None = None) -> bool:
        ask = self.get(reply_to)
        self.replies.answered(reply_to, answer, body, ask)
        if ask is None:
            return False
        if self.transport is not None:
            return self.transport.answer(reply_to, answer, None)
        self.close(ask)
        ask.resolve(answer)
        return True

    def name(self, ask: Ask[Any]) -> None:
        """Give a key to ``ask``, if a turn makes it that is run again after a crash."""
        records = ask.records
        if isinstance(records, DurableRecords):
            records.unmark()  # the turn waits for others; if the process dies meanwhile, they may have killed it
            ask.idempotency_key = records.last.hex()
            ask.request_key = ("", ask.idempotency_key)

    def is_deferred(self, key: RequestKey) -> bool:
        """Whether the request of that key was handled, and a later turn will answer it."""
        return self.replies.handling(key) is Handling.DEFERRED

    def settle_known(self, ask: Ask[Any]) -> bool:
        """Whether the request of an open ask was handled in another life.

        If its answer is stored, the ask is resolved with it. If not, a later turn will answer.

        Raises:
            InvalidPayload: the stored answer is not of the type that the request declares.
        """
        key = ask.request_key
        if key is None or not self.replies.is_known(key):
            return False
        answered, answer = self.replies.recall(key, ask.content)
        if answered:
            self.resolve(ReplyTo(*key), answer)
        return True

    def key_of(self, message: AgentMessage) -> RequestKey | None:
        """The key that a caller from outside gave to a request; None if there is none."""
        key = request_key(message.reply_to) if message.reply_to is not None else None
        return key if key is not None and key[0] else None
