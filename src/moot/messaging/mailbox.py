"""Mailboxes: the bounded queue between senders and one agent.

A mailbox has a capacity, because an unbounded mailbox turns a slow agent into a memory leak.
Other modules decide what happens when it is full (`moot.messaging.flow_control`,
`moot.messaging.overflow`); here is only the queue. The queue is made on first use, because an
empty deque costs more than all the rest of an idle agent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from moot.messaging.message import AgentMessage

__all__ = ["Mailbox", "WatchedMailbox"]


class Mailbox:
    """A bounded first-in, first-out queue. ``items`` are the messages that wait; None before the first."""

    __slots__ = ("capacity", "grown", "items")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.grown = 0
        self.items: deque[AgentMessage] | None = None

    def __len__(self) -> int:
        return len(self.items) if self.items is not None else 0

    @property
    def waiting(self) -> deque[AgentMessage]:
        """The queue itself. It is made now if there was none."""
        items = self.items
        if items is None:
            items = self.items = deque()
        return items

    @property
    def room(self) -> int:
        """How many more messages fit."""
        return self.capacity + self.grown - len(self)

    def offer(self, message: AgentMessage) -> bool:
        """Put ``message`` last, if there is room. Whether there was room."""
        items = self.items
        if items is None:
            items = self.items = deque()
        elif len(items) >= self.capacity + self.grown:
            return False
        items.append(message)
        return True

    def force(self, message: AgentMessage) -> None:
        """Put ``message`` last, whether there is room or not."""
        self.waiting.append(message)

    def take(self) -> AgentMessage:
        """Take the first message. An emptied mailbox gives back the room that it grew by.

        Raises:
            IndexError: the mailbox is empty.
        """
        items = self.items
        if items is None:
            raise IndexError("take from an empty mailbox")
        message = items.popleft()
        if self.grown and not items:
            self.grown = 0
        return message

    def withdraw(self, message: AgentMessage) -> bool:
        """Remove this very message. False if it no longer waits. Costs a walk of the queue."""
        items = self.items
        if items is None:
            return False
        for index, waiting in enumerate(items):
            if waiting is message:
                del items[index]
                return True
        return False

    def put_back(self, messages: Sequence[AgentMessage]) -> None:
        """Put messages first that were taken and not handled, in their order. There is always room for them."""
        self.waiting.extendleft(reversed(messages))

    def drain(self) -> list[AgentMessage]:
        """Take everything at once."""
        messages = list(self.items or ())
        self.items = None
        self.grown = 0
        return messages

    def grow(self, by: int) -> int:
        """Make room for up to ``by`` more messages, never past twice the capacity. Returns for how many."""
        by = min(by, self.capacity - self.grown)
        self.grown += by
        return by


class WatchedMailbox(Mailbox):
    """A mailbox that tells ``watcher``, while there is one, of each message that enters."""

    __slots__ = ("watcher",)

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.watcher: Callable[[AgentMessage], None] | None = None

    def offer(self, message: AgentMessage) -> bool:
        """As `Mailbox.offer`."""
        entered = super().offer(message)
        if entered and self.watcher is not None:
            self.watcher(message)
        return entered

    def force(self, message: AgentMessage) -> None:
        """As `Mailbox.force`."""
        super().force(message)
        if self.watcher is not None:
            self.watcher(message)
