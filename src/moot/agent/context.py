"""The context of a turn: all that a handler can do.

The methods that it inherits from `moot.agent.unit_of_work` take effect when the handler
returns. An ask is different: it is another agent's own turn, happens at once, and stays. So do
progress, spawned children, calls of the engine, and effects on the outside.

The context reaches the runtime only through the `moot.agent.port.Runtime` protocol.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from moot.agent.ask import Ask
from moot.agent.effects import Effects
from moot.agent.gather import gather
from moot.agent.outside_effect import outside_effect
from moot.agent.port import DONE
from moot.agent.records import INSIDE, Records
from moot.agent.unit_of_work import UnitOfWork
from moot.ids import CAPABILITY
from moot.messaging.content import addressed, admitted
from moot.messaging.message import AgentMessage, ReplyTo, Request, members_of, message_type_of
from moot.storable.values import Unstorable

if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultTypeVar

    from moot.agent.agent import Agent
    from moot.engine.base import Engine
    from moot.policies import RetryPolicy

    S = DefaultTypeVar("S", default=Any)
else:
    S = TypeVar("S")

__all__ = ["AgentContext"]

R = TypeVar("R")
T = TypeVar("T")


class AgentContext(UnitOfWork[S]):
    """One turn's view of the world. After the turn every call raises `RuntimeError`.

    ``message`` is the envelope being handled. For a batch it is like the first envelope, with the earliest deadline of
    all. ``attempt`` counts the runs of the handler from 1.
    """

    @property
    def agent_id(self) -> str:
        """The id of the agent whose turn this is."""
        return self.cell.id

    @property
    def messages(self) -> tuple[AgentMessage, ...]:
        """The envelopes of a batch, in the order of its list. Any other turn has one message."""
        return members_of(self.message)

    @property
    def sender(self) -> str:
        """The id of the agent that sent the message."""
        return self.message.sender

    @property
    def reply_to(self) -> ReplyTo | None:
        """Where the answer goes; None when the message was not an ask."""
        return self.message.reply_to

    @property
    def deadline(self) -> float | None:
        """When the asker stops waiting, in seconds since the Unix epoch."""
        return self.message.deadline

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that knows the agent, the message and the conversation."""
        message = self.message
        facts = {"agent": self.cell.id, "message_id": message.id, "conversation": message.conversation_id}
        return logging.LoggerAdapter(logging.getLogger(f"moot.agent.{self.cell.id}"), facts)

    def now(self) -> float:
        """The time of this turn, in seconds since the Unix epoch; the same at every call."""
        effects = self._effects()
        if effects.now is None:
            effects.now = self.runtime.now()
        return effects.now

    @property
    def random(self) -> random.Random:
        """Random numbers of this turn. When the turn is run again, the numbers are the same."""
        effects = self._effects()
        if effects.random is None:
            effects.random = self.runtime.random_for(self.idempotency_key)
        return effects.random

    def find(self, to: str | Sequence[str]) -> list[str]:
        """The ids of the agents that ``to`` means. Of several ids, each stands once.

        ``capability:NAME`` means all agents that can do it now, in order of registration. This agent may be among them.
        A turn that is run again may find others, so record with `effect` what is decided on the result.
        """
        self._check_open()
        named = [to] if isinstance(to, str) else list(dict.fromkeys(to))
        if len(named) == 1 and named[0].startswith(CAPABILITY):
            return self.runtime.find(named[0].removeprefix(CAPABILITY))
        return named

    @overload
    def ask(self, to: str, content: Request[R], *, timeout: float = 30.0) -> Ask[R]: ...
    @overload
    def ask(self, to: str, content: Any, *, timeout: float = 30.0, message_type: str | None = None) -> Ask[Any]: ...
    def ask(self, to: str, content: Any, *, timeout: float = 30.0, message_type: str | None = None) -> Ask[Any]:
        """Ask another agent; nothing is sent before the result is awaited or gathered.

        The deadline is ``timeout`` seconds away, or this turn's own if that is nearer.

        Raises (when awaited):
            AskTimeout: no answer in time. UnknownAgent, AgentStopped, MailboxFull: the request could not be delivered.
            TurnError: the other handler failed. RuntimeError: this turn holds unsent messages to that agent.

        Raises (at the call):
            InvalidPayload: the content could not be read again in another life. ValueError: the timeout is no time.
        """
        try:
            if not 0 < timeout < math.inf:
                raise ValueError(f"an ask needs a timeout above 0 s and an end, not {timeout:g}")
        except TypeError:
            raise TypeError(f"timeout= is a number of seconds, not {timeout!r}") from None
        try:  # as `addressed`, a call shorter
            content = content.__moot_admit__()
            kind = content.message_type if message_type is None else message_type_of(content, message_type)
        except (AttributeError, Unstorable):
            content, kind = addressed(content, message_type, self.cell.id, to)
        ask: Ask[Any] = Ask(self, to, content, kind, timeout)
        if self.closed:
            self._check_open()
        effects = self.effects
        if effects is None:
            effects = self.effects = Effects()
        ask.siblings = effects.asks
        effects.asks[ask] = None
        return ask

    @overload
    async def gather(
        self, asks: Sequence[Ask[R]], quorum: int | None = None, *, return_exceptions: Literal[False] = False
    ) -> list[R]: ...
    @overload
    async def gather(self, asks: Sequence[Ask[R]], *, return_exceptions: Literal[True]) -> list[R | BaseException]: ...
    async def gather(
        self, asks: Sequence[Ask[R]], quorum: int | None = None, *, return_exceptions: bool = False
    ) -> list[R] | list[R | BaseException]:
        """Await several asks at once; see `moot.gather`."""
        self._check_open()
        answers = await gather(asks, quorum, return_exceptions=return_exceptions)
        self._check_open()  # for a task that the turn left behind: the end of the turn withdrew its asks
        return answers

    def progress(self, to: str | ReplyTo | None, content: Any, *, message_type: str | None = None) -> Awaitable[None]:
        """Send at once. The message is not undone if the turn fails.

        A message to a `ReplyTo` joins the stream of that ask; None stands for the ask that this turn answers.
        """
        self._check_open()
        target = to if to is not None else self.message.reply_to
        if target is not None:
            kind = "" if isinstance(target, ReplyTo) else message_type_of(content, message_type)
            self.runtime.progress(self, target, admitted(content, kind, self.cell.id, str(target)), kind)
        return DONE

    @property
    def is_streamed(self) -> bool:
        """Whether the asker iterates over progress. If not, progress need not be made."""
        reply_to = self.message.reply_to
        return reply_to is not None and self.runtime.is_heard(reply_to)

    async def spawn(self, child: Agent[Any]) -> str:
        """Start a child agent at once and return its id. It stops with its parent, or when this turn rolls back."""
        effects = self._effects()
        child_id = await self.runtime.spawn(self, child)
        effects.children += (child_id,)
        return child_id

    @overload
    async def effect(
        self,
        name: str,
        fn: Callable[[str], Coroutine[Any, Any, T]],
        *,
        type: type[T] | None = None,
        retry: RetryPolicy | None = None,
    ) -> T: ...
    @overload
    async def effect(
        self, name: str, fn: Callable[[str], T], *, type: type[T] | None = None, retry: RetryPolicy | None = None
    ) -> T: ...
    async def effect(
        self, name: str, fn: Callable[[str], Any], *, type: Any = None, retry: RetryPolicy | None = None
    ) -> Any:
        """Do something outside, such as a payment, and record its result. When this turn is run again, it is not
        repeated.

        ``fn`` is given an idempotency key. The key is the same for every run of this turn and this occurrence of
        ``name``. Pass it on, because an effect is repeated if the process dies before its result is recorded. With
        ``retry`` the effect is tried again in place for the errors that the policy names.

        On a durable backend the result is stored, too, and a process that dies later in the turn does not repeat the
        effect. The stored result comes back as a ``type``; without one, as plain maps, lists and scalars.

        Raises:
            InvalidPayload: the result could not be read again as a ``type``. TypeError: no value of that type could.
            RuntimeError: another task of the turn is in an effect of that name; give each a `branch`. What ``fn``
            raises.
        """
        return await outside_effect(self, self._records(), name, fn, type, retry)

    def branch(self, name: str) -> AbstractContextManager[None]:
        """Record the asks, engine calls and effects of the ``with`` block apart, also those of tasks begun in it.

        A turn that is run again finds an answer by its request and its occurrence. Several tasks of one turn may make
        the same requests in another order then. So give each task a branch. Its ``name`` is its own, and the same in
        each run. Branches of one name are counted in the order in which they begin. A generator must not ``yield`` in a
        branch.

        Raises:
            RuntimeError: another task is in a branch of that name.
        """
        return self._records().branch(name)

    async def run_sync(self, fn: Callable[..., T], /, *args: Any) -> T:
        """Run a blocking function in a thread (in a simulation: in place) and return its result.

        It sees the context variables of the turn; what it sets of them is not seen outside. It cannot be cancelled: a
        stop leaves one behind that does not end, and the process ends in spite of it.
        """
        self._check_open()
        name = f"{getattr(fn, '__qualname__', repr(fn))} of agent {self.agent_id!r}"
        return await self.runtime.run_sync(partial(copy_context().run, fn, *args), name)

    @property
    def engine(self) -> Engine:
        """The language-model engine. Calls inherit the deadline, and a turn that is run again reuses their answers.

        Raises:
            RuntimeError: the manager has none.
        """
        self._check_open()
        return self.runtime.engine_for(self)

    def _records(self) -> Records:
        self._check_open()
        if self.records is None:
            self.records = Records()
        return self.records

    def post(self, ask: Ask[Any]) -> None:
        """Called when an ask of this turn is first awaited."""
        if self.closed:
            self._check_open()
        effects = self.effects
        if effects is not None and effects.outputs and any(message.to == ask.to for message in effects.outputs):
            raise RuntimeError(
                f"this turn holds unsent messages to {ask.to!r}, which would arrive after the ask: "
                "ask first, or split the turn"
            )
        records = self.records
        if records is None:
            records = self.records = Records()
        elif records.is_rerun:
            known, answer = records.find("ask", ask.to, ask.content)
            if known:
                records.pinned(ask.to)  # the ask went to an agent in an earlier run, and counts
                ask.resolve(answer)
                return
        ask.records = records
        if INSIDE.get() is not None:
            ask.scope = records.scope
        self.runtime.post(self, ask)

    def withdraw(self, ask: Ask[Any], *, expired: bool) -> None:
        """Called when nobody waits for an ask of this turn any more."""
        self.runtime.withdraw(ask, expired=expired)
