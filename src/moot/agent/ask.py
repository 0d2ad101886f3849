"""Asks: a request under way, and the table in which its answer finds it.

An `Ask` is lazy: nothing is sent before it is awaited or gathered. So an ask that nobody waits
for costs nobody a turn. Its answer does not travel through a mailbox; it resolves the ask
directly. Every ask ends: with the answer, with an error, or with its deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

from moot.errors import AskTimeout, DeliveryError, InvalidPayload
from moot.messaging.message import AgentMessage, ReplyTo, RequestKey
from moot.resilience.deadlines import DeadlineWheel, Expiring

if TYPE_CHECKING:
    from moot.agent.records import Records
    from moot.messaging.flow_control import Lane, Station

__all__ = ["Answers", "Ask", "AskTable", "Asker", "Guard", "WaitWatch"]

R = TypeVar("R")

_NO_ANSWER: Any = None


class Asker(Protocol):
    """What sends an ask off: a turn, or the manager for a caller from outside."""

    def post(self, ask: Ask[Any]) -> None:
        """Enter the ask into the table and deliver its request, or settle the ask at once."""
        ...

    def withdraw(self, ask: Ask[Any], *, expired: bool) -> None:
        """Nobody waits for ``ask`` any more.

        If its request was not taken, remove it. If it was, cancel its turn, provided that the agent is set to that.
        """
        ...


class Guard(Protocol):
    """What wants to know how an ask ends.

    A guard is always told of errors. It is told of answers while it is ``alert``.
    """

    alert: bool

    def settled(self, ask: Ask[Any], error: BaseException | None) -> None:
        """``ask`` has been answered, or has failed with ``error``."""
        ...


class Answers(Protocol):
    """What carries an answer back, where something lies between the two agents: the transport."""

    def answer(self, reply_to: ReplyTo, answer: Any, error: BaseException | None) -> bool:
        """Take an answer, or an error, to its asker. False when the asker does not wait any more."""
        ...


class WaitWatch(Protocol):
    """An observer of asks that are not answered at once; it may fail one of them."""

    def check_chain(self, turn: Any, target: Any) -> None:
        """Raise `DeadlockError` if ``target``, which ``turn`` is about to ask, waits for ``turn`` itself."""
        ...

    def begin(self, asks: Sequence[Ask[Any]], *, fails_fast: bool = True) -> Any:
        """The present task begins to wait for all of ``asks``. The result is for `end`; None if none is needed."""
        ...

    def end(self, wait: Any) -> None:
        """The task no longer waits. ``wait`` is what `begin` returned."""
        ...


class Ask(msgspec.Struct, Generic[R], eq=False):
    """One request and, later, its answer. Await it once, or pass it to `gather`.

    Cancelling the awaiting task withdraws the request.
    """

    # The collector must look into asks: an ask keeps its error, whose traceback leads back to the ask.

    asker: Asker
    to: str
    content: Any
    message_type: str
    timeout: float
    started: bool = False
    is_awaited: bool = False
    """Whether a task awaits this ask alone. Then an idle agent may handle the request before `Asker.post` returns."""
    is_begun: bool = False
    """Whether it was handled so, and waits for something: its answer does not come within a pass of the loop."""
    gives_way: bool = False
    """Whether the task was cancelled meanwhile, and is to learn of that at this ``await``."""
    done: bool = False
    error: BaseException | None = None
    """Why the ask failed; None until then."""
    deadline: float = 0.0
    key: int = 0
    table: AskTable | None = None
    expiring: dict[Expiring, None] | None = None
    """The entries of the ask's slot on the wheel, once it is there."""
    target: Station | None = None
    message: AgentMessage | None = None
    lane: Lane | None = None
    records: Records | None = None
    scope: str = ""
    """The effect of the turn in which the ask is made; see `moot.agent.records.Records`."""
    guard: Guard | None = None
    siblings: dict[Ask[Any], None] | None = None
    """The asks of the same turn that are not done. An ask that is done takes itself out."""
    on_progress: Callable[[Any, int], None] | None = None
    idempotency_key: str | None = None
    """The key that a repeated ask shares with the first. A caller from outside chose it, or a durable system."""
    request_key: RequestKey | None = None
    """The key by which the answer finds the ask in another life of the process."""
    answer: R = _NO_ANSWER
    """The answer, once the ask is done without error."""
    _waiter: asyncio.Future[None] | None = None
    _callbacks: tuple[Callable[[Ask[Any]], None], ...] = ()

    def __await__(self) -> Generator[Any, None, R]:
        if not self.started:
            self.started = self.is_awaited = True
            try:  # as `start`, a call shorter
                self.asker.post(self)
            except (DeliveryError, InvalidPayload) as error:
                self.fail(error)
        if not self.done or self.gives_way:
            try:
                if not self.is_begun:
                    yield  # a pass of the loop costs less than a future and a deadline; most answers come within one
                if not self.done:
                    waiter = self._waiter
                    if waiter is not None:
                        yield from waiter
                    else:
                        waiter = self._waiter = asyncio.get_running_loop().create_future()
                        self.watch()
                        watch = self.table.waits if self.table is not None else None
                        wait = watch.begin((self,)) if watch is not None else None
                        try:
                            yield from waiter
                        finally:
                            if watch is not None and wait is not None:
                                watch.end(wait)
            except BaseException:
                self.cancel()
                raise
        if self.error is not None:
            raise self.error
        return self.answer

    def start(self) -> None:
        """Send the request. A caller that then waits for longer than a pass of the loop calls `watch`.

        If the request cannot be delivered, or a stored answer is not of the declared type, the ask fails with that
        error.
        """
        self.started = True
        try:
            self.asker.post(self)
        except (DeliveryError, InvalidPayload) as error:
            self.fail(error)

    def watch(self) -> None:
        """Let the deadline count from now on."""
        if self.table is not None and self.expiring is None and not self.done:
            self.expiring = self.table.wheel.entries(self.deadline)
            self.expiring[self] = None

    def when_done(self, callback: Callable[[Ask[Any]], None]) -> None:
        """Call ``callback`` when the ask is done, or at once if it is done already."""
        if self.done:
            callback(self)
        else:
            self._callbacks += (callback,)

    def resolve(self, answer: Any, error: BaseException | None = None) -> None:
        """End the ask with its answer, or with an error."""
        if self.done:
            return
        self.done = True
        self.answer = answer
        self.error = error
        waiter = self._waiter
        if waiter is not None:  # the asker first: if anything below fails, it has its answer
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)
        if error is None and self.records is not None:
            self.records.made += ("ask" + self.scope, self.to, self.content, answer)
        guard = self.guard
        if guard is not None and (error is not None or guard.alert):
            guard.settled(self, error)
        if self.siblings is not None:
            self.siblings.pop(self, None)
        if self.expiring is not None:
            self.expiring.pop(self, None)
        if self._callbacks:
            for callback in self._callbacks:
                callback(self)

    def fail(self, error: BaseException) -> None:
        """End the ask with an error."""
        self.resolve(None, error)

    def cancel(self) -> None:
        """Withdraw the request, because nobody waits any more."""
        if not self.done:
            self.started = True
            self.asker.withdraw(self, expired=False)
            self.fail(asyncio.CancelledError())

    def expire(self) -> None:
        """The deadline has passed; the wheel calls this."""
        if not self.done:
            self.asker.withdraw(self, expired=True)
            self.fail(AskTimeout(self.to, self.message_type, self.timeout))


class AskTable:
    """The asks under way, by the key that their `ReplyTo` carries. Their deadlines are on the wheel."""

    __slots__ = ("_next_key", "_pending", "inbox", "transport", "waits", "wheel")

    def __init__(self, inbox: str, next_key: Callable[[], int], wheel: DeadlineWheel) -> None:
        self.inbox = inbox
        self._next_key = next_key
        self.wheel = wheel
        self.waits: WaitWatch | None = None
        self._pending: dict[int | str, Ask[Any]] = {}
        self.transport: Answers | None = None
        """What lies between an answer and its asker; None if nothing does."""

    def __len__(self) -> int:
        return len(self._pending)

    def open(self, ask: Ask[Any], deadline: float) -> ReplyTo:
        """Enter an ask, and return the address for its answer."""
        key = ask.key = self._next_key()
        ask.deadline = deadline
        self._pending[key] = ask
        ask.table = self
        return ReplyTo(self.inbox, key, deadline)

    def get(self, reply_to: ReplyTo) -> Ask[Any] | None:
        """The ask that waits at ``reply_to``; None if none does any more."""
        return self._pending.get(reply_to.key) if reply_to.inbox == self.inbox else None

    def is_withdrawn(self, message: AgentMessage) -> bool:
        """Whether ``message`` is a request whose asker does not wait any more."""
        return message.reply_to is not None and self.get(message.reply_to) is None

    def close(self, ask: Ask[Any]) -> None:
        """Forget an ask."""
        self._pending.pop(ask.key, None)

    def resolve(self, reply_to: ReplyTo, answer: Any, body: bytes | None = None) -> bool:
        """Give ``answer`` to its asker. False when the asker does not wait any more.

        ``body`` is the encoded answer, if there is one.
        """
        if self.transport is not None:
            return self.transport.answer(reply_to, answer, None)
        ask = self._pending.pop(reply_to.key, None) if reply_to.inbox == self.inbox else None
        if ask is None:
            return False
        ask.resolve(answer)
        return True

    def fail(self, reply_to: ReplyTo, error: BaseException) -> bool:
        """Give an error to the asker. False when the asker does not wait any more."""
        if self.transport is not None:
            return self.transport.answer(reply_to, None, error)
        return self.arrived(reply_to, None, error)

    def arrived(self, reply_to: ReplyTo, answer: Any, error: BaseException | None) -> bool:
        """An answer or an error has come to its asker. False when the asker does not wait any more."""
        ask = self.get(reply_to)
        if ask is None:
            return False
        self.close(ask)
        ask.resolve(answer, error)
        return True

    def fail_all(self, error: Callable[[], BaseException]) -> None:
        """End every ask with an error, because the manager stops."""
        for ask in tuple(self._pending.values()):
            self.close(ask)
            ask.fail(error())
