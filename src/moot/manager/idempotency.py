"""IdempotentAsks: an ask that a caller from outside makes again, under an id of its own choosing.

A caller that lost its connection or its patience asks again with the same id. So the
request is nobody's own: one goes out, and the callers wait for it, each as long as it
will. When none waits any more, a request that was not taken is withdrawn; one that was
is let end, and its answer recorded for whoever asks again. Failures are not recorded:
the first of those who wait is told, and for the next one the request goes out anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from moot.agent.ask import Ask
from moot.errors import DeliveryError

__all__ = ["IdempotentAsks"]


class _Record(msgspec.Struct, eq=False):
    """One id at one address: the request, until it is answered; those who wait for it; and its answer."""

    request: Ask[Any] | None
    waiting: list[Ask[Any]] = []
    answer: Any = None


class IdempotentAsks:
    """Remembers the answers of the last ``window`` ids.

    ``send(ask)`` lets a request go out; ``drop(ask)`` is called for one that nobody waits for any more.
    """

    def __init__(
        self, send: Callable[[Ask[Any]], None], drop: Callable[[Ask[Any]], None], window: int = 10_000
    ) -> None:
        self._send = send
        self.drop = drop
        self._window = window
        self._records: dict[tuple[str, str], _Record] = {}
        self.recall: Callable[[Ask[Any], str], tuple[bool, Any]] = lambda ask, idempotency_key: (False, None)
        """Whether the ask of an id was answered in another life of the process, and the answer."""
        self.settle: Callable[[Callable[[BaseException | None], None]], None] = lambda answer: answer(None)
        """Calls back when an answer may leave the process, with an error if it may not."""

    def __len__(self) -> int:
        return len(self._records)

    def post(self, ask: Ask[Any], idempotency_key: str) -> None:
        """Let an ask share what was sent under its id, or send it. Raises what sending raises."""
        key = (ask.to, idempotency_key)
        record = self._records.get(key)
        if record is None:
            known, answer = self.recall(ask, idempotency_key)
            if known:
                self.settle(lambda lost: ask.resolve(answer, lost))
                return
            record = self._begin(key, ask)
        if record.request is None:
            self.settle(lambda lost: ask.resolve(record.answer, lost))
        else:
            record.waiting.append(ask)
            ask.when_done(lambda ended: self._left(record, ended))

    def _begin(self, key: tuple[str, str], ask: Ask[Any]) -> _Record:
        request: Ask[Any] = Ask(ask.asker, ask.to, ask.content, ask.message_type, ask.timeout, started=True)
        request.idempotency_key = ask.idempotency_key
        self._send(request)
        return self.adopt(key, request)

    def adopt(self, key: tuple[str, str], request: Ask[Any]) -> _Record:
        """Let those who ask under this id share a request that is under way."""
        record = self._records[key] = _Record(request)
        request.on_progress = lambda piece, attempt: _pass_on(record, piece, attempt)
        self._forget_oldest()
        request.when_done(lambda ended: self._ended(key, record, ended))
        return record

    def _left(self, record: _Record, ask: Ask[Any]) -> None:
        """A caller has its answer, or waits no more."""
        if ask in record.waiting:
            record.waiting.remove(ask)
            if not record.waiting and record.request is not None:
                self.drop(record.request)

    def _ended(self, key: tuple[str, str], record: _Record, request: Ask[Any]) -> None:
        waiting, record.waiting = record.waiting, []
        if request.error is None:
            record.request, record.answer = None, request.answer
            self.settle(lambda lost: _resolve(waiting, request.answer, lost))
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
        """Keep to the window; what is still under way is not forgotten."""
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
