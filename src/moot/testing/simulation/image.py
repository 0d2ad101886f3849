"""Image: what the disk of a simulated backend holds."""

from __future__ import annotations

from typing import Any

from moot.backends.base import Stored, StoredMail
from moot.messaging.message import MessageName

__all__ = ["Image", "put", "remove_mail"]


class Image(Stored):
    """All that is stored: mail by agent, and its marks, which say when nobody claimed which of it."""

    mail: dict[str, list[StoredMail]] = {}
    marks: dict[str, dict[MessageName, float]] = {}


def remove_mail(image: Image, agent_id: str, name: MessageName) -> None:
    """A message has ended."""
    mail = [one for one in image.mail.get(agent_id, []) if one.name != name]
    if mail:
        image.mail[agent_id] = mail
    else:
        image.mail.pop(agent_id, None)


def put(table: dict[Any, Any], key: object, value: object) -> None:
    """Write a row; None deletes it."""
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
