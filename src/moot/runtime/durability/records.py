"""Durable records: the answers that a turn got, stored so that it asks only once even if the process dies.

The name of a turn, which is that of its message, outlives the process. Each answer has a key: a
digest of the turn, the kind, the target, the request and its occurrence. So a turn that is run
again finds its earlier answers, in whatever order it asks.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, cast

import msgspec

from moot.agent.records import NOTHING, Records, digest
from moot.agent.signature import reply_type
from moot.backends.base import Journal
from moot.errors import InvalidPayload
from moot.messaging.message import MessageName

if TYPE_CHECKING:
    from moot.messaging.message import Payload

__all__ = ["DurableRecords", "SyncedRecords", "decode_answer"]


class SyncedRecords(Records, kw_only=True):
    """The `Records` of a turn that is not run again after a crash: an ask from outside, or a hook.

    They are not stored. Effects on the outside wait until everything that led to them is stored.
    """

    journal: Journal

    async def settled(self) -> None:
        await self.journal.synced()


class DurableRecords(Records, kw_only=True):
    """The `Records` of ``turn``, which is run again after a crash.

    ``stored`` are the records of earlier runs, by key. ``agent_id`` and ``name`` are the agent and the message of the
    turn. While the handler runs, the turn is marked. So a message that kills the process again and again can be told
    from one that was only there.
    """

    journal: Journal
    turn: str
    agent_id: str
    name: MessageName
    stored: dict[bytes, bytes]
    is_rerun: bool = True
    attempt: int = -1
    chosen: dict[bytes, bytes] = {}

    def mark(self) -> None:
        """The handler runs. If the process dies now, the handler may have killed it."""
        if self.attempt < 0:
            attempt = self.journal.begin_attempt(self.agent_id, self.name)
            self.attempt = -1 if attempt is None else attempt

    def unmark(self) -> None:
        """The handler waits, has got on, or has ended. If the process dies now, the handler did not kill it."""
        if self.attempt >= 0:
            self.journal.end_attempt(self.attempt)
            self.attempt = -1

    def find(self, kind: str, target: str, request: object, type: Any = Any) -> tuple[bool, Any]:
        content = digest(request)
        key = (kind + self.scope, target, content)
        occurrence = self._next_occurrence(key)
        name = msgspec.msgpack.encode((self.turn, *key, occurrence))
        self.last = hashlib.blake2b(name, digest_size=16).digest()
        answer = self._ledger.answers.get((*key, occurrence), NOTHING)
        if answer is not NOTHING:
            return True, answer
        body = self.stored.get(self.last)
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
        self.journal.put_record(self.turn, key, body)
        self.unmark()
        await self.journal.synced()

    async def settled(self) -> None:
        await self.journal.synced()

    def pinned(self, address: str) -> str | None:
        address = self.scope + address
        key = self._pin(address, self._next_occurrence(("pin", address, b"")))
        chosen = self.chosen.get(key) or self.stored.get(key)
        if chosen is None:
            return None
        self.chosen[key] = chosen
        return msgspec.msgpack.decode(chosen, type=str)

    def pin(self, address: str, agent_id: str) -> None:
        """Keep the agent that this occurrence of an address went to, for the next run in this life and in another.

        The agent that was asked has the record of its answer, and no other agent would find that.
        """
        address = self.scope + address
        key = self._pin(address, self._ledger.asked["pin", address, b""] - 1)
        chosen = self.chosen[key] = msgspec.msgpack.encode(agent_id)
        self.journal.put_record(self.turn, key, chosen)

    def _pin(self, address: str, occurrence: int) -> bytes:
        name = msgspec.msgpack.encode((self.turn, "pin", address, occurrence))
        return hashlib.blake2b(name, digest_size=16).digest()

    def forget(self) -> None:
        self.stored.clear()
        self.journal.end_turn(self.turn)
        for key, chosen in self.chosen.items():
            self.journal.put_record(self.turn, key, chosen)
        super().forget()


def decode_answer(body: bytes, request: object = None, type: Any = Any) -> Any:
    """The stored answer in ``body``, of the type that ``request`` declares, or of ``type``.

    Raises:
        InvalidPayload: the answer is not of that type.
    """
    if request is not None:
        declared = reply_type(cast("type[Payload]", request.__class__))
        type = Any if declared is None else declared
    try:
        return msgspec.msgpack.decode(body, type=type)
    except msgspec.DecodeError as error:
        raise InvalidPayload("an answer", f"the kept one is not a {type!r} ({error})") from error
