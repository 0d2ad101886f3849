"""Errors: one root, and a branch for each thing a caller can do about it.

A supervisor decides with one ``match``: a `MessageError` is never worth a retry,
a `DeliveryError` may be, a `CoordinationError` means that another won and the
caller must look again, a `TurnError` reports somebody else's handler, and an
`EngineError` says itself whether it is ``retryable``. Each error carries its
facts as attributes and builds its own text, which ends with what to do next.
(Those of engines are in `moot.engine.errors`.)
Misuse of the API is `ValueError`, `TypeError` or `RuntimeError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = [
    "AgentNotMade",
    "AgentStopped",
    "AskTimeout",
    "BreakerOpen",
    "CoordinationError",
    "DeadlockError",
    "DeliveryError",
    "DuplicateAgent",
    "InvalidPayload",
    "MailboxFull",
    "ManagerStopped",
    "MessageError",
    "MessageTooLarge",
    "MootError",
    "QuorumFailed",
    "RateLimited",
    "Retry",
    "StateConflict",
    "StateUnreadable",
    "SupervisionFailed",
    "TurnError",
    "TurnTimeout",
    "UnknownAgent",
    "UnknownMessageType",
    "WatchExpired",
]


class MootError(Exception):
    """The root of all errors that Moot raises on its own account."""


class MessageError(MootError):
    """The message itself is wrong; sending it again cannot help."""


class InvalidPayload(MessageError):
    """The content is not what the handler of this message type expects."""

    def __init__(self, message_type: str, reason: str) -> None:
        self.message_type = message_type
        self.reason = reason
        super().__init__(
            f"invalid content for message type {message_type!r}: {reason}; "
            "send the payload type that the agent's card names"
        )


class UnknownMessageType(MessageError):
    """The agent has no handler for this message type."""

    def __init__(self, agent_id: str, message_type: str, handled: Iterable[str] = ()) -> None:
        self.agent_id = agent_id
        self.message_type = message_type
        self.handled = tuple(handled)
        known = ", ".join(self.handled) or "nothing"
        super().__init__(
            f"agent {agent_id!r} does not handle {message_type!r}; it handles: {known}; "
            "add a @handles method or send one of these"
        )


class MessageTooLarge(MessageError):
    """The encoded message is larger or deeper than the codec accepts."""

    def __init__(self, what: str, actual: int, limit: int) -> None:
        self.what = what
        self.actual = actual
        self.limit = limit
        super().__init__(
            f"message {what} is {actual:,}, the limit is {limit:,}; "
            "send a reference to the data instead, or raise the codec's limit"
        )


class StateUnreadable(MessageError):
    """What was kept of one version cannot be read by the present one."""

    def __init__(self, owner: str, version: int, present: int, why: str) -> None:
        self.owner = owner
        self.version = version
        self.present = present
        self.why = why
        super().__init__(f"a value of {owner!r}, version {version}, cannot be read as version {present}: {why}")


class DeliveryError(MootError):
    """The message did not get through; sending it later may help."""


class MailboxFull(DeliveryError):
    """The receiver's mailbox has no room; ``retry_after`` (seconds) is an estimate."""

    def __init__(self, agent_id: str, capacity: int, retry_after: float) -> None:
        self.agent_id = agent_id
        self.capacity = capacity
        self.retry_after = retry_after
        super().__init__(
            f"mailbox of {agent_id!r} is full ({capacity} messages); "
            f"try again in about {retry_after:.3g} s, or use tell(), which waits for room"
        )


class UnknownAgent(DeliveryError):
    """No agent has this id, or none has this capability."""

    def __init__(self, address: str, known: Sequence[str] = ()) -> None:
        self.address = address
        import difflib  # only this error needs it

        self.suggestions = tuple(difflib.get_close_matches(address, known, n=3))
        hint = f"did you mean {' or '.join(map(repr, self.suggestions))}?" if self.suggestions else "register it first"
        super().__init__(f"nobody answers to {address!r}; {hint}")


class AgentNotMade(UnknownAgent):
    """The address is in a hosted domain, and its agent could not be made."""

    def __init__(self, address: str, error: BaseException) -> None:
        self.address = address
        self.suggestions = ()
        DeliveryError.__init__(
            self,
            f"agent {address!r} could not be made: {type(error).__name__}: {error}; correct what host() was given",
        )


class AgentStopped(DeliveryError):
    """The agent stopped before it handled the message."""

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        super().__init__(f"agent {agent_id!r} has stopped; register it again or ask another")


class ManagerStopped(DeliveryError):
    """The manager is not running, so nothing can be delivered."""

    def __init__(self, what: str = "deliver a message") -> None:
        super().__init__(
            f"cannot {what}: the manager is not running; call start() or use 'async with AgentManager() as manager'"
        )


class AskTimeout(DeliveryError, TimeoutError):
    """No reply arrived before the deadline (``timeout`` in seconds)."""

    def __init__(self, address: str, message_type: str, timeout: float) -> None:
        self.address = address
        self.message_type = message_type
        self.timeout = timeout
        super().__init__(
            f"no reply from {address!r} to {message_type!r} within {timeout:.3g} s; "
            "give it more time, or look at its mailbox and dead letters"
        )


class BreakerOpen(DeliveryError):
    """So many calls to ``target`` failed that no more are let through for ``retry_after`` seconds."""

    def __init__(self, target: str, retry_after: float) -> None:
        self.target = target
        self.retry_after = retry_after
        super().__init__(
            f"the circuit breaker to {target!r} is open after repeated failures; "
            f"try again in {retry_after:.3g} s, or use another meanwhile"
        )


class RateLimited(DeliveryError):
    """The receiver refuses more messages than its rate limit allows; there is room in ``retry_after`` seconds."""

    def __init__(self, agent_id: str, retry_after: float) -> None:
        self.agent_id = agent_id
        self.retry_after = retry_after
        super().__init__(f"agent {agent_id!r} is over its rate limit; try again in {retry_after:.3g} s")


class DeadlockError(DeliveryError):
    """Agents wait for each other in a circle; this ask was chosen to fail, so that the others go on.

    ``cycle`` names them in order: each waits for the next, and the last for the first.
    """

    def __init__(self, cycle: Sequence[str]) -> None:
        self.cycle = tuple(cycle)
        super().__init__(
            f"deadlock: {' -> '.join((*self.cycle, *self.cycle[:1]))}; "
            "let one of them defer its answer (ctx.defer) or tell instead of asking"
        )


class CoordinationError(MootError):
    """Another party won; read again and decide anew."""


class StateConflict(CoordinationError):
    """A key changed between the read and the write."""

    def __init__(self, key: str, expected: int, actual: int) -> None:
        self.key = key
        self.expected = expected
        self.actual = actual
        super().__init__(f"shared state {key!r} is at version {actual}, not {expected}; read it again and decide anew")


class WatchExpired(CoordinationError):
    """The changes to go on after are no longer kept; ``after`` to ``last`` are what one can go on after."""

    def __init__(self, revision: int, after: int, last: int) -> None:
        self.revision = revision
        self.after = after
        self.last = last
        super().__init__(
            f"the changes after revision {revision} are not kept (only those after {after}, up to {last}); "
            "read the keys, and watch anew"
        )


class QuorumFailed(CoordinationError):
    """Too many asks failed for the quorum to be reached; ``errors`` holds why."""

    def __init__(self, quorum: int, asked: int, errors: Sequence[BaseException]) -> None:
        self.quorum = quorum
        self.asked = asked
        self.errors = tuple(errors)
        first = f"; the first failure: {self.errors[0]}" if self.errors else ""
        super().__init__(
            f"{len(self.errors)} of {asked} asks failed, so {quorum} answers cannot be had{first}; "
            "ask more agents or lower the quorum"
        )


class TurnError(MootError):
    """A handler failed: its error's class and text, after ``attempts`` runs."""

    def __init__(self, agent_id: str, message_type: str, error: str, text: str, attempts: int = 1) -> None:
        self.agent_id = agent_id
        self.message_type = message_type
        self.error = error
        self.text = text
        self.attempts = attempts
        super().__init__(
            f"agent {agent_id!r} failed on {message_type!r} after {attempts} attempt(s): {error}: {text}; "
            "the message is kept as a dead letter"
        )


class TurnTimeout(MootError, TimeoutError):
    """A turn ran longer than its agent's run timeout (``seconds``); it was cancelled and rolled back."""

    def __init__(self, agent_id: str, message_type: str, seconds: float) -> None:
        self.agent_id = agent_id
        self.message_type = message_type
        self.seconds = seconds
        super().__init__(
            f"agent {agent_id!r} did not handle {message_type!r} within {seconds:.3g} s; "
            "give it a longer run_timeout, or let it do less in a turn"
        )


class SupervisionFailed(MootError):
    """An agent failed more often than its supervision allows, up to the manager, which stopped."""

    def __init__(self, agent_id: str, error: BaseException, restarts: int) -> None:
        self.agent_id = agent_id
        self.error = error
        self.restarts = restarts
        super().__init__(
            f"agent {agent_id!r} failed for good after {restarts} restart(s): {type(error).__name__}: {error}; "
            "mend what fails, or allow more with AgentManager(supervision=Supervision(…))"
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


class DuplicateAgent(MootError, ValueError):
    """An agent with this id is registered already."""

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        super().__init__(f"an agent with the id {agent_id!r} is registered already; choose another id or unregister it")
