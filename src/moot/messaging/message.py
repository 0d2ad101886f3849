"""Messages: the typed content that agents exchange, and the envelope in which it travels.

A handler dispatches on a `Payload`. A `Request` also says which type it wants back, so that
``await manager.ask(…)`` has that type for a type checker. Both are frozen. What is sent is checked
and, if it may be changed in place, copied: see `moot.messaging.content`.

An `AgentMessage` is the envelope. Its sender, incarnation and sequence number identify it. That
costs a counter, where a random id would cost more than the delivery.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Generic, Self, TypeVar, dataclass_transform, final

import msgspec

from moot.ids import checked_text, snake_case
from moot.storable.values import Form, made_form

__all__ = [
    "NEWS",
    "VERSION",
    "AgentMessage",
    "Batch",
    "MessageName",
    "Numbering",
    "Payload",
    "ReplyTo",
    "Request",
    "RequestKey",
    "form_of_payload",
    "members_of",
    "message_type_of",
    "with_version",
]

R = TypeVar("R")

_ADMIT = "__moot_admit__"

MessageName = tuple[str, int]
"""The name of a message in stores and tables: the incarnation and the number that its sender's run gave it."""
VERSION = "version"
"""The key of ``extra`` with the version of the content. 0, or no such key, is content without a version."""
NEWS = 1 << 62
"""The priority of news of the runtime itself. No full mailbox keeps them out, and no message displaces them."""


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Payload(msgspec.Struct, frozen=True):
    """Typed content of a message; a frozen `msgspec.Struct`.

    Its ``message_type`` is the class name in snake case, unless the class body sets it.
    """

    message_type: ClassVar[str] = "payload"
    payload_version: ClassVar[int] = 1
    """The version of the fields. `upgrade` leads content of an older version, stored or sent, to this one."""
    stored_form: ClassVar[Form | None] = None
    """How content of exactly this class is stored; None until it is first registered or sent."""

    def __moot_admit__(self) -> Self:
        """This content as its receiver gets it; see `moot.messaging.content`. Each class gets a method of its own."""
        content: Self = form_of_payload(type(self)).admit(self)
        return content

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.stored_form = None
        setattr(cls, _ADMIT, Payload.__moot_admit__)
        if "message_type" not in cls.__dict__:
            cls.message_type = snake_case(cls.__name__)


def form_of_payload(kind: type[Payload]) -> Form:
    """How content of the class ``kind`` is stored: looked for when it is first registered or sent, and kept with it."""
    form = kind.stored_form
    if form is None:
        form = kind.stored_form = made_form(kind)
        setattr(kind, _ADMIT, form.admit_own or form.admit)
    return form


class Request(Payload, Generic[R], frozen=True):
    """Content that expects an ``R`` back: ``class Greet(Request[str]): …``."""


RequestKey = tuple[str, str]
"""The name of a request in all lives of the process: the address that was asked, and the idempotency key."""


@final
class ReplyTo(msgspec.Struct, frozen=True, gc=False):
    """Where the answer to one ask goes: a value that may be stored and answered in a later turn.

    A number as ``key`` belongs to an ask in the run whose ``inbox`` is named. A text is an idempotency key, and
    ``inbox`` is then the address that was asked. An answer finds such an ask in another life of the process, too.
    """

    inbox: str
    key: int | str
    deadline: float | None = None


_STORED_NAMES = {"sender": "from", "idempotency_key": "given_id"}  # the second by files that are older than its name


class AgentMessage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, rename=_STORED_NAMES):
    """The envelope: ``from`` (``sender`` in Python), ``to``, ``content``, ``message_type``, and how to treat it.

    ``deadline`` is in seconds since the Unix epoch. ``priority`` never reorders; it is for a full mailbox that must
    choose what to drop. ``chain`` names the agents that wait for this ask, outermost first. ``extra`` keeps fields of
    the wire form that this version does not know.
    """

    sender: str
    to: str
    content: Any
    message_type: str
    sequence: int = 0
    incarnation: str = ""
    conversation: int | str = 0
    reply_to: ReplyTo | None = None
    deadline: float | None = None
    chain: tuple[str, ...] = ()
    trace: str | None = None
    priority: int = 0
    attempt: int = 1
    causation: str | None = None
    idempotency_key: str | None = None
    extra: dict[str, Any] | None = None

    @property
    def name(self) -> MessageName:
        """The name of the message in stores and tables; shorter than its `id`."""
        return self.incarnation, self.sequence

    @property
    def id(self) -> str:
        """The unique id of this message: the id given from outside, or the sender's run and number."""
        return self.idempotency_key or f"{self.incarnation}-{self.sequence}"

    @property
    def conversation_id(self) -> str:
        """The conversation of this message: the id of the message that began it, unless one is given."""
        conversation = self.conversation
        if isinstance(conversation, str):
            return conversation
        return f"{self.incarnation}-{conversation}" if conversation else self.id


class Batch(AgentMessage, frozen=True, gc=False):
    """Messages of one type, its ``members``, that are handled in one turn; see `moot.messaging.batch`."""

    members: tuple[AgentMessage, ...] = ()


class Numbering:
    """Numbers the envelopes of one run: the one place where the runtime makes them.

    ``incarnation`` is the run's, and ``next_sequence()`` gives the next number in it.
    """

    __slots__ = ("incarnation", "next_sequence")

    def __init__(self, incarnation: str, next_sequence: Callable[[], int]) -> None:
        self.incarnation = incarnation
        self.next_sequence = next_sequence

    def envelope(
        self, sender: str, to: str, content: Any, message_type: str, priority: int = 0, key: str | None = None
    ) -> AgentMessage:
        """A message that begins a conversation; ``key`` is its idempotency key."""
        if key is None and not priority:
            return AgentMessage(sender, to, content, message_type, self.next_sequence(), self.incarnation)
        return AgentMessage(
            sender,
            to,
            content,
            message_type,
            self.next_sequence(),
            self.incarnation,
            0,
            None,
            None,
            (),
            None,
            priority,
            1,
            None,
            key,
        )

    def following(  # noqa: PLR0913, PLR0917 - what an envelope says
        self,
        after: AgentMessage,
        sender: str,
        to: str,
        content: Any,
        message_type: str,
        trace: str | None = None,
        priority: int = 0,
    ) -> AgentMessage:
        """A message that a turn about ``after`` sends; it belongs to the same conversation."""
        return AgentMessage(
            sender,
            to,
            content,
            message_type,
            self.next_sequence(),
            self.incarnation,
            after.conversation or after.sequence,
            None,
            None,
            (),
            trace,
            priority,
        )

    def request(  # noqa: PLR0913, PLR0917 - what an envelope says
        self,
        after: AgentMessage | None,
        sender: str,
        to: str,
        content: Any,
        message_type: str,
        reply_to: ReplyTo,
        deadline: float,
        trace: str | None = None,
        key: str | None = None,
    ) -> AgentMessage:
        """The request of an ask that a turn about ``after`` makes; or, with None, a caller from outside."""
        return AgentMessage(
            sender,
            to,
            content,
            message_type,
            self.next_sequence(),
            self.incarnation,
            0 if after is None else after.conversation or after.sequence,
            reply_to,
            deadline,
            () if after is None else (*after.chain, sender),
            trace,
            0,
            1,
            None,
            key,
        )

    def renumbered(self, message: AgentMessage) -> AgentMessage:
        """The same message as a new one of this run."""
        return msgspec.structs.replace(message, sequence=self.next_sequence(), incarnation=self.incarnation)


def with_version(message: AgentMessage) -> AgentMessage:
    """The message as it is written: the version of its content is in ``extra``, unless that is the first."""
    version = getattr(message.content.__class__, "payload_version", 1)
    if version == 1:
        return message
    return msgspec.structs.replace(message, extra={**(message.extra or {}), VERSION: version})


def members_of(message: AgentMessage) -> tuple[AgentMessage, ...]:
    """The messages of a batch. For any other message, the message itself."""
    return message.members if isinstance(message, Batch) else (message,)


def message_type_of(content: object, message_type: str | None = None) -> str:
    """The message type of ``content``: its own if it is a `Payload`, else ``message_type``.

    Raises:
        TypeError: there is no message type, it is no text, or an envelope is passed for its content.
    """
    if message_type is not None:
        return message_type if message_type.__class__ is str else checked_text("message_type=", message_type)
    kind = getattr(content.__class__, "message_type", None)
    if isinstance(kind, str):
        return kind
    if isinstance(content, AgentMessage):
        raise TypeError("send the content, not an AgentMessage: use ctx.forward(), or the manager's message sender")
    raise TypeError(
        f"{type(content).__name__!r} says no message type: send a Payload, or pass message_type= with plain content"
    )
