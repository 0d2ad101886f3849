"""Prompts that keep their prefix: what is shared comes first and never changes by a byte.

An engine reuses the longest prefix that it has computed before, so the order of
a prompt decides what it costs: instructions, then the context that all agents
share, then the role, then what differs. One changed byte near the front (a
timestamp, another key order) makes everything behind it fresh again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from moot.engine.base import ChatMessage

__all__ = ["build_prompt", "canonical_json", "shared_prefix"]

_SEPARATOR = "\n\n"


def build_prompt(
    *, instructions: str = "", shared: Iterable[Any] = (), role: str = "", task: str
) -> tuple[ChatMessage, ...]:
    """A prompt in the order that caches best.

    ``instructions`` is the system message, constant for the whole team. ``shared`` items and
    then ``role`` and ``task`` form the user message; an item that is not a string is written as
    `canonical_json`. Equal arguments give equal bytes. Append to ``shared``, never insert.
    """
    items = (shared,) if isinstance(shared, str) else shared
    parts = [part if isinstance(part, str) else canonical_json(part) for part in items]
    body = _SEPARATOR.join(part for part in (*parts, role, task) if part)
    user = ChatMessage("user", body)
    return (ChatMessage("system", instructions), user) if instructions else (user,)


def canonical_json(value: Any) -> str:
    """JSON with one spelling per value: sorted keys and sets, no spaces."""
    return msgspec.json.encode(value, order="sorted").decode()


def shared_prefix(first: tuple[ChatMessage, ...], second: tuple[ChatMessage, ...]) -> int:
    """How many leading characters two prompts have in common; a falling number is a broken prefix."""
    length = 0
    for one, other in zip(first, second, strict=False):
        if one.role != other.role:
            break
        if one.content == other.content:
            length += len(one.content)
            continue
        pairs = zip(one.content, other.content, strict=False)
        shorter = min(len(one.content), len(other.content))
        return length + next((index for index, (a, b) in enumerate(pairs) if a != b), shorter)
    return length
