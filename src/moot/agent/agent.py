"""Agents: what receives messages, and what a class says about how it wants to be treated.

An agent handles one message at a time unless it says otherwise, so its methods need no locks.
Its constructor arguments are remembered, so that it can be constructed again after a failure.
Whatever it does to the world, it does through the context that its handlers are given
(`moot.agent.context`).
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, cast

from moot.agent.handlers import HandlerTable, build_table, function_table
from moot.agent.signature import resolved
from moot.errors import UnknownMessageType
from moot.ids import snake_case
from moot.messaging.evolution import read
from moot.messaging.message import AgentMessage
from moot.policies import BreakerPolicy, MailboxPolicy, RateLimit, RestartKind, RetryPolicy, Supervision, TimeoutPolicy
from moot.policies.fields import check_value
from moot.storable.values import Form, form_of, loose

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from moot.agent.context import AgentContext

    S = TypeVar("S", default=Any)
else:
    from typing import TypeVar

    S = TypeVar("S")

__all__ = ["Agent", "FunctionAgent", "agents_of"]


class Agent(Generic[S]):
    """Base class of agents; ``Agent[S]`` has a state of type ``S`` of its own in ``ctx.state``.

    Mark methods with `handles`, or override `handle_message`.
    """

    capabilities: ClassVar[tuple[str, ...]] = ()
    """What the agent can do. ``capability:NAME`` addresses one of the agents that can do it."""
    topics: ClassVar[tuple[str, ...]] = ()
    """The topics that the agent is subscribed to from the start."""
    mailbox: ClassVar[MailboxPolicy] = MailboxPolicy()
    retry: ClassVar[RetryPolicy] = RetryPolicy()
    timeouts: ClassVar[TimeoutPolicy] = TimeoutPolicy()
    rate_limit: ClassVar[RateLimit | None] = None
    """How many messages the agent takes in a time. `handles` can set a limit for one message type."""
    breaker: ClassVar[BreakerPolicy | None] = None
    """When asks to an agent that keeps failing are no longer sent."""
    supervision: ClassVar[Supervision] = Supervision()
    """What the agent does about the failures of its children."""
    restart: ClassVar[RestartKind] = "transient"
    """Whether the agent is made anew.

    After a failure (``transient``), also after it stopped itself (``permanent``), or never (``temporary``).
    """
    state_version: ClassVar[int] = 1
    """The version of the state's type. A durable backend stores it, so that `upgrade` can lead older states here."""
    concurrency: ClassVar[int] = 1
    """How many messages the agent handles at once. An agent with a state of its own handles one."""
    cancel_with_asker: ClassVar[bool] = False
    """Whether a running turn is cancelled when its asker no longer waits."""

    _arguments: tuple[Any, ...]
    _keyword_arguments: dict[str, Any] | None = None
    _table: ClassVar[HandlerTable | None] = None
    _state_type: ClassVar[Any] = None
    _state_form: ClassVar[Form | None] = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        agent = super().__new__(cls)
        agent._arguments = args
        if kwargs:
            agent._keyword_arguments = kwargs
        return agent

    def __init__(self, agent_id: str) -> None:
        self.id = agent_id

    async def handle_message(self, message: AgentMessage, ctx: AgentContext[S]) -> Any:
        """Handle a message that has no `handles` method. Override it to match on ``message.message_type``.

        If the message was an ask, the returned value is the reply.
        """
        raise UnknownMessageType(self.id, message.message_type, self.handler_table().message_types)

    async def on_start(self, ctx: AgentContext[S]) -> None:
        """Called before the first message. Its effects through ``ctx`` take effect when it returns."""

    async def on_stop(self, ctx: AgentContext[S]) -> None:
        """Called after the last message."""

    def initial_state(self) -> S:
        """The state that a new ``Agent[S]`` begins with: ``S()``, unless overridden."""
        state_type = _state_type(type(self))
        return cast(S, None if state_type is None else state_type())

    def stored_state(self, body: bytes, version: int) -> S:
        """The state in ``body``, which was stored as one of ``version``.

        Raises:
            StateUnreadable: the stored state is newer than this class, or does not convert to the state's type.
        """
        return cast(S, read(type(self), body, version, self.state_version, _state_type(type(self))))

    def state_form(self) -> Form:
        """How the state of this agent is stored: as the ``S`` of its class, else as maps, lists and scalars.

        A class with a `stored_state` of its own says there what its state is read as. It is not looked into.
        """
        cls = type(self)
        if "_state_form" not in cls.__dict__:
            state_type = _state_type(cls)
            reads_itself = cls.stored_state is not Agent.stored_state
            cls._state_form = loose() if reads_itself else form_of(Any if state_type is None else state_type)
        return cast(Form, cls._state_form)

    def handler_table(self) -> HandlerTable:
        """The handlers of this agent's class, built once for the class.

        Raises:
            TypeError: a handler is not fit to be one, or the state could not be read again.
        """
        cls = type(self)
        if "_table" not in cls.__dict__:
            if self.state_form().fault:
                fault = self.state_form().fault
                raise TypeError(f"agent class {cls.__name__!r}: its state could not be read again: {fault}")
            cls._table = build_table(cls, Agent)
        return cast(HandlerTable, cls._table)

    def construct_again(self) -> Self:
        """A new agent from the arguments that this one was constructed with."""
        return type(self)(*self._arguments, **(self._keyword_arguments or {}))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({getattr(self, 'id', '?')!r})"


class FunctionAgent(Agent[Any]):
    """A plain function as an agent: ``async def upper(message: Upper, ctx) -> str``.

    It is dispatched on its first annotation. Without an annotation it is given every message whole.
    """

    def __init__(self, fn: Callable[..., Any], agent_id: str | None = None) -> None:
        name = agent_id or getattr(fn, "__name__", None)
        if name is None:
            raise TypeError(f"{fn!r} has no name to be its id; give it one: FunctionAgent(fn, 'id')")
        super().__init__(name)
        self._function_table = function_table(fn)

    def handler_table(self) -> HandlerTable:
        """The one handler."""
        return self._function_table


def agents_of(agent: Any, count: int = 1) -> list[Agent[Any]]:
    """The agents that a registration means: one, a function as one, or ``count`` of a class with ids ``name_1``, ….

    Raises:
        TypeError: ``agent`` is none of these, or ``count`` no whole number. ValueError: ``count`` is below 1.
    """
    if isinstance(agent, type):
        if not issubclass(agent, Agent):
            raise TypeError(f"{agent.__name__!r} is not a class of agents; derive it from moot.Agent")
        check_value("register()", "count", count, int)
        if count < 1:
            raise ValueError(f"at least 1 agent is registered, not {count}")
        return [agent(f"{snake_case(agent.__name__)}_{number}") for number in range(1, count + 1)]
    if count != 1 or count.__class__ is not int:
        raise TypeError(f"count={count!r} is for a class of agents; register other agents one by one")
    if isinstance(agent, Agent):
        return [agent]
    if not callable(agent):
        raise TypeError(f"{type(agent).__name__!r} is no agent; register an Agent, a class of them, or a function")
    return [FunctionAgent(agent)]


def _state_type(cls: type[Agent[Any]]) -> Any:
    """The ``S`` of a class that is an ``Agent[S]``, looked for once for the class; None if it has no state."""
    if "_state_type" not in cls.__dict__:
        cls._state_type = _declared_state_type(cls)
    return cls._state_type


def _declared_state_type(cls: type[Any]) -> Any:
    for owner in cls.__mro__:
        for base in getattr(owner, "__orig_bases__", ()):
            origin = typing.get_origin(base)
            if isinstance(origin, type) and issubclass(origin, Agent):
                (argument, *_) = typing.get_args(base)
                if isinstance(argument, (str, typing.ForwardRef)):
                    argument = resolved(argument, owner)
                return None if isinstance(argument, TypeVar) or argument is Any else argument
    return None
