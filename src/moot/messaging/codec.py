"""Codecs: the bytes of a message on a wire or a disk.

The wire form is one flat map with the keys ``from``, ``to``, ``content``, ``message_type``,
``id`` and, where they are not empty, the fields that say how to treat the message. Size and
depth are bounded in both directions, because bytes from outside are not trusted. Unknown keys
are kept in ``extra`` and written again, so an older node passes on what a newer one added.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

import msgspec

from moot.errors import InvalidPayload, MessageError, MessageTooLarge
from moot.messaging.message import AgentMessage, with_version

__all__ = ["Codec", "JsonCodec", "MsgpackCodec"]

_FIELDS = frozenset(field.encode_name for field in msgspec.structs.fields(AgentMessage)) - {"given_id", "extra"}


class Codec(Protocol):
    """Turns messages into bytes and back.

    Both methods raise `MessageTooLarge` past their limits. ``decode`` raises `MessageError` if the bytes are no
    message.
    """

    def encode(self, message: AgentMessage) -> bytes:
        """The bytes of ``message``."""
        ...

    def decode(self, data: bytes) -> AgentMessage:
        """The message in ``data``; its content is plain maps, lists and scalars."""
        ...


class _BoundedCodec(ABC):
    """The part that both codecs share: the same map, limits first."""

    def __init__(self, *, max_bytes: int = 1 << 20, max_depth: int = 64) -> None:
        self.max_bytes = max_bytes
        self.max_depth = max_depth

    def encode(self, message: AgentMessage) -> bytes:
        try:
            wire: dict[str, Any] = msgspec.to_builtins(
                with_version(message), builtin_types=(bytes,) if self._keeps_bytes else ()
            )
        except RecursionError:
            raise MessageTooLarge("depth", self.max_depth + 1, self.max_depth) from None
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidPayload(message.message_type, f"it cannot be encoded ({error})") from error
        wire.pop("given_id", None)
        wire = (wire.pop("extra", None) or {}) | wire | {"id": message.id, "conversation": message.conversation_id}
        self._check_depth(wire)
        data = self._dump(wire)
        self._check_size(data)
        return data

    def decode(self, data: bytes) -> AgentMessage:
        self._check_size(data)
        try:
            wire = self._load(data)
        except RecursionError:
            raise MessageTooLarge("depth", self.max_depth + 1, self.max_depth) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MessageError(f"these bytes are not a message ({error}); check the sender's codec") from error
        if not isinstance(wire, dict):
            raise MessageError(f"a message is a map, not a {type(wire).__name__}; check the sender's codec")
        self._check_depth(wire)
        return _from_wire(wire)

    _keeps_bytes: ClassVar[bool] = False

    @abstractmethod
    def _dump(self, wire: dict[str, Any]) -> bytes: ...

    @abstractmethod
    def _load(self, data: bytes) -> Any: ...

    def _check_size(self, data: bytes) -> None:
        if len(data) > self.max_bytes:
            raise MessageTooLarge("size in bytes", len(data), self.max_bytes)

    def _check_depth(self, wire: dict[str, Any]) -> None:
        level: list[Any] = [wire]
        depth = 0
        while level:
            depth += 1
            if depth > self.max_depth:
                raise MessageTooLarge("depth", depth, self.max_depth)
            level = [
                inner
                for value in level
                for inner in (value.values() if isinstance(value, dict) else value)
                if isinstance(inner, (dict, list, tuple))
            ]


class JsonCodec(_BoundedCodec):
    """JSON: readable, and every language has it."""

    def _dump(self, wire: dict[str, Any]) -> bytes:
        return msgspec.json.encode(wire)

    def _load(self, data: bytes) -> Any:
        return msgspec.json.decode(data)


class MsgpackCodec(_BoundedCodec):
    """MessagePack: smaller and faster than JSON, and it carries bytes as they are."""

    _keeps_bytes = True

    def _dump(self, wire: dict[str, Any]) -> bytes:
        return msgspec.msgpack.encode(wire)

    def _load(self, data: bytes) -> Any:
        return msgspec.msgpack.decode(data)


def _from_wire(wire: dict[str, Any]) -> AgentMessage:
    known = {key: value for key, value in wire.items() if key in _FIELDS}
    extra = {key: value for key, value in wire.items() if key not in _FIELDS and key != "id"}
    try:
        message = msgspec.convert(known, AgentMessage)
    except msgspec.ValidationError as error:
        raise MessageError(f"this map is not a message ({error}); it needs from, to, content, message_type") from error
    given = wire.get("id")
    if given is not None and not isinstance(given, str):
        raise MessageError(f"a message id is text, not {type(given).__name__}; send a string")
    if given == message.id:
        given = None
    return msgspec.structs.replace(message, idempotency_key=given, extra=extra or None)
