"""The context of a turn: all that a handler can do, held back until it returns.

What is sent, published, scheduled, written or replied is collected here and takes
effect together when the handler returns, or not at all when it raises. An ask is
different: it is another agent's own turn, happens at once, and stays. The methods
that only collect return a done awaitable, so a forgotten ``await`` loses nothing.

The context reaches the runtime only through the `moot.runtime.Runtime` protocol.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import msgspec

from moot.aggregation import check_single, members_of
from moot.asks import Ask, gather
from moot.message import AgentMessage, ReplyTo, Request, message_type_of
from moot.runtime import DONE, Runtime, Seat
from moot.turn import NOTHING, Effects, Records

if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultTypeVar

    from moot.agent import Agent
    from moot.engine.base import Engine
    from moot.state import Access

    S = DefaultTypeVar("S", default=Any)
else:
    S = TypeVar("S")

__all__ = ["AgentContext"]

R = TypeVar("R")
T = TypeVar("T")


class AgentContext(msgspec.Struct, Generic[S]):
    """One turn's view of the world. After the turn every call raises `RuntimeError`.

    ``message`` is the envelope being handled (of a batch: as the first's, with the earliest deadline of all);
    ``attempt`` counts the runs of its handler from 1.
    """

    runtime: Runtime
    seat: Seat
    message: AgentMessage
    attempt: int = 1
    trace: str | None = None
    records: Records | None = None
    effects: Effects | None = None
    closed: bool = False

    # who and what
    @property
    def agent_id(self) -> str:
        """The id of the agent whose turn this is."""
        return self.seat.id

    @property
    def messages(self) -> tuple[AgentMessage, ...]:
        """The envelopes of a batch, in the order of its list; of any other turn, its one message."""
        return members_of(self.message)

    @property
    def sender(self) -> str:
        """Who sent the message."""
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
    def idempotency_key(self) -> str:
        """The same for every run of this turn, and for no other turn; give it to outside systems."""
        return f"{self.message.id}@{self.seat.id}"

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that knows the agent, the message and the conversation."""
        message = self.message
        facts = {"agent": self.seat.id, "message_id": message.id, "conversation": message.conversation_id}
        return logging.LoggerAdapter(logging.getLogger(f"moot.agent.{self.seat.id}"), facts)

    def now(self) -> float:
        """The time of this turn, in seconds since the Unix epoch; the same at every call."""
        effects = self._effects()
        if effects.now is None:
            effects.now = self.runtime.now()
        return effects.now

    @property
    def random(self) -> random.Random:
        """Random numbers of this turn; a run again draws the same ones."""
        effects = self._effects()
        if effects.random is None:
            effects.random = self.runtime.random_for(self.idempotency_key)
        return effects.random

    # what takes effect at the end of the turn
    def send(
        self, to: str | ReplyTo, content: Any, *, message_type: str | None = None, priority: int = 0
    ) -> Awaitable[None]:
        """Send to an agent, to ``capability:NAME``, or answer an earlier ask through its `ReplyTo`.

        Raises:
            TypeError: plain content without ``message_type``.
        """
        effects = self._effects()
        if isinstance(to, ReplyTo):
            effects.answers += ((to, content),)
        else:
            effects.outputs.append(self._envelope(to, content, message_type, priority))
        return DONE

    def publish(self, topic: str, content: Any, *, message_type: str | None = None) -> Awaitable[None]:
        """Send to whoever is subscribed to ``topic``. A full subscriber loses it to the dead letters."""
        return self.send(f"topic:{topic}", content, message_type=message_type)

    def reply(self, content: Any, *, message_type: str | None = None) -> Awaitable[None]:
        """Answer the message: its ask, or its sender if it was none. The handler's return value then does not count."""
        effects = self._effects()
        if self.message.reply_to is None:
            check_single(self.message, "reply to")
            return self.send(self.message.sender, content, message_type=message_type)
        effects.answer = content
        return DONE

    def forward(self, to: str) -> Awaitable[None]:
        """Pass the message on as it is; whoever handles it answers its ask."""
        effects = self._effects()
        check_single(self.message, "forward")
        message = self.message
        effects.is_deferred = True
        onward = msgspec.structs.replace(
            self._envelope(to, message.content, message.message_type, message.priority),
            reply_to=message.reply_to,
            deadline=message.deadline,
            chain=message.chain,
        )
        effects.outputs.append(onward)
        return DONE

    def schedule(
        self, delay: float, content: Any, *, to: str | None = None, message_type: str | None = None
    ) -> Awaitable[None]:
        """Send after ``delay`` seconds, to this agent itself unless ``to`` says otherwise."""
        if not 0 <= delay < math.inf:
            raise ValueError(f"a message is scheduled 0 or more seconds ahead, not {delay:g}")
        self._effects().timers += ((delay, self._envelope(to or self.seat.id, content, message_type, 0)),)
        return DONE

    def subscribe(self, topic: str) -> Awaitable[None]:
        """Receive what is published to ``topic``, from the end of this turn on."""
        return self._subscription(topic, wanted=True)

    def unsubscribe(self, topic: str) -> Awaitable[None]:
        """No longer receive what is published to ``topic``, from the end of this turn on."""
        return self._subscription(topic, wanted=False)

    def defer(self) -> ReplyTo:
        """Answer this ask in a later turn: keep the returned value and ``send`` to it.

        Raises:
            RuntimeError: the message was not an ask.
        """
        effects = self._effects()
        if self.message.reply_to is None:
            check_single(self.message, "defer")
            raise RuntimeError("only an ask can be deferred, and this message was told; send to its sender instead")
        effects.is_deferred = True
        return self.message.reply_to

    @property
    def state(self) -> S:
        """The agent's own state: a frozen value, replaced and never changed in place."""
        effects = self.effects
        state: S = self.seat.state if effects is None or effects.state is NOTHING else effects.state
        return state

    @state.setter
    def state(self, value: S) -> None:
        self._effects().state = value

    @property
    def shared_state(self) -> Access:
        """The shared state as this turn sees it; its writes take effect with the turn, its reads are validated then."""
        effects = self._effects()
        if effects.transaction is None:
            effects.transaction = self.runtime.open_state()
        return effects.transaction

    # what happens at once
    @overload
    def ask(self, to: str, content: Request[R], *, timeout: float = 30.0) -> Ask[R]: ...
    @overload
    def ask(self, to: str, content: Any, *, timeout: float = 30.0, message_type: str | None = None) -> Ask[Any]: ...
    def ask(self, to: str, content: Any, *, timeout: float = 30.0, message_type: str | None = None) -> Ask[Any]:
        """Ask another agent; nothing is sent before the result is awaited or gathered.

        The deadline is ``timeout`` seconds away, or this turn's own if that is nearer.

        Raises (when awaited):
            AskTimeout: no answer in time. UnknownAgent, AgentStopped, MailboxFull: it could not be delivered.
            TurnError: the other handler failed. RuntimeError: this turn holds unsent messages to that agent.
        """
        if not 0 < timeout < math.inf:
            raise ValueError(f"an ask needs a timeout above 0 s and an end, not {timeout:g}")
        ask: Ask[Any] = Ask(self, to, content, message_type_of(content, message_type), timeout)
        effects = self.effects
        if effects is None or self.closed:
            effects = self._effects()
        ask.siblings = effects.asks
        effects.asks[ask] = None
        return ask

    async def gather(self, asks: Sequence[Ask[R]], quorum: int | None = None) -> list[R]:
        """Await several asks at once; see `moot.asks.gather`."""
        self._check_open()
        return await gather(asks, quorum)

    def progress(self, to: str | ReplyTo | None, content: Any, *, message_type: str | None = None) -> Awaitable[None]:
        """Send at once; it is not undone if the turn fails. To a `ReplyTo` (None: this ask's), it joins the stream."""
        self._check_open()
        target = to if to is not None else self.message.reply_to
        if target is not None:
            kind = "" if isinstance(target, ReplyTo) else message_type_of(content, message_type)
            self.runtime.progress(self, target, content, kind)
        return DONE

    async def spawn(self, child: Agent[Any]) -> str:
        """Start a child agent at once and return its id. It stops with its parent, or when this turn rolls back."""
        effects = self._effects()
        child_id = await self.runtime.spawn(self, child)
        effects.children += (child_id,)
        return child_id

    async def run_sync(self, fn: Callable[..., T], /, *args: Any) -> T:
        """Run a blocking function in a thread (in a simulation: in place) and return its result."""
        self._check_open()
        return await self.runtime.run_sync(lambda: fn(*args))

    @property
    def engine(self) -> Engine:
        """The language-model engine; calls inherit the deadline, and a run again reuses their answers.

        Raises:
            RuntimeError: the manager has none.
        """
        self._check_open()
        return self.runtime.engine_for(self)

    # for the runtime
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
                records.pinned(ask.to)  # it went to somebody in an earlier run, and counts
                ask.resolve(answer)
                return
        ask.records = records
        self.runtime.post(self, ask)

    def withdraw(self, ask: Ask[Any], *, expired: bool) -> None:
        """Called when nobody waits for an ask of this turn any more."""
        self.runtime.withdraw(ask, expired=expired)

    def _subscription(self, topic: str, *, wanted: bool) -> Awaitable[None]:
        self._effects().topics += ((topic, wanted),)
        return DONE

    def _effects(self) -> Effects:
        if self.closed:
            self._check_open()
        effects = self.effects
        if effects is None:
            effects = self.effects = Effects()
        return effects

    def _envelope(self, to: str, content: Any, message_type: str | None, priority: int) -> AgentMessage:
        if message_type is None:
            message_type = message_type_of(content)
        runtime = self.runtime
        incoming = self.message
        return AgentMessage(
            self.seat.id,
            to,
            content,
            message_type,
            runtime.next_sequence(),
            runtime.incarnation,
            incoming.conversation or incoming.sequence,
            None,
            None,
            (),
            self.trace,
            priority,
        )

    def _check_open(self) -> None:
        if self.closed:
            raise RuntimeError(
                f"the turn of {self.seat.id!r} is over, so its context does nothing any more; "
                "do it before the handler returns, or send the agent a message"
            )
