"""A context without a system: test one handler as a function.

It is the real `AgentContext` on a runtime that only records. Asks are answered from
what the test gives; nothing else is delivered anywhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, TypeVar

from moot.agent.agent import Agent
from moot.agent.ask import Ask
from moot.agent.batch_call import BatchCall
from moot.agent.context import AgentContext
from moot.agent.effects import Effects
from moot.agent.handlers import Handler, form_of_answer
from moot.agent.port import Turn
from moot.agent.records import NOTHING
from moot.agent.turn_engine import TurnEngine
from moot.engine.base import Engine
from moot.errors import UnknownAgent
from moot.messaging.batch import batch_of
from moot.messaging.message import AgentMessage, Numbering, ReplyTo, Request, message_type_of
from moot.state import InMemorySharedState, Transaction
from moot.storable.values import Form, loose

__all__ = ["FakeContext"]

T = TypeVar("T")


class FakeContext(AgentContext[Any]):
    """A context for one handler under test.

    ``sent`` are pairs of address and content, ``replied`` what `reply` was given, ``progressed`` what `progress`
    was given; ``state`` can be set before and read after.
    """

    @classmethod
    def of(  # noqa: PLR0913 - options, by keyword
        cls,
        *,
        message: Any = None,
        agent_id: str = "agent_under_test",
        sender: str = "tester",
        answers: Mapping[str, Any] | None = None,
        able: Mapping[str, Sequence[str]] | None = None,
        engine: Engine | None = None,
        state: Any = None,
    ) -> FakeContext:
        """A context in which ``message`` was asked by ``sender``; a list of them came as a batch.

        ``answers`` maps an agent's id to its answer, or to a function from the content asked to the answer; an
        exception is raised. ``able`` maps a capability to the ids of those who have it.
        """
        envelopes = [
            AgentMessage(sender, agent_id, content, _kind_of(content), number, "fake", reply_to=ReplyTo("fake", number))
            for number, content in enumerate(message if isinstance(message, list) else [message], start=1)
        ]
        cell = _FakeCell(agent_id, state)
        envelope = envelopes[0] if len(envelopes) == 1 else batch_of(envelopes)
        return cls(_FakeRuntime(answers or {}, able or {}, engine), cell, envelope)

    @property
    def sent(self) -> list[tuple[str | ReplyTo, Any]]:
        """What was sent and published, in order; answers to deferred asks after them."""
        effects = self.effects or Effects()
        return [(message.to, message.content) for message in effects.outputs] + list(effects.answers)

    @property
    def replied(self) -> Any:
        """What `reply` was given; None if it was not called."""
        return None if self.effects is None or self.effects.answer is NOTHING else self.effects.answer

    @property
    def scheduled(self) -> list[tuple[float, Any]]:
        """What was scheduled: delays in seconds and contents."""
        return [(timer.delay, timer.message.content) for timer in (self.effects or Effects()).scheduled]

    @property
    def progressed(self) -> list[Any]:
        """What `progress` was given."""
        runtime = self.runtime
        return runtime.progressed if isinstance(runtime, _FakeRuntime) else []

    async def handle(self, agent: Agent[Any]) -> Any:
        """Run the handler of ``agent`` that this context's message is for, and return what it returns."""
        handler: Handler | None = agent.handler_table().get(self.message.message_type)
        if handler is None:
            return await agent.handle_message(self.message, self)
        if isinstance(handler.call, BatchCall):
            return await handler.call.answers(agent, handler.argument(self.message), self)
        given = (self,) if handler.wants_context else ()
        result = handler.call(agent, handler.argument(self.message), *given)
        return await result if handler.is_async else result


def _kind_of(content: Any) -> str:
    return message_type_of(content) if content is not None else "test"


class _FakeCell:
    def __init__(self, agent_id: str, state: Any) -> None:
        self.id = agent_id
        self.state = state
        self.state_body: bytes | None = None

    def take_state_back(self) -> bool:
        return False


class _FakeRuntime:
    """Records instead of acting; implements `moot.agent.port.Runtime`."""

    def __init__(self, answers: Mapping[str, Any], able: Mapping[str, Sequence[str]], engine: Engine | None) -> None:
        self._answers = answers
        self._able = able
        self._engine = engine
        self._shared_state = InMemorySharedState()
        self.numbering = Numbering("fake", count(1_000).__next__)
        self.progressed: list[Any] = []
        self.children: dict[str, Agent[Any]] = {}

    def now(self) -> float:
        return 1_700_000_000.0

    def random_for(self, name: str) -> random.Random:
        return random.Random(name)

    def post(self, turn: Turn, ask: Ask[Any]) -> None:
        if ask.to not in self._answers:
            raise UnknownAgent(ask.to, tuple(self._answers))
        answer = self._answers[ask.to]
        if isinstance(answer, BaseException):
            ask.fail(answer)
        else:
            ask.resolve(answer(ask.content) if callable(answer) else answer)

    def withdraw(self, ask: Ask[Any], *, expired: bool) -> None:
        """Every ask is answered when it is made."""

    def progress(self, turn: Turn, to: str | ReplyTo, content: Any, message_type: str) -> None:
        self.progressed.append(content)

    def answer_form(self, turn: Turn, to: ReplyTo) -> Form:
        asked = turn.message.content  # (another ask that was deferred may have the same address here)
        return form_of_answer(asked) if isinstance(asked, Request) else loose()

    def is_heard(self, reply_to: ReplyTo) -> bool:
        return True

    async def spawn(self, turn: Turn, child: Agent[Any]) -> str:
        self.children[child.id] = child
        return child.id

    async def stop_child(self, child_id: str) -> None:
        self.children.pop(child_id, None)

    async def run_sync(self, fn: Callable[[], T], name: str) -> T:
        return fn()

    def engine_for(self, turn: Turn) -> Engine:
        if self._engine is None:
            raise RuntimeError("this context has no engine; give it one: FakeContext.of(engine=ScriptedEngine([...]))")
        return TurnEngine(self._engine, turn)

    def find(self, capability: str) -> list[str]:
        return list(self._able.get(capability, ()))

    def open_state(self) -> Transaction:
        return Transaction(self._shared_state)
