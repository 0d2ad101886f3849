"""Handlers: which method of an agent runs for which message type.

The table is built once for a class, from annotations, and checked then: a handler
that could never run, or two for one message type, fail at registration and not
when the first message comes.
"""

from __future__ import annotations

import contextlib
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, overload

import msgspec

from moot.agent.batch_call import BatchCall
from moot.agent.signature import annotation_of, element_of, hints_of, members, needs_keywords, positional, reply_type
from moot.errors import InvalidPayload, StateUnreadable
from moot.messaging.content import form_of_content
from moot.messaging.evolution import upgraded
from moot.messaging.message import VERSION, AgentMessage, Payload, members_of
from moot.policies import BatchPolicy, RateLimit
from moot.storable.values import Form, form_of_reply, loose, plain

__all__ = ["Handler", "HandlerTable", "build_table", "form_of_answer", "function_table", "handles"]

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__moot_handles__"


class _NEVER:
    """No content is of this class."""


class _Mark(msgspec.Struct, frozen=True):
    """What `handles` was given: the types, and how the messages are taken."""

    types: tuple[Any, ...] = ()
    batch: BatchPolicy | None = None
    rate: RateLimit | None = None


class Handler(msgspec.Struct, frozen=True):
    """One entry of a table: how to run a handler.

    ``call`` takes the agent, the content and, if the handler wants it, the context. ``element_type`` is the content of
    one message. ``content_type`` is what the handler is given as it came: the same, if nobody can change it. Else each
    run of the handler is given a copy of its own by `argument`. ``answers`` is how its answers are stored, and
    ``admit_answer`` the `Form.admit` of that; None if it depends on the message.
    """

    name: str
    message_type: str
    element_type: Any
    content_type: Any
    call: Callable[..., Any]
    wants_context: bool
    is_async: bool
    takes_envelope: bool
    answers: Form | None = None
    admit_answer: Callable[[Any], Any] | None = None
    copies: Callable[[Any], Any] | None = None
    batch: BatchPolicy | None = None
    rate: RateLimit | None = None

    def argument(self, message: AgentMessage) -> Any:
        """What the handler is given for ``message``.

        Raises:
            InvalidPayload: plain content does not convert to the payload's type.
        """
        if self.batch is not None:
            return [self._element(member) for member in members_of(message)]
        return self._element(message)

    def _element(self, message: AgentMessage) -> Any:
        content = message.content
        if self.takes_envelope:
            copy = form_of_content(content.__class__).copy
            return message if copy is None else msgspec.structs.replace(message, content=copy(content))
        if content.__class__ is self.element_type:
            return content if self.copies is None else self.copies(content)
        present = getattr(self.element_type, "payload_version", 1)
        version = message.extra.get(VERSION) if message.extra else None
        try:
            if version and version != present:
                content = upgraded(self.element_type, content, int(version), present)
            return msgspec.convert(content, self.element_type, from_attributes=False)
        except (StateUnreadable, ValueError, LookupError, TypeError, RecursionError) as error:
            raise InvalidPayload(self.message_type, str(error)) from error

    def answer_form(self, message: AgentMessage) -> Form:
        """How the answer to ``message`` is stored: as what its request declares."""
        if self.answers is not None:
            return self.answers
        was_payload = message.extra and message.extra.get(VERSION)
        return loose() if was_payload else form_of_answer(message.content)

    def answered(self, message: AgentMessage, answer: Any) -> Any:
        """``answer`` as the asker of ``message`` gets it.

        Raises:
            Unstorable: it could not be read again in another life of the process.
        """
        return self.answer_form(message).admit(answer)


class HandlerTable:
    """The handlers of one class by message type, and the handler of all other types, if there is one.

    ``has_limits``: a handler has a rate limit or takes batches.
    """

    __slots__ = ("by_type", "has_limits", "rest")

    def __init__(self, handlers: Mapping[str, Handler], rest: Handler | None) -> None:
        self.by_type = dict(handlers)
        self.rest = rest
        self.has_limits = any(handler.rate is not None or handler.batch is not None for handler in self)

    def __iter__(self) -> Iterator[Handler]:
        return iter(self.by_type.values())

    def get(self, message_type: str) -> Handler | None:
        """The handler for this message type, or None."""
        return self.by_type.get(message_type, self.rest)

    @property
    def message_types(self) -> tuple[str, ...]:
        """The message types that have a handler of their own."""
        return tuple(self.by_type)


@overload
def handles(
    *types: type[Payload] | str, batch: BatchPolicy | None = None, rate: RateLimit | None = None
) -> Callable[[F], F]: ...
@overload
def handles(fn: F, /) -> F: ...
def handles(*args: Any, batch: BatchPolicy | None = None, rate: RateLimit | None = None) -> Any:
    """Mark a method as a handler.

    Bare, it dispatches on the annotation of the method's first parameter, whatever its name; a union handles several
    types. ``@handles(Greet)`` and ``@handles("greet")`` name the types instead.

    With ``batch`` the method takes a ``list`` of messages of one type that came one after the other. It returns a list
    with an answer for each, or None if none was asked. ``rate`` limits how many messages of the type are handled in a
    time.
    """
    if batch is not None and not isinstance(batch, BatchPolicy):
        raise TypeError(f"batch= takes a BatchPolicy, not {batch!r}")
    if rate is not None and not isinstance(rate, RateLimit):
        raise TypeError(f"rate= takes a RateLimit, not {rate!r}")
    if len(args) == 1 and isinstance(args[0], types.FunctionType):
        return _mark(args[0], _Mark((), batch, rate))
    nothing = not args and batch is None and rate is None
    if nothing or not all(isinstance(arg, str) or _is_payload(arg) for arg in args):
        raise TypeError(f"@handles takes a method, Payload classes or message types, not {args!r}")
    return lambda fn: _mark(fn, _Mark(args, batch, rate))


def build_table(cls: type[Any], base: type[Any]) -> HandlerTable:
    """The table of an agent class; ``base`` is the class whose ``handle_message`` handles nothing.

    Raises:
        TypeError: a handler is not fit to be one, or two want one message type.
    """
    handlers: dict[str, Handler] = {}
    for owner in cls.__mro__:
        own: dict[str, Handler] = {}
        for fn in _marked_methods(owner, cls):
            for handler in _handlers_of(fn, fn.__dict__[_MARK], skip=1):
                _add(own, handler, owner.__name__)
        handlers = {**own, **handlers}  # a subclass's handler for a type goes before the inherited one
    rest = None
    if cls.handle_message is not base.handle_message:
        rest = _handler(cls.handle_message, "", AgentMessage, skip=1)
    if not handlers and rest is None and cls.on_start is base.on_start:  # (an agent that only has children needs none)
        raise TypeError(
            f"agent class {cls.__name__!r} handles nothing; mark a method with @handles or override handle_message"
        )
    return HandlerTable(handlers, rest)


def function_table(fn: Callable[..., Any]) -> HandlerTable:
    """The table of a plain function used as an agent. Without a payload annotation it takes every message whole."""
    handlers: dict[str, Handler] = {}
    if annotation_of(fn, skip=0) in (AgentMessage, None):
        return HandlerTable({}, _handler(fn, "", AgentMessage, skip=0))
    mark: _Mark = getattr(fn, _MARK, None) or _Mark()
    for handler in _handlers_of(fn, msgspec.structs.replace(mark, types=()), skip=0):
        _add(handlers, handler, fn.__name__)
    return HandlerTable(handlers, None)


def _mark(fn: Any, mark: _Mark) -> Any:
    with contextlib.suppress(NameError):  # declared further down in the module: resolved at registration
        fn.__annotations__ = hints_of(fn)
    fn.__dict__[_MARK] = mark
    return fn


def _marked_methods(owner: type[Any], cls: type[Any]) -> Iterator[Callable[..., Any]]:
    """The handlers that ``owner`` defines and that ``cls`` has not overridden by name."""
    for name, value in vars(owner).items():
        marked = _MARK in getattr(getattr(value, "__func__", value), "__dict__", ())
        if marked and not isinstance(value, types.FunctionType):
            raise TypeError(f"handler {name!r} of {owner.__name__!r} is no method; mark plain or async methods")
        if marked and inspect.getattr_static(cls, name) is value:
            yield value


def _add(handlers: dict[str, Handler], handler: Handler, owner: str) -> None:
    other = handlers.get(handler.message_type)
    if other is not None:
        raise TypeError(
            f"{owner!r} has two handlers for message type {handler.message_type!r}: "
            f"{other.name!r} and {handler.name!r}; keep one, or give one payload another message_type"
        )
    handlers[handler.message_type] = handler


def _handlers_of(fn: Callable[..., Any], mark: _Mark, *, skip: int) -> Iterator[Handler]:
    annotation = annotation_of(fn, skip)
    if mark.batch is not None:
        annotation = element_of(fn, annotation, named=bool(mark.types))
    for content_type in mark.types or members(annotation):
        if isinstance(content_type, str):
            yield _handler(fn, content_type, annotation or AgentMessage, skip, mark)
        elif _is_payload(content_type):
            yield _handler(fn, content_type.message_type, content_type, skip, mark)
        else:
            raise TypeError(
                f"handler {fn.__qualname__!r} is annotated with {content_type!r}; "
                "annotate its first parameter with a Payload class, or name the type: @handles(Greet)"
                + ("; or with batch=, which is what takes a list" if typing.get_origin(content_type) is list else "")
            )


def _handler(
    fn: Callable[..., Any], message_type: str, content_type: Any, skip: int, mark: _Mark | None = None
) -> Handler:
    parameters = positional(fn)[skip:]
    if not 1 <= len(parameters) <= 2 or needs_keywords(fn):
        raise TypeError(f"handler {fn.__qualname__!r} must take a message and, if it wants one, a context")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise TypeError(f"handler {fn.__qualname__!r} is a generator; return the answer, use ctx.progress for pieces")
    mark = mark or _Mark()
    wants_context = len(parameters) == 2
    is_typed = _is_payload(content_type)
    copies = answers = None
    if is_typed:
        form, answers = form_of_content(content_type), form_of_reply(_reply_of(content_type))
        copies = form.copy
        for what, fault in (("content", form.fault), ("reply", answers.fault)):
            if fault:
                raise TypeError(
                    f"handler {fn.__qualname__!r}: the {what} of {message_type!r} ({content_type.__name__}) could not "
                    f"be read again in another life of the process: {fault}"
                )
    call = fn if skip else _as_method(fn, wants_context=wants_context)
    return Handler(
        name=fn.__name__,
        message_type=message_type,
        element_type=content_type,
        content_type=content_type if mark.batch is None and is_typed and copies is None else _NEVER,
        call=call if mark.batch is None else BatchCall(call, fn.__qualname__, wants_context=wants_context),
        wants_context=wants_context or mark.batch is not None,
        is_async=inspect.iscoroutinefunction(fn) or mark.batch is not None,
        takes_envelope=content_type is AgentMessage,
        answers=answers,
        admit_answer=None if answers is None else answers.admit,
        copies=copies,
        batch=mark.batch,
        rate=mark.rate,
    )


def form_of_answer(request: object) -> Form:
    """How the answer to ``request`` is stored: as what it declares, else as maps, lists and scalars."""
    return form_of_reply(_reply_of(type(request))) if isinstance(request, Payload) else plain()


def _reply_of(payload: type[Payload]) -> Any:
    reply = reply_type(payload)
    return Any if reply is None else reply


def _as_method(fn: Callable[..., Any], *, wants_context: bool) -> Callable[..., Any]:
    """A function that takes an agent first and ignores it, then calls ``fn``."""
    return (lambda agent, content, ctx: fn(content, ctx)) if wants_context else lambda agent, content: fn(content)


def _is_payload(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Payload)
