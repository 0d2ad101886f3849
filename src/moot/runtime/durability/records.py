"""Durable records: what a turn was answered, kept so that it is asked only once even if the process dies.

The turn has a name that outlives the process: that of its message. Each thing that it
asks for has a key, a digest of the turn, the kind, the target, the request and its
occurrence, so a turn that is run again finds what it asked for before, in whatever order.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, cast

import msgspec

from moot.agent.handlers import reply_type
from moot.agent.records import NOTHING, Records, digest
from moot.backends.base import Journal
from moot.errors import InvalidPayload
from moot.messaging.message import MessageName

if TYPE_CHECKING:
    from moot.messaging.message import Payload

__all__ = ["DurableRecords", "SyncedRecords", "decode_answer"]


class SyncedRecords(Records):
    """The `Records` of a turn that no crash lets run again: an ask from outside, or a hook. They are not kept; only
    its effects on the outside wait until what led to them is.
    """

    __slots__ = ("_journal",)

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    async def settled(self) -> None:
        await self._journal.synced()


class DurableRecords(Records):
    """The `Records` of a turn that is run again after a crash. ``stored`` are those of the runs before, by key.

    ``mail`` is whose and which message the turn is about: while the handler runs it is marked, so that one which kills
    the process again and again, without getting on, can be told from those that were only there.
    """

    __slots__ = ("_attempt", "_chosen", "_journal", "_mail", "_stored", "turn")

    def __init__(self, journal: Journal, turn: str, mail: tuple[str, MessageName], stored: dict[bytes, bytes]) -> None:
        super().__init__()
        self.is_rerun = True
        self.turn = turn
        self._mail = mail
        self._attempt = -1
        self._journal = journal
        self._stored = stored
        self._chosen: dict[bytes, bytes] = {}

    def mark(self) -> None:
        """The handler runs; if the process dies, it may be the handler's doing."""
        if self._attempt < 0:
            self._attempt = self._journal.begin_attempt(*self._mail)

    def unmark(self) -> None:
        """The handler waits, has got on, or has ended; it does not kill the process."""
        if self._attempt >= 0:
            self._journal.end_attempt(self._attempt)
            self._attempt = -1

    def find(self, kind: str, target: str, request: object, type: Any = Any) -> tuple[bool, Any]:
        content = digest(request)
        key = (kind + self.scope, target, content)
        occurrence = self._next_occurrence(key)
        name = msgspec.msgpack.encode((self.turn, *key, occurrence))
        self.last = hashlib.blake2b(name, digest_size=16).digest()
        answer = self._answers.get((*key, occurrence), NOTHING)
        if answer is not NOTHING:
            return True, answer
        body = self._stored.get(self.last)
        if body is None:
            return False, None
        answer = decode_answer(body, request if kind == "ask" else None, type)
        self.note(kind, target, request, answer)  # so that the next run in this life counts it, too
        return True, answer

    async def keep(self, key: bytes, kind: str, target: str, request: object, answer: Any) -> None:
        try:
            body = msgspec.msgpack.encode(answer)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidPayload(f"{kind} {target}", f"its result cannot be kept ({error})") from error
        self.note(kind, target, request, answer)
        self._journal.put_record(self.turn, key, body)
        self.unmark()
        await self._journal.synced()

    async def settled(self) -> None:
        await self._journal.synced()

    def pinned(self, address: str) -> str | None:
        address = self.scope + address
        key = self._pin(address, self._next_occurrence(("pin", address, b"")))
        chosen = self._chosen.get(key) or self._stored.get(key)
        if chosen is None:
            return None
        self._chosen[key] = chosen
        return msgspec.msgpack.decode(chosen, type=str)

    def pin(self, address: str, agent_id: str) -> None:
        """As in a process, and in the next: whoever was asked has records of its own, which nobody else finds."""
        address = self.scope + address
        key = self._pin(address, self._asked["pin", address, b""] - 1)
        chosen = self._chosen[key] = msgspec.msgpack.encode(agent_id)
        self._journal.put_record(self.turn, key, chosen)

    def _pin(self, address: str, occurrence: int) -> bytes:
        name = msgspec.msgpack.encode((self.turn, "pin", address, occurrence))
        return hashlib.blake2b(name, digest_size=16).digest()

    def forget(self) -> None:
        self._stored.clear()
        self._journal.end_turn(self.turn)
        for key, chosen in self._chosen.items():
            self._journal.put_record(self.turn, key, chosen)
        super().forget()


def decode_answer(body: bytes, request: object = None, type: Any = Any) -> Any:
    """A kept answer: of the type that ``request`` declares, or of ``type``.

    Raises:
        InvalidPayload: it is not of that type.
    """
    if request is not None:
        declared = reply_type(cast("type[Payload]", request.__class__))
        type = Any if declared is None else declared
    try:
        return msgspec.msgpack.decode(body, type=type)
    except msgspec.DecodeError as error:
        raise InvalidPayload("an answer", f"the kept one is not a {type!r} ({error})") from error
