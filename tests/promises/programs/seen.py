"""What is seen of a run: by callers, by handlers, and by an observer."""

from __future__ import annotations

import asyncio
import contextvars
import re
import sys
from collections import Counter, defaultdict
from typing import Any

from moot import AgentContext, AgentManager, AgentMessage, MootError, Terminated
from moot.telemetry.observer import TurnOutcome
from tests.promises.programs.messages import Lines

__all__ = ["ERRORS", "World", "describe", "label_of", "mark", "moment", "plain", "surroundings"]

ERRORS = (MootError, RuntimeError, TimeoutError, ValueError, OSError, LookupError, ExceptionGroup)
"""What a step of a program may end with, and the program goes on."""
mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="unset")


class World:
    """What can be told of one run."""

    def __init__(self, manager: AgentManager) -> None:
        self.manager = manager
        self.calls: defaultdict[str, Lines] = defaultdict(list)
        self.turns: Counter[tuple[Any, ...]] = Counter()
        self.pairs: defaultdict[str, Lines] = defaultdict(list)
        self.effects: Counter[str] = Counter()
        self.hooks: Counter[str] = Counter()
        self.loop_errors: Counter[str] = Counter()

    def loop_failed(self, message: str) -> None:
        if "never retrieved" not in message:  # the collector decides when that is said
            self.loop_errors[message] += 1

    def turn_started(self, agent_id: str, message: AgentMessage, attempt: int) -> None:
        if attempt == 1:
            self.pairs[f"{message.sender} to {agent_id}"].append(label_of(message))

    def turn_ended(self, agent_id: str, message: AgentMessage, attempt: int, outcome: TurnOutcome) -> None:
        if message.message_type != Terminated.message_type:  # a parent may be told before its own restart or after it
            self.turns[agent_id, label_of(message), attempt, outcome, moment()] += 1


def label_of(message: AgentMessage) -> str:
    members = getattr(message, "members", ())
    if members:
        return "+".join(map(label_of, members))
    return f"{message.message_type} {getattr(message.content, 'label', '')}"


def moment() -> float:
    return round(asyncio.get_running_loop().time(), 2)


def plain(text: str) -> str:
    """The text of an error without the number of a runner, and without a hint that tells of other groups."""
    return re.sub("; (did you mean '.*?'\\?|register it first)", "", re.sub(r"<Task .*?(?:>>|\]>)", "a task", text))


def describe(error: BaseException) -> str:
    """The type and text of an error, and of those behind it."""
    text = plain(f"{type(error).__name__}: {error}")
    if isinstance(error, BaseExceptionGroup):
        text += f" [{'; '.join(map(describe, error.exceptions))}]"
    if error.__cause__ is not None:
        text += f" from {describe(error.__cause__)}"
    elif error.__context__ is not None and not error.__suppress_context__:
        text += f" in {describe(error.__context__)}"
    return text


def surroundings(ctx: AgentContext[Any] | None = None) -> str:
    """What a handler sees of where it runs."""
    task = asyncio.current_task()
    assert task is not None
    name = task.get_name().rstrip("0123456789")
    seen = f"{name}/{sys.exception()!r}/{mark.get()}"
    if ctx is None:
        return seen
    left = round(ctx.deadline - ctx.now(), 2) if ctx.deadline is not None else None
    return f"{seen}/{ctx.attempt}/{ctx.sender}/{ctx.message.chain}/{left}"
