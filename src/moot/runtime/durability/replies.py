"""The reply cache: which requests were handled, by idempotency key, and what was answered.

The request of a turn's ask is not stored. If the process dies, the turn runs again and asks
again. The ask then has the same key as before, so no agent does the same work twice. The answer
is stored under the asking turn, together with the effects of the turn that answered. Callers
from outside choose keys of their own.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from moot.messaging.message import ReplyTo, RequestKey
from moot.runtime.durability.encoding import encode
from moot.runtime.durability.records import DurableRecords, decode_answer
from moot.runtime.phase import CLOSING, SystemPhase

if TYPE_CHECKING:
    from moot.agent.ask import Ask
    from moot.backends.base import Journal, Stored
    from moot.clock import Clock

__all__ = ["REMEMBERED_FOR", "Handling", "ReplyCache", "request_key"]

REMEMBERED_FOR = 7 * 24 * 3600.0
"""For so many seconds a key from outside is remembered."""
_FORGETS_EVERY = 3600.0
_DEFERRED = b""
"""Stored in the place of an answer that a later turn will give. (No answer is so short.)"""


class Handling(Enum):
    """How far the handling of a request has come."""

    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    """The request was handled, and a later turn will answer it."""
    ANSWERED = "answered"


class ReplyCache:
    """Remembers requests by key, in memory and in ``journal``. It begins with what was ``stored``."""

    def __init__(self, journal: Journal, stored: Stored, clock: Clock, phase: SystemPhase) -> None:
        self._journal = journal
        self._known = stored.replies
        self._clock = clock
        self._phase = phase
        self._forget_old_keys()

    def handling(self, key: RequestKey) -> Handling:
        """How far the request of that key has come."""
        if key not in self._known:
            return Handling.UNKNOWN
        body = self._known[key][1]
        if body is None:
            return Handling.ACCEPTED
        return Handling.ANSWERED if body else Handling.DEFERRED

    def is_known(self, key: RequestKey) -> bool:
        """Whether a request of that key has come before."""
        return key in self._known

    def recall(self, key: RequestKey, request: object) -> tuple[bool, Any]:
        """Whether the ``request`` of that key was answered, and the answer.

        Raises:
            InvalidPayload: the stored answer is not of the type that the request declares.
        """
        body = self.answer(key)
        return (False, None) if body is None else (True, decode_answer(body, request))

    def answer(self, key: RequestKey) -> bytes | None:
        """The stored answer to the request of that key; None if there is none."""
        known = self._known.get(key)
        return (known[1] or None) if known is not None else None

    def accept(self, key: RequestKey, body: bytes | None = None) -> None:
        """A request of that key was accepted. With ``body``, which is the answer, it was answered."""
        now = self._clock.now()
        if now >= self._forgetting:
            self._forget_old_keys()
        self._known[key] = now, body
        self._journal.put_reply(*key, now, body)

    def forget(self, key: RequestKey) -> None:
        """The request of that key was not accepted after all, or need not be remembered any more."""
        if self._known.pop(key, None) is not None:
            self._journal.end_reply(*key)

    def answered(self, reply_to: ReplyTo, answer: Any, body: bytes | None, ask: Ask[Any] | None) -> None:
        """An answer is on its way to ``ask``. Store it for as long as its request may come again."""
        key = request_key(reply_to)
        if key is None:
            return
        records = ask.records if ask is not None else None
        if isinstance(records, DurableRecords):
            stored = encode(answer, "an answer") if body is None else body
            self._journal.put_record(records.turn, bytes.fromhex(key[1]), stored)
            records.mark()
            self.forget(key)
        elif key[0] or key in self._known:  # of a caller from outside, or of a turn that has yet to run again
            self.accept(key, encode(answer, "an answer") if body is None else body)

    def deferred(self, reply_to: ReplyTo) -> None:
        """A turn has handled a request, and a later turn will answer it."""
        key = request_key(reply_to)
        if key is not None and self.answer(key) is None:
            self.accept(key, _DEFERRED)

    def failed(self, reply_to: ReplyTo) -> None:
        """A request has failed. The failure is not stored, so a request made again is handled again."""
        key = request_key(reply_to)
        if key is not None and self._phase.now < CLOSING and self.answer(key) is None:
            self.forget(key)

    def _forget_old_keys(self) -> None:
        now = self._clock.now()
        self._forgetting = now + _FORGETS_EVERY
        oldest = now - REMEMBERED_FOR
        for key in [key for key, (at, _) in self._known.items() if at < oldest]:
            self.forget(key)


def request_key(reply_to: ReplyTo) -> RequestKey | None:
    """The key of the request that is answered at ``reply_to``; None if only this run knows the request.

    Older files have no keys of text. In them ``inbox`` is the length of the address, a colon, the address and the key;
    ``key`` is 0.
    """
    if isinstance(reply_to.key, str):
        return reply_to.inbox, reply_to.key
    length, colon, rest = reply_to.inbox.partition(":")
    if reply_to.key or not colon or not length.isdecimal():
        return None
    return rest[: int(length)], rest[int(length) :]
