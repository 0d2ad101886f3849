"""Batches: several messages of one type are handled in one turn.

A batch is an envelope around envelopes (G. Hohpe, B. Woolf, "Enterprise Integration Patterns",
2003: Aggregator). The batch is itself a message. So a turn is still the handling of one
message, and the rules of a turn hold for the batch: there is one commit or none. Each member
keeps what is owed to a message: its own answer, its own dead letter. If the turn of a batch
fails, the batch is taken apart and its members are handled alone, so that one of them cannot
take the others down. For the same reason one message alone makes no batch.
"""

from __future__ import annotations

from collections.abc import Sequence

from moot.messaging.message import AgentMessage, Batch

__all__ = ["batch_of", "check_single"]


def batch_of(messages: Sequence[AgentMessage]) -> Batch:
    """The batch of some messages of one type.

    It has the envelope of the first, with the earliest deadline of all. An agent that waits for one of them waits for
    the batch, so their chains are joined.
    """
    first = messages[0]
    deadlines = [message.deadline for message in messages if message.deadline is not None]
    return Batch(
        sender=first.sender,
        to=first.to,
        content=first.content,
        message_type=first.message_type,
        sequence=first.sequence,
        incarnation=first.incarnation,
        conversation=first.conversation_id,
        deadline=min(deadlines, default=None),
        chain=tuple(dict.fromkeys(agent for message in messages for agent in message.chain)),
        trace=first.trace,
        priority=first.priority,
        idempotency_key=f"{first.id}+{len(messages) - 1}",
        members=tuple(messages),
    )


def check_single(message: AgentMessage, what: str) -> None:
    """Raise `RuntimeError` if ``message`` is a batch. A batch cannot be answered or passed on as a whole."""
    if message.__class__ is Batch:
        raise RuntimeError(f"this turn handles a batch, so there is no one message to {what}; return a list of answers")
