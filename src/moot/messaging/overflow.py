"""Overflow: which message a full mailbox loses.

Four policies of `moot.policies.MailboxPolicy` lose a message rather than let the sender wait.
Each is a function of a full mailbox and the new message. It is called only when the mailbox is
full, so a mailbox with room costs the same under every policy.

All of them keep the order of a pair of agents. For three that is plain, because a message that
stays in the queue stays in its place. Under ``coalesce`` the new message replaces another. It
may take that place only if no other message of its sender waits behind it; else it would
overtake that one, so it goes to the end. (Always to the end would be simpler. But a key that is
sent faster than the mailbox empties would be put back again and again, and never be handled.)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from operator import attrgetter
from typing import Any

from moot.messaging.mailbox import Mailbox
from moot.messaging.message import NEWS, AgentMessage
from moot.policies import MailboxPolicy

__all__ = ["Displace", "displacement"]

Displace = Callable[[Mailbox, AgentMessage], AgentMessage | None]
"""Decides what a full mailbox does with one more message. Returned is the message that is lost.

If that is a waiting one, the new message stands in its place. None lets the new message wait.
"""

_log = logging.getLogger("moot.messaging.overflow")

_priority = attrgetter("priority")


def displacement(policy: MailboxPolicy) -> Displace | None:
    """The function of an overflow policy. None for a policy that loses nothing (``block``) or refuses (``fail``)."""
    match policy.overflow:
        case "drop_newest":
            return _drop_newest
        case "drop_oldest":
            return _drop_oldest
        case "drop_lowest":
            return _drop_lowest
        case "coalesce" if policy.key is not None:
            return _Coalesce(policy.key)
        case _:
            return None


def _drop_newest(_: Mailbox, message: AgentMessage) -> AgentMessage:
    return message


def _drop_oldest(mailbox: Mailbox, message: AgentMessage) -> AgentMessage:
    waiting = mailbox.waiting
    index = next((place for place, other in enumerate(waiting) if other.priority < NEWS), None)
    if index is None:
        return message
    oldest = waiting[index]
    del waiting[index]
    mailbox.end.append(message)
    return oldest


def _drop_lowest(mailbox: Mailbox, message: AgentMessage) -> AgentMessage:
    waiting = mailbox.end or mailbox.waiting
    lowest = min(map(_priority, waiting))
    if message.priority <= lowest:
        return message
    behind = next(place for place, other in enumerate(reversed(waiting)) if other.priority == lowest)
    index = len(waiting) - 1 - behind
    lost = waiting[index]
    del waiting[index]
    mailbox.end.append(message)
    return lost


class _Coalesce:
    """Replaces the newest waiting message of the same key. A walk of the queue: a mailbox with room needs no index."""

    __slots__ = ("_key", "_warned")

    def __init__(self, key: Callable[[Any], Hashable]) -> None:
        self._key = key
        self._warned = False

    def __call__(self, mailbox: Mailbox, message: AgentMessage) -> AgentMessage | None:
        waiting = mailbox.end
        kind, sender, key = message.message_type, message.sender, self._key_of(message)
        overtakes = False
        for behind, other in enumerate(reversed(waiting)):
            if other.message_type == kind and self._key_of(other) == key:
                index = len(waiting) - 1 - behind
                if overtakes:
                    del waiting[index]
                    waiting.append(message)
                else:
                    waiting[index] = message
                return other
            overtakes = overtakes or other.sender == sender
        return None

    def _key_of(self, message: AgentMessage) -> Hashable:
        """The key of a message. If computing it fails, the message is like no other, as no delivery may fail for it."""
        try:
            return self._key(message.content)
        except Exception:
            if not self._warned:
                self._warned = True
                _log.warning("a mailbox's key= failed on %r; such a message is not coalesced", message, exc_info=True)
            return object()
