"""The unit of work: the part of a context that holds back what a handler does until it returns.

Sends, publications, timers, writes and the reply are held here. They take effect together when
the handler returns; if it raises, none of them does. The methods return a done awaitable, so a
forgotten ``await`` loses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

import msgspec

from moot.agent.effects import Effects, Timer
from moot.agent.port import DONE, CellPort, Runtime, Turn
from moot.agent.records import NOTHING, Records
from moot.ids import checked_text
from moot.messaging.batch import check_single
from moot.messaging.content import addressed, unfit_answer
from moot.messaging.message import NEWS, AgentMessage, ReplyTo, message_type_of
from moot.policies.fields import check_value, seconds_in
from moot.storable.values import Unstorable

if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultTypeVar

    from moot.state import Access

    S = DefaultTypeVar("S", default=Any)
else:
    S = TypeVar("S")

__all__ = ["UnitOfWork"]


class UnitOfWork(msgspec.Struct, Generic[S]):
    """The subject of a turn, and the effects that wait for its end. After the turn every call raises `RuntimeError`."""

    runtime: Runtime
    cell: CellPort
    message: AgentMessage
    attempt: int = 1
    trace: str | None = None
    records: Records | None = None
    effects: Effects | None = None
    closed: bool = False

    @property
    def idempotency_key(self) -> str:
        """A key that is the same in every run of this turn, and in no other turn. Give it to outside systems."""
        return f"{self.message.id}@{self.cell.id}"

    def send(
        self, to: str | ReplyTo, content: Any, *, message_type: str | None = None, priority: int = 0
    ) -> Awaitable[None]:
        """Send to an agent, to ``capability:NAME``, or answer an earlier ask through its `ReplyTo`.

        Raises:
            TypeError: plain content without ``message_type``, or an argument is of another type. ValueError: the
            priority is larger than any codec carries. InvalidPayload: the content could not be read again in another
            life of the process.
        """
        effects = self.effects
        if effects is None or self.closed:
            effects = self._effects()
        if type(to) is ReplyTo:  # (isinstance of a Struct costs as much as a call)
            effects.answers += ((to, self._answer(to, content)),)
        else:
            if to.__class__ is not str:
                checked_text("an address", to)
            if priority:
                priority = _checked_priority(priority)
            message, agent_id = self.message, self.cell.id
            try:  # as `addressed`, a call shorter
                content = content.__moot_admit__()
                kind = content.message_type if message_type is None else message_type_of(content, message_type)
            except (AttributeError, Unstorable):
                content, kind = addressed(content, message_type, agent_id, to)
            effects.outputs.append(
                self.runtime.numbering.following(message, agent_id, to, content, kind, self.trace, priority)
            )
        return DONE

    def publish(self, topic: str, content: Any, *, message_type: str | None = None) -> Awaitable[None]:
        """Send to all subscribers of ``topic``. For a subscriber with a full mailbox it is a dead letter."""
        return self.send(f"topic:{checked_text('a topic', topic)}", content, message_type=message_type)

    def reply(self, content: Any, *, message_type: str | None = None) -> Awaitable[None]:
        """Answer the ask, or the sender if the message was no ask. The handler's return value then does not count."""
        effects = self._effects()
        if self.message.reply_to is None:
            check_single(self.message, "reply to")
            return self.send(self.message.sender, content, message_type=message_type)
        effects.answer = self._answer(self.message.reply_to, content)
        return DONE

    def forward(self, to: str) -> Awaitable[None]:
        """Pass the message on as it is. The agent that handles it answers its ask."""
        effects = self._effects()
        check_single(self.message, "forward")
        message = self.message
        effects.is_deferred = True
        address = checked_text("an address", to)
        numbered = self.runtime.numbering.following(
            message, self.cell.id, address, message.content, message.message_type, self.trace, message.priority
        )
        onward = msgspec.structs.replace(
            numbered,
            reply_to=message.reply_to,
            deadline=message.deadline,
            chain=message.chain,
        )
        effects.outputs.append(onward)
        return DONE

    def schedule(  # noqa: PLR0913 - options, by keyword
        self,
        delay: float,
        content: Any,
        *,
        to: str | None = None,
        message_type: str | None = None,
        every: float | None = None,
        name: str | None = None,
        missed: Literal["once", "skip", "all"] = "once",
    ) -> Awaitable[None]:
        """Send after ``delay`` seconds, to this agent itself unless ``to`` says otherwise; then ``every`` so many.

        A timer with a ``name`` takes the place of this agent's timer of that name, and `unschedule` cancels it. On a
        durable backend timers outlive the process. The same message with the same period is one timer also without a
        name. ``missed`` says what happens if a message came due while the process was down or stood still for a second
        or more. It is sent ``once``, however late; not at all (``skip``); or, if it repeats, as often as it came due
        (``all``).
        """
        if not 0 <= seconds_in("delay", delay) < math.inf:
            raise ValueError(f"a message is scheduled 0 or more seconds ahead, not {delay:g}")
        if every is not None and not 0 < seconds_in("every=", every) < math.inf:
            raise ValueError(f"a message is repeated every so many seconds above 0, not every {every:g}")
        if name is not None:
            checked_text("the name of a timer", name)
        if missed not in ("once", "skip", "all"):
            raise ValueError(f"missed is 'once', 'skip' or 'all', not {missed!r}")
        message = self._envelope(self.cell.id if to is None else to, content, message_type)
        self._effects().timers += (Timer(delay, message, every or 0.0, missed, name),)
        return DONE

    def unschedule(self, name: str) -> Awaitable[None]:
        """Cancel this agent's timer of that name; nothing happens if there is none."""
        self._effects().timers += (checked_text("the name of a timer", name),)
        return DONE

    def subscribe(self, topic: str) -> Awaitable[None]:
        """Receive the messages that are published to ``topic``, from the end of this turn on."""
        return self._subscription(topic, wanted=True)

    def unsubscribe(self, topic: str) -> Awaitable[None]:
        """No longer receive the messages that are published to ``topic``, from the end of this turn on."""
        return self._subscription(topic, wanted=False)

    def watch(self, agent_id: str) -> Awaitable[None]:
        """Be sent `Terminated` when the agent ``agent_id`` stops for good, from the end of this turn on.

        A restart is no end.
        """
        self._effects().watches += ((checked_text("the id of an agent", agent_id), True),)
        return DONE

    def unwatch(self, agent_id: str) -> Awaitable[None]:
        """No longer watch that agent, from the end of this turn on."""
        self._effects().watches += ((checked_text("the id of an agent", agent_id), False),)
        return DONE

    def stop(self) -> Awaitable[None]:
        """Stop this agent when the turn has taken effect. A ``permanent`` agent begins anew."""
        self._effects().stops = True
        return DONE

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
        """The agent's own state: a value that is replaced, never changed in place. A turn that changes it so fails."""
        effects, cell = self.effects, self.cell
        state: S = cell.state if effects is None or effects.state is NOTHING else effects.state
        if cell.state_body is not None and not self.closed:
            self._effects().has_read_state = True
        return state

    @state.setter
    def state(self, value: S) -> None:
        self._effects().state = value

    @property
    def shared_state(self) -> Access:
        """The shared state as this turn sees it. At the turn's end, reads are validated and writes take effect."""
        effects = self._effects()
        if effects.transaction is None:
            effects.transaction = self.runtime.open_state()
        return effects.transaction

    def _subscription(self, topic: str, *, wanted: bool) -> Awaitable[None]:
        self._effects().topics += ((checked_text("a topic", topic), wanted),)
        return DONE

    def _effects(self) -> Effects:
        if self.closed:
            self._check_open()
        effects = self.effects
        if effects is None:
            effects = self.effects = Effects()
        return effects

    def _envelope(self, to: str, content: Any, message_type: str | None) -> AgentMessage:
        agent_id, to = self.cell.id, checked_text("an address", to)
        content, kind = addressed(content, message_type, agent_id, to)
        return self.runtime.numbering.following(self.message, agent_id, to, content, kind, self.trace)

    def _answer(self, to: ReplyTo, answer: Any) -> Any:
        """``answer`` as the asker at ``to`` gets it."""
        form = self.runtime.answer_form(cast(Turn, self), to)
        try:
            return form.admit(answer)
        except Unstorable as error:
            raise unfit_answer(error, self.message.message_type, self.cell.id) from None

    def _check_open(self) -> None:
        if self.closed:
            raise RuntimeError(
                f"the turn of {self.cell.id!r} is over, so its context does nothing any more; "
                "do it before the handler returns, or send the agent a message"
            )


def _checked_priority(priority: Any) -> int:
    check_value("send()", "priority", priority, int)
    if not -NEWS < priority < NEWS:
        raise ValueError(f"a priority lies between {-NEWS} and {NEWS}, not {priority}")
    return int(priority)
