"""Serving a team: messages as JSON lines in, replies as JSON lines out.

A line is an `AgentMessage` in its wire form with the message type
``research_request``; the reply goes from the researcher to its sender, with the
request's id as ``causation``. A line that is no such message is answered with
an ``error`` message, so that nobody waits in vain.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec

from moot.errors import MootError
from moot.manager.manager import AgentManager
from moot.messaging.codec import JsonCodec
from moot.messaging.message import AgentMessage
from moot.teams.research.messages import ResearchRequest

__all__ = ["serve"]

_WAIT = 24 * 3600.0
_CODEC = JsonCodec(max_bytes=64 * 1024 * 1024)


async def serve(manager: AgentManager, lines: AsyncIterator[bytes], write: Callable[[bytes], None]) -> None:
    """Answer each line, several at a time, until the lines end; then the answers under way are finished.

    An answer that cannot be written ends it at once, with the error of ``write``.
    """

    async def answer(line: bytes, number: int) -> None:
        reply = await _answer(manager, line, f"reply-{number}")
        write(_CODEC.encode(msgspec.structs.replace(reply, content=msgspec.to_builtins(reply.content))))

    try:
        async with asyncio.TaskGroup() as answers:
            number = 0
            async for line in lines:
                if line.strip():
                    number += 1
                    answers.create_task(answer(line, number))
    except BaseExceptionGroup as group:  # (what an `except*` raises is a group again)
        broken = group.subgroup(OSError)
        if broken is None:
            raise
        raise _first(broken) from None


async def _answer(manager: AgentManager, line: bytes, reply_id: str) -> AgentMessage:
    sender, cause = "unknown", None
    try:
        message = _CODEC.decode(line)
        sender, cause = message.sender, message.idempotency_key
        if message.message_type != ResearchRequest.message_type:
            raise _NotARequestError(message.message_type)
        to = message.to or "capability:research"
        report = await manager.ask(to, message.content, message_type=message.message_type, timeout=_WAIT)
        return AgentMessage(to, sender, report, report.message_type, causation=cause, idempotency_key=reply_id)
    except MootError as error:
        content = {"error": type(error).__name__, "text": str(error)}
        return AgentMessage("researcher_1", sender, content, "error", causation=cause, idempotency_key=reply_id)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class _NotARequestError(MootError):
    """The line is a message of another type."""

    def __init__(self, message_type: str) -> None:
        super().__init__(f"only {ResearchRequest.message_type!r} messages are answered here, not {message_type!r}")
