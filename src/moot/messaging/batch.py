"""Batches: several messages of one type are handled in one turn.

A batch is an envelope around envelopes (G. Hohpe, B. Woolf, "Enterprise Integration
Patterns", 2003: Aggregator). It is itself a message, so that a turn is still the handling
of one message, and all that holds for a turn holds for the batch: one commit or none of
it. What is owed to each message is owed to each member: its own answer, its own dead
letter. A batch whose turn fails is taken apart, and its members are handled alone, so
that one of them cannot take the others down; a batch of one is therefore no batch.
"""

from __future__ import annotations

from collections.abc import Sequence

from moot.messaging.message import AgentMessage, Batch

__all__ = ["batch_of", "check_single"]


def batch_of(messages: Sequence[AgentMessage]) -> Batch:
    """The batch of some messages of one type.

    It goes by the envelope of the first, with the earliest deadline of all. Who waits for any of them waits for the
    batch, so their chains are joined.
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
    """Raise `RuntimeError` if ``message`` is a batch, which cannot be answered or passed on as a whole."""
    if message.__class__ is Batch:
        raise RuntimeError(f"this turn handles a batch, so there is no one message to {what}; return a list of answers")
