"""Errors: one root, and a branch for each thing a caller can do about it.

A supervisor decides with one ``match``: a `MessageError` is never worth a retry, a `DeliveryError` may be, a
`CoordinationError` means that another won and the caller must look again, a `TurnError` reports somebody else's
handler, and an `EngineError` (in `moot.engine.errors`) says itself whether it is ``retryable``. Misuse of the API is
`ValueError`, `TypeError` or `RuntimeError`. Each error carries its facts as attributes and builds its own text, which
ends with what to do next. A copy of an error, and a pickled one, has the same class, text and facts. An error that one
part alone raises is declared beside that part.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, dataclass_transform

__all__ = [
    "AgentNotMade",
    "AgentStopped",
    "AskTimeout",
    "BreakerOpen",
    "CoordinationError",
    "DeadlockError",
    "DeliveryError",
    "DuplicateAgent",
    "Factual",
    "InvalidAnswer",
    "InvalidPayload",
    "MailboxFull",
    "ManagerStopped",
    "MessageError",
    "MessageTooLarge",
    "MootError",
    "RateLimited",
    "Retry",
    "StateConflict",
    "StateUnreadable",
    "TurnError",
    "TurnTimeout",
    "UnknownAgent",
    "UnknownMessageType",
]


_CLASS_VAR = re.compile(r"(\w+\.)*ClassVar\b")
"""An annotation, as a text or a value, of what belongs to a class and is no fact."""


class MootError(Exception):
    """The root of all errors that Moot raises on its own account."""

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy is made without the constructor, which may take other things than the error keeps.
        return type(self).__new__, (type(self),), {**vars(self), "args": self.args}


@dataclass_transform(eq_default=False)
class Factual(MootError):
    """An error that is declared by its facts, as a dataclass is.

    Each annotated attribute of a class is a fact and a parameter of the constructor. ``template`` is the text, in which
    the facts are filled in when somebody reads it: most errors are caught and never read. A class whose text needs more
    than that has a ``__str__`` of its own.
    """

    template: ClassVar[str] = ""
    _facts: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        own = (name for name, kind in cls.__annotations__.items() if not _CLASS_VAR.match(str(kind)))
        cls._facts = tuple(dict.fromkeys((*cls._facts, *own)))

    def __init__(self, *values: Any, **named: Any) -> None:
        if named or len(values) != len(self._facts):
            values = self._completed(values, named)
        self.args = values
        self.__dict__.update(zip(self._facts, values))  # noqa: B905 (the keyword costs a third of an error)

    def __str__(self) -> str:
        return self.template.format_map(self.__dict__)

    def _completed(self, values: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        """The values of all facts: those given in order, those given by name, and the defaults of the class."""
        rest = self._facts[len(values) :]
        given = {name: getattr(self, name) for name in rest if hasattr(self, name)} | named
        if len(values) > len(self._facts) or given.keys() != set(rest):
            raise TypeError(f"{type(self).__name__} takes each of these once: {', '.join(self._facts) or 'nothing'}")
        return *values, *(given[name] for name in rest)


class MessageError(MootError):
    """The message itself is wrong; sending it again cannot help."""


class InvalidPayload(Factual, MessageError):
    """The content is not what the handler of this message type expects."""

    message_type: str
    reason: str
    template = (
        "invalid content for message type {message_type!r}: {reason}; send the payload type that the agent's card names"
    )


class InvalidAnswer(InvalidPayload):
    """A handler's answer is not what its request declares, or could not be read again. Its turn was rolled back."""

    template = "the answer to {message_type!r} is refused: {reason}"


class UnknownMessageType(Factual, MessageError):
    """The agent has no handler for this message type."""

    agent_id: str
    message_type: str
    handled: tuple[str, ...] = ()

    def __str__(self) -> str:
        return (
            f"agent {self.agent_id!r} does not handle {self.message_type!r}; "
            f"it handles: {', '.join(self.handled) or 'nothing'}; add a @handles method or send one of these"
        )


class MessageTooLarge(Factual, MessageError):
    """The encoded message is larger or deeper than the codec accepts."""

    what: str
    actual: int
    limit: int
    template = (
        "message {what} is {actual:,}, the limit is {limit:,}; "
        "send a reference to the data instead, or raise the codec's limit"
    )


class StateUnreadable(Factual, MessageError):
    """What was stored of one version cannot be read by the present one."""

    owner: str
    version: int
    present: int
    why: str
    template = "a value of {owner!r}, version {version}, cannot be read as version {present}: {why}"


class DeliveryError(MootError):
    """The message did not get through; sending it later may help."""


class MailboxFull(Factual, DeliveryError):
    """The receiver's mailbox has no room; ``retry_after`` (seconds) is an estimate."""

    agent_id: str
    capacity: int
    retry_after: float
    template = (
        "mailbox of {agent_id!r} is full ({capacity} messages); "
        "try again in about {retry_after:.3g} s, or use tell(), which waits for room"
    )


class UnknownAgent(DeliveryError):
    """No agent has this id, or none has this capability."""

    def __init__(self, address: str, known: Sequence[str] = ()) -> None:
        self.address = address
        import difflib  # only this error needs it

        self.suggestions = tuple(difflib.get_close_matches(address, known, n=3))
        hint = f"did you mean {' or '.join(map(repr, self.suggestions))}?" if self.suggestions else "register it first"
        super().__init__(f"nobody answers to {address!r}; {hint}")


class AgentNotMade(Factual, UnknownAgent):
    """The address is in a hosted domain, and its agent could not be made."""

    address: str
    error: BaseException
    suggestions = ()
    template = "agent {address!r} could not be made: {error.__class__.__name__}: {error}; correct what host() was given"


class AgentStopped(Factual, DeliveryError):
    """The agent stopped before it handled the message."""

    agent_id: str
    template = "agent {agent_id!r} has stopped; register it again or ask another"


class ManagerStopped(Factual, DeliveryError):
    """The manager is not running, so nothing can be delivered."""

    what: str = "deliver a message"
    template = "cannot {what}: the manager is not running; call start() or use 'async with AgentManager() as manager'"


class AskTimeout(Factual, DeliveryError, TimeoutError):
    """No reply arrived before the deadline (``timeout`` in seconds)."""

    address: str
    message_type: str
    timeout: float
    template = (
        "no reply from {address!r} to {message_type!r} within {timeout:.3g} s; "
        "give it more time, or look at its mailbox and dead letters"
    )


class BreakerOpen(Factual, DeliveryError):
    """So many calls to ``target`` failed that no more are let through for ``retry_after`` seconds."""

    target: str
    retry_after: float
    template = (
        "the circuit breaker to {target!r} is open after repeated failures; "
        "try again in {retry_after:.3g} s, or use another meanwhile"
    )


class RateLimited(Factual, DeliveryError):
    """The receiver refuses more messages than its rate limit allows; there is room in ``retry_after`` seconds."""

    agent_id: str
    retry_after: float
    template = "agent {agent_id!r} is over its rate limit; try again in {retry_after:.3g} s"


class DeadlockError(Factual, DeliveryError):
    """Agents wait for each other in a circle; this ask was chosen to fail, so that the others go on.

    ``cycle`` names them in order: each waits for the next, and the last for the first.
    """

    cycle: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"deadlock: {' -> '.join((*self.cycle, *self.cycle[:1]))}; "
            "let one of them defer its answer (ctx.defer) or tell instead of asking"
        )


class CoordinationError(MootError):
    """Another party won; read again and decide anew."""


class StateConflict(Factual, CoordinationError):
    """A key changed between the read and the write."""

    key: str
    expected: int
    actual: int
    template = "shared state {key!r} is at version {actual}, not {expected}; read it again and decide anew"


class TurnError(Factual, MootError):
    """A handler failed: its error's class and text, after ``attempts`` runs."""

    agent_id: str
    message_type: str
    error: str
    text: str
    attempts: int = 1
    template = (
        "agent {agent_id!r} failed on {message_type!r} after {attempts} attempt(s): {error}: {text}; "
        "the message is kept as a dead letter"
    )


class TurnTimeout(Factual, MootError, TimeoutError):
    """A turn ran longer than its agent's run timeout (``seconds``); it was cancelled and rolled back."""

    agent_id: str
    message_type: str
    seconds: float
    template = (
        "agent {agent_id!r} did not handle {message_type!r} within {seconds:.3g} s; "
        "give it a longer run_timeout, or let it do less in a turn"
    )


class Retry(MootError):
    """Raised by a handler to have its turn run again, whatever ``retry_on`` says.

    ``fresh`` forgets the answers that the turn has recorded, so that they are asked for anew;
    ``after`` is the delay in seconds (by default that of the retry policy).
    """

    def __init__(self, reason: str = "", *, fresh: bool = False, after: float | None = None) -> None:
        self.fresh = fresh
        self.after = after
        super().__init__(reason or "the handler asked for another run")


class DuplicateAgent(Factual, MootError, ValueError):
    """An agent with this id is registered already."""

    agent_id: str
    template = "an agent with the id {agent_id!r} is registered already; choose another id or unregister it"
