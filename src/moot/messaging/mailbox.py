"""Mailboxes: the bounded queue between senders and one agent.

A mailbox has a capacity, because an unbounded mailbox turns a slow agent into a memory leak.
Other modules decide what happens when it is full (`moot.messaging.flow_control`,
`moot.messaging.overflow`); here is only the queue. The queue is made on first use, because an
empty deque costs more than all the rest of an idle agent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import ClassVar

from moot.messaging.message import AgentMessage

__all__ = ["Mailbox", "StoredMailbox", "WatchedMailbox"]


_AT_HAND = 64


class Mailbox:
    """A bounded first-in, first-out queue. ``items`` are the messages that wait; None before the first.

    ``goes_on``: there may be more in a store, for which `refill` must be called.
    """

    goes_on: ClassVar[bool] = False

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
    def end(self) -> deque[AgentMessage]:
        """The part of the queue in which a new message stands last."""
        return self.waiting

    def holds(self, message: AgentMessage) -> bool:
        """Whether this very message waits. Costs a walk of the queue."""
        return any(waiting is message for waiting in reversed(self.items or ()))

    def refill(self) -> None:
        """Have messages at hand, if there are any. Called when ``items`` may have become short."""

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


class StoredMailbox(WatchedMailbox):
    """A mailbox that goes on in a store: ``items`` are first, then what is stored, then what has arrived since.

    ``read`` returns some of the stored messages, in order, and ``stored`` how many there are. They count as waiting.
    There is something in ``items`` whenever anything waits, after `refill`.
    """

    goes_on = True

    __slots__ = ("_later", "_read", "_stored")

    def __init__(self, capacity: int, read: Callable[[], list[AgentMessage]], stored: Callable[[], int]) -> None:
        super().__init__(capacity)
        self._read = read
        self._stored = stored
        self._later: deque[AgentMessage] = deque()

    @classmethod
    def after(
        cls, mailbox: Mailbox, read: Callable[[], list[AgentMessage]], stored: Callable[[], int]
    ) -> StoredMailbox:
        """One whose first messages are in ``mailbox``, which it takes the place of."""
        following = cls(mailbox.capacity, read, stored)
        following.waiting.extend(mailbox.items or ())
        following.refill()
        return following

    def __len__(self) -> int:
        return super().__len__() + self._stored() + len(self._later)

    @property
    def end(self) -> deque[AgentMessage]:
        """As `Mailbox.end`."""
        return self._later if self._later or self._stored() else self.waiting

    def holds(self, message: AgentMessage) -> bool:
        """As `Mailbox.holds`. What is only stored has not arrived in this life, and nobody has it to ask."""
        return super().holds(message) or any(waiting is message for waiting in reversed(self._later))

    def offer(self, message: AgentMessage) -> bool:
        """As `Mailbox.offer`."""
        if self.room <= 0:
            return False
        self.force(message)
        return True

    def force(self, message: AgentMessage) -> None:
        """As `Mailbox.force`."""
        self.end.append(message)
        if self.watcher is not None:
            self.watcher(message)

    def take(self) -> AgentMessage:
        """As `Mailbox.take`."""
        message = super().take()
        self.refill()
        return message

    def withdraw(self, message: AgentMessage) -> bool:
        """As `Mailbox.withdraw`."""
        found = super().withdraw(message)
        if found:
            self.refill()
            return True
        for index, waiting in enumerate(self._later):
            if waiting is message:
                del self._later[index]
                return True
        return False

    def drain(self) -> list[AgentMessage]:
        """As `Mailbox.drain`, but for what is only stored, which stays there."""
        messages = [*super().drain(), *self._later]
        self._later.clear()
        return messages

    def refill(self) -> None:
        """As `Mailbox.refill`: read while little is at hand and more is stored."""
        items = self.waiting
        while len(items) < _AT_HAND and self._stored():
            before = self._stored()
            items.extend(self._read())
            if self._stored() == before:
                return  # the store cannot go on, and says so itself
        if self._later and not self._stored():
            items.extend(self._later)
            self._later.clear()
