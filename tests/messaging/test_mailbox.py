"""A mailbox is a bounded list: first in, first out, never more than it may hold."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from moot import AgentMessage, Backoff, MailboxPolicy, RetryPolicy
from moot.messaging.mailbox import Mailbox


class MailboxAgainstAList(RuleBasedStateMachine):
    """The simplest model that is obviously right: a list and a number."""

    def __init__(self) -> None:
        super().__init__()
        self.mailbox = Mailbox(3)
        self.model: list[AgentMessage] = []
        self.room = 3
        self.made = 0

    @rule()
    def offer(self) -> None:
        self.made += 1
        message = AgentMessage("a", "b", self.made, "t", self.made)
        fits = len(self.model) < self.room
        assert self.mailbox.offer(message) is fits
        if fits:
            self.model.append(message)

    @rule()
    def take(self) -> None:
        if not self.model:
            with pytest.raises(IndexError):
                self.mailbox.take()
            return
        assert self.mailbox.take() is self.model.pop(0)
        if not self.model:
            self.room = 3

    @rule(place=st.integers(0, 5))
    def withdraw(self, place: int) -> None:
        if place < len(self.model):
            assert self.mailbox.withdraw(self.model.pop(place))
        else:
            assert not self.mailbox.withdraw(AgentMessage("a", "b", 0, "t"))

    @rule(by=st.integers(0, 4))
    def grow(self, by: int) -> None:
        granted = min(by, 6 - self.room)
        assert self.mailbox.grow(by) == granted
        self.room += granted

    @rule()
    def drain(self) -> None:
        assert self.mailbox.drain() == self.model
        self.model.clear()
        self.room = 3

    @invariant()
    def agrees(self) -> None:
        assert len(self.mailbox) == len(self.model) <= 6
        assert self.mailbox.room == self.room - len(self.model)


TestMailbox = MailboxAgainstAList.TestCase


def test_an_idle_mailbox_holds_no_queue() -> None:
    assert Mailbox(10).items is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: MailboxPolicy(capacity=0),
        lambda: MailboxPolicy(overflow="vanish"),  # type: ignore[arg-type]
        lambda: RetryPolicy(max_attempts=0),
        lambda: Backoff(first=3, limit=1),
        lambda: Backoff(first=-1),
    ],
)
def test_a_policy_that_cannot_be_meant_fails_when_it_is_made(make: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        make()  # type: ignore[operator]
