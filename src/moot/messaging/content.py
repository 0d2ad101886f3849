"""Content: what is sent is checked when it is sent, and copied if it may be changed in place.

A durable backend stores what is sent, and reads it in another life of the process. So content that would not be read
again as itself is refused at the send, by the name of its field, and on every backend alike. The receiver and the
sender never hold the same list: content is what it was at the send.
"""

from __future__ import annotations

from typing import Any

from moot.errors import InvalidAnswer, InvalidPayload
from moot.messaging.message import Payload, form_of_payload, message_type_of
from moot.storable.values import Form, Unstorable, form_of, plain

__all__ = ["addressed", "admitted", "admitted_as", "form_of_content", "form_of_result", "unfit_answer", "unreadable"]


def addressed(content: Any, message_type: str | None, sender: str, to: str) -> tuple[Any, str]:
    """``content`` as its receiver gets it, and its message type: its own if it is a `Payload`, else ``message_type``.

    Raises:
        TypeError: there is no message type. InvalidPayload: it could not be read again in another life of the process.
    """
    if message_type is None:
        try:
            return content.__moot_admit__(), content.message_type
        except AttributeError:
            message_type = message_type_of(content)
        except Unstorable as error:
            raise unreadable(error, content.message_type, f"what {sender!r} sends to {to!r}") from None
    return admitted(content, message_type_of(content, message_type), sender, to), message_type


def admitted(content: Any, message_type: str, sender: str, to: str) -> Any:
    """``content`` as its receiver gets it: checked, and a copy if it may be changed in place.

    Raises:
        InvalidPayload: it could not be read again in another life of the process.
    """
    try:
        return content.__moot_admit__() if isinstance(content, Payload) else plain().admit(content)
    except Unstorable as error:
        raise unreadable(error, message_type, f"what {sender!r} sends to {to!r}") from None


def admitted_as(form: Form, value: Any, message_type: str, what: str) -> Any:
    """``value`` as it is read again. ``what`` is how a person calls it.

    Raises:
        InvalidPayload: it could not be read again in another life of the process.
    """
    try:
        return form.admit(value)
    except Unstorable as error:
        raise unreadable(error, message_type, what) from None


def form_of_content(kind: type) -> Form:
    """The form of content of the class ``kind``. What is no `Payload` is read again as maps, lists and scalars."""
    return form_of_payload(kind) if issubclass(kind, Payload) else plain()


def form_of_result(kind: Any, effect: str, agent_id: str) -> Form:
    """How the result of ``effect`` is stored. Raises `TypeError` if no result of that type could be read again."""
    form = form_of(kind)
    if form.fault:
        raise TypeError(f"effect {effect!r} of {agent_id!r}: its result could not be read again: {form.fault}")
    return form


def unfit_answer(error: Unstorable, message_type: str, agent_id: str) -> InvalidAnswer:
    """What the asker is told of an answer of ``agent_id`` that could not be read again."""
    return InvalidAnswer(message_type, f"what {agent_id!r} answers could not be read again: {error}")


def unreadable(error: Unstorable, message_type: str, what: str) -> InvalidPayload:
    """The error for ``what`` (as a person calls it), which could not be read again in another life of the process."""
    return InvalidPayload(message_type, f"{what} could not be read again: {error}")
