"""Limits: what an agent with a rate limit or a batch may take out of its mailbox now.

The limits hold where a turn begins, not where a message arrives. So no way of sending can pass
them by, and a backlog is handled no faster than the limit says. Order is kept: a message that
has to wait stays in front, and the messages behind it wait too. An agent without rate limits
and batches has no `Limits`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from moot.agent.handlers import HandlerTable
from moot.errors import RateLimited
from moot.messaging.mailbox import Mailbox
from moot.messaging.message import AgentMessage
from moot.policies import BatchPolicy, RateLimit
from moot.resilience.token_bucket import TokenBucket

__all__ = ["Limits", "limits_of"]


def limits_of(agent_id: str, table: HandlerTable, limit: RateLimit | None) -> Limits | None:
    """The limits of an agent; None if it has none."""
    if limit is None and not table.has_limits:
        return None
    rates = {handler.message_type: handler.rate for handler in table if handler.rate is not None}
    batches = {handler.message_type: handler.batch for handler in table if handler.batch is not None}
    return Limits(agent_id, limit, rates, batches)


class Limits:
    """The limits of one agent and of its message types, its batches, and the timer while its mail has to wait."""

    __slots__ = ("_agent_id", "_all", "_alone", "_batches", "_by_type", "bucket", "missing", "since", "timer")

    def __init__(
        self,
        agent_id: str,
        limit: RateLimit | None,
        limits: dict[str, RateLimit],
        batches: dict[str, BatchPolicy],
    ) -> None:
        self._agent_id = agent_id
        self._all = () if limit is None else (TokenBucket(limit),)
        self._by_type = {message_type: (*self._all, TokenBucket(rate)) for message_type, rate in limits.items()}
        self._batches = batches
        self.bucket = None if limits or batches or not self._all else self._all[0]
        """The one bucket of an agent that has one rate limit and nothing else."""
        self._alone: list[AgentMessage] = []
        self.since: float | None = None
        """When the first message began to wait for others of its batch."""
        self.missing = 0
        """How many more messages would complete the batch that is waited for."""
        self.timer: asyncio.TimerHandle | None = None

    @property
    def waits_for_batches(self) -> bool:
        """Whether there is a batch for which an agent may wait."""
        return any(batch.max_wait > 0 for batch in self._batches.values())

    @property
    def is_waiting(self) -> bool:
        """Whether the mail has to wait, for a token or for the rest of a batch."""
        return self.timer is not None

    def spend(self, message_type: str, now: float) -> float:
        """Take a token from each bucket of a message type and return 0.0; or take none, and return how long to wait.

        Raises:
            RateLimited: a bucket without tokens is set to refuse.
        """
        buckets = self._by_type.get(message_type, self._all)
        wait = 0.0
        for bucket in buckets:
            shortage = bucket.wait(now)
            if shortage and bucket.limit.excess == "refuse":
                raise RateLimited(self._agent_id, shortage)
            wait = max(wait, shortage)
        if not wait:
            for bucket in buckets:
                bucket.take(now)
        return wait

    def put_back(self, mailbox: Mailbox, messages: Sequence[AgentMessage], *, alone: bool) -> None:
        """Put the messages of a failed batch in front again. With ``alone`` each is handled in a turn of its own."""
        mailbox.put_back(messages)
        if alone:
            self._alone[:0] = messages

    def keep_alone(self, message: AgentMessage) -> None:
        """Let ``message``, which is put last into the mailbox, be handled in a turn of its own."""
        self._alone.append(message)

    def take_alone(self, mailbox: Mailbox) -> AgentMessage | None:
        """The first message, if it belongs to a batch that failed. It took its tokens before."""
        if not self._alone:
            return None
        first = mailbox.waiting[0]
        for index, message in enumerate(self._alone):
            if message is first:
                del self._alone[: index + 1]  # what was before it has been withdrawn
                return mailbox.take()
        self._alone.clear()
        return None

    def batch_size(self, message_type: str) -> int:
        """How many messages of this type are handled at once, at most."""
        batch = self._batches.get(message_type)
        return 1 if batch is None else batch.max_size

    def batch_wait(self, mailbox: Mailbox, now: float) -> float:
        """How long the first message may still wait for others of its batch; 0.0 when the batch is full or late."""
        waiting = mailbox.waiting
        batch = self._batches.get(waiting[0].message_type)
        if batch is None or batch.max_wait == 0 or mailbox.room <= 0:
            return 0.0
        kind = waiting[0].message_type
        self.missing = batch.max_size - len(waiting)
        if self.missing <= 0 or any(message.message_type != kind for message in waiting):
            return 0.0
        if self.since is None:
            self.since = now
        return max(0.0, self.since + batch.max_wait - now)

    def completes(self, mailbox: Mailbox, message: AgentMessage) -> bool:
        """Whether ``message``, which has just arrived, ends the waiting for a batch."""
        self.missing -= 1
        return self.missing <= 0 or mailbox.room <= 0 or message.message_type != mailbox.waiting[0].message_type
