"""Encoding: the bytes of what a durable backend stores.

MessagePack of the envelope, with its content and the version of the content's class. A decoded
envelope has plain content, which its handler converts.
"""

from __future__ import annotations

from typing import Any

import msgspec

from moot.agent.effects import Timer
from moot.errors import InvalidPayload, MessageTooLarge
from moot.messaging.message import VERSION, AgentMessage, Payload

__all__ = ["encode", "turn_name", "decode", "decode_timer"]

_MOST_BYTES = 1 << 24


def turn_name(message: AgentMessage, agent_id: str) -> str:
    """The name of a turn in all lives of the process: the `AgentMessage.id` of its message, and its agent."""
    if message.idempotency_key is not None:
        return f"{message.idempotency_key}@{agent_id}"
    return f"{message.incarnation}-{message.sequence}@{agent_id}"


def encode(thing: Any, what: str = "") -> bytes:
    """The bytes of a message, a timer, a state or an answer. ``what`` is what an error calls it.

    Raises:
        InvalidPayload, MessageTooLarge: ``thing`` cannot be stored.
    """
    try:
        body = msgspec.msgpack.encode(_versioned(thing))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        text = f"it cannot be kept ({error}); a durable system needs plain values"
        raise InvalidPayload(what or _kind_of(thing), text) from error
    if len(body) > _MOST_BYTES:
        raise MessageTooLarge(f"size of {what or _kind_of(thing)} in bytes", len(body), _MOST_BYTES)
    return body


def _kind_of(thing: AgentMessage | Timer) -> str:
    return thing.message_type if isinstance(thing, AgentMessage) else thing.message.message_type


def decode(body: bytes) -> AgentMessage:
    """The message in ``body``. Raises `msgspec.DecodeError` if there is none."""
    return _of_first(msgspec.msgpack.decode(body, type=AgentMessage))


def decode_timer(body: bytes) -> Timer:
    """The timer in ``body``. Raises `msgspec.DecodeError` if there is none."""
    timer = msgspec.msgpack.decode(body, type=Timer)
    return msgspec.structs.replace(timer, message=_of_first(timer.message))


def _versioned(thing: Any) -> Any:
    """``thing`` as it is written: a message, or a timer with its message, carries its content's version or 0."""
    if isinstance(thing, AgentMessage):
        content = thing.content
        version = content.__class__.payload_version if isinstance(content, Payload) else 0
        if version == 1:
            return thing
        return msgspec.structs.replace(thing, extra={**(thing.extra or {}), VERSION: version})
    if isinstance(thing, Timer):
        return msgspec.structs.replace(thing, message=_versioned(thing.message))
    return thing


def _of_first(message: AgentMessage) -> AgentMessage:
    """A stored message as it is read: content that was written without a version is of the first."""
    if message.extra is not None and VERSION in message.extra:
        return message
    return msgspec.structs.replace(message, extra={**(message.extra or {}), VERSION: 1})
