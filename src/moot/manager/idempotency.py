"""IdempotentAsks: an ask that a caller from outside makes again, under an id of its own choosing.

A caller that lost its connection or its patience asks again with the same id. So the request
belongs to no caller: one request is sent, and each caller waits for it as long as it will. If
no caller waits any more, a request that was not taken is withdrawn. If it was taken, its turn
ends, and the answer is recorded for the next caller. Failures are not recorded: the first
caller that waits is told, and for the next one the request is sent again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from moot.agent.ask import Ask
from moot.errors import DeliveryError
from moot.messaging.message import RequestKey

if TYPE_CHECKING:
    from moot.runtime.durability.turn_journal import TurnJournal
    from moot.runtime.routing.delivery import Delivery
    from moot.runtime.routing.requests import Requests

__all__ = ["IdempotentAsks"]


class _Record(msgspec.Struct, eq=False):
    """One id at one address: the request until it is answered, the asks that wait for it, and its answer."""

    request: Ask[Any] | None
    waiting: list[Ask[Any]] = []
    answer: Any = None


class IdempotentAsks:
    """Remembers the answers of the last ``window`` keys. A ``journal`` also has answers of other lives."""

    def __init__(
        self, requests: Requests, delivery: Delivery, journal: TurnJournal | None, window: int = 10_000
    ) -> None:
        self._requests = requests
        self._delivery = delivery
        self._journal = journal
        self._window = window
        self._records: dict[RequestKey, _Record] = {}

    def __len__(self) -> int:
        return len(self._records)

    def post(self, ask: Ask[Any], idempotency_key: str) -> None:
        """Let an ask share the request of its key, or send the request. Raises the errors of sending."""
        key = (ask.to, idempotency_key)
        record = self._records.get(key)
        if record is None:
            if self._journal is not None:
                known, answer = self._journal.replies.recall(key, ask.content)
                if known:
                    self._settle(lambda lost: ask.resolve(answer, lost))
                    return
            record = self._begin(key, ask)
        if record.request is None:
            self._settle(lambda lost: ask.resolve(record.answer, lost))
        else:
            record.waiting.append(ask)
            ask.when_done(lambda ended: self._left(record, ended))

    def _settle(self, callback: Callable[[BaseException | None], None]) -> None:
        """Call ``callback`` when an answer may leave the process; with an error if it may not."""
        if self._journal is not None:
            self._journal.store.after_sync(callback)
        else:
            callback(None)

    def _begin(self, key: RequestKey, ask: Ask[Any]) -> _Record:
        request: Ask[Any] = Ask(ask.asker, ask.to, ask.content, ask.message_type, ask.timeout, started=True)
        request.idempotency_key = ask.idempotency_key
        if self._journal is not None:
            self._requests.enter_durable(request, key[1])
        else:
            self._requests.enter(request)
        return self.adopt(key, request)

    def under_way(self, key: RequestKey) -> Ask[Any] | None:
        """The request of that key, until it is answered."""
        record = self._records.get(key)
        return record.request if record is not None else None

    def adopt(self, key: RequestKey, request: Ask[Any]) -> _Record:
        """Let the asks of a key share a request that is under way."""
        record = self._records[key] = _Record(request)
        request.on_progress = lambda piece, attempt: _pass_on(record, piece, attempt)
        self._forget_oldest()
        request.when_done(lambda ended: self._ended(key, record, ended))
        return record

    def _left(self, record: _Record, ask: Ask[Any]) -> None:
        """``ask`` has its answer, or its caller waits no more."""
        if ask in record.waiting:
            record.waiting.remove(ask)
            if not record.waiting and record.request is not None and self._journal is None:
                self._delivery.drop(record.request)  # (a stored request is handled even if nobody waits)

    def _ended(self, key: RequestKey, record: _Record, request: Ask[Any]) -> None:
        waiting, record.waiting = record.waiting, []
        if request.error is None:
            record.request, record.answer = None, request.answer
            self._settle(lambda lost: _resolve(waiting, request.answer, lost))
            return
        del self._records[key]
        if waiting:
            waiting[0].fail(request.error)
        for ask in waiting[1:]:
            try:
                self.post(ask, key[1])
            except DeliveryError as error:
                ask.fail(error)

    def _forget_oldest(self) -> None:
        """Forget the oldest answers past the window. A request under way is not forgotten."""
        surplus = len(self._records) - self._window
        if surplus > 0:
            answered = (key for key, record in self._records.items() if record.request is None)
            for key in [key for key, _ in zip(answered, range(surplus), strict=False)]:
                del self._records[key]


def _resolve(waiting: list[Ask[Any]], answer: Any, lost: BaseException | None) -> None:
    for ask in waiting:
        ask.resolve(answer, lost)


def _pass_on(record: _Record, piece: Any, attempt: int) -> None:
    for ask in record.waiting:
        if ask.on_progress is not None:
            ask.on_progress(piece, attempt)
