"""A failing handler is found in the log: its traceback, once, at ERROR, with the agent, message and attempt."""

from __future__ import annotations

import logging

import pytest

from moot import Agent, AgentContext, AgentManager, Backoff, Payload, Request, RetryPolicy, handles
from moot.errors import TurnError


class Note(Payload):
    pass


class Question(Request[int]):
    pass


class Failing(Agent):
    retry = RetryPolicy(max_attempts=3, backoff=Backoff(first=0, limit=0))

    @handles
    async def note(self, message: Note, ctx: AgentContext) -> None:
        raise ConnectionError("three times")

    @handles
    def question(self, message: Question) -> int:
        return self.compute()

    def compute(self) -> int:
        raise ZeroDivisionError("of the question")


def failures(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_the_traceback_is_logged_once_when_the_last_attempt_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    async with AgentManager(seed=1) as manager:
        await manager.register(Failing("failing"))
        await manager.tell("failing", Note())
        await manager.settle()
        (letter,) = manager.dead_letters

    (record,) = failures(caplog)
    message = letter.message
    assert record.getMessage() == (
        f"agent failing failed: note {message.id} from outside, conversation {message.conversation_id}, attempt 3"
    )
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "three times"


async def test_who_asked_gets_the_error_itself_as_the_cause(caplog: pytest.LogCaptureFixture) -> None:
    async with AgentManager() as manager:
        await manager.register(Failing("failing"))
        with pytest.raises(TurnError) as caught:
            await manager.ask("failing", Question())

    cause = caught.value.__cause__
    assert isinstance(cause, ZeroDivisionError)
    assert cause.__traceback__ is not None
    assert len(failures(caplog)) == 1
