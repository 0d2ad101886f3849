"""Requests: how the request of an ask enters the system, from a turn or from outside.

From the address on both ways are one: the ask enters the table in which its answer finds it,
and the request enters a mailbox. The ask of a turn also has the deadline and the chain of the
message that the turn handles, and a circuit breaker, if the agent has one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from moot.agent.ask import Ask
from moot.errors import ManagerStopped, UnknownAgent
from moot.ids import OUTSIDE
from moot.messaging.message import AgentMessage, Numbering, RequestKey
from moot.runtime.cell import Cell
from moot.runtime.phase import RUNNING, STOPPING, SystemPhase
from moot.runtime.routing.breakers import Breakers
from moot.runtime.routing.delivery import Delivery
from moot.runtime.routing.router import MessageRouter

if TYPE_CHECKING:
    from moot.agent.port import Turn
    from moot.clock import Clock
    from moot.runtime.durability.asks import DurableAskTable
    from moot.runtime.routing.absent import AbsentAgents

__all__ = ["Requests"]


class Requests:
    """Sends requests; the `moot.agent.ask.Asker` of callers from outside.

    ``durable_asks`` is the table of asks, if it is one that outlives the process; ``absent`` then keeps those whose
    agent is not registered yet. ``suspending()`` is called when a
    turn is about to wait. A request whose answer its asker awaits alone may be handled before the call that posts it
    returns; see `moot.runtime.dispatch.at_once`.
    """

    def __init__(  # noqa: PLR0913 - it is where asking meets routing
        self,
        clock: Clock,
        numbering: Numbering,
        router: MessageRouter,
        delivery: Delivery,
        breakers: Breakers,
        *,
        phase: SystemPhase,
        durable_asks: DurableAskTable | None,
        absent: AbsentAgents | None,
        wake: Callable[[Cell], None],
        suspending: Callable[[], None],
    ) -> None:
        self._now = clock.now
        self._numbering = numbering
        self._router = router
        self._cells = router.cells
        self._delivery = delivery
        self._asks = delivery.asks
        self._breakers = breakers
        self._phase = phase
        self._durable_asks = durable_asks
        self.absent = absent
        if absent is not None:
            absent.post = self.post_from
        self._is_direct = not delivery.may_repeat
        self._handle_at_once = delivery.handle_at_once if self._is_direct else None
        self._wake = wake
        self._suspending = suspending
        self.withdraw = delivery.withdraw

    def post(self, ask: Ask[Any]) -> None:
        """Send the request of a caller from outside.

        Raises:
            ManagerStopped: nothing is accepted any more. UnknownAgent, AgentStopped, MailboxFull: no agent will handle
            it.
        """
        if self._phase.now is not RUNNING:
            raise ManagerStopped("ask an agent")
        target = self._cells.get(ask.to)
        if target is None or target.phase is STOPPING:
            target = self._router.reach(ask.to, ask.content)
        self._send(ask, OUTSIDE, target)

    def enter(self, ask: Ask[Any]) -> None:
        """Send a request for a caller that was let in before: also while the system drains. Raises as `post`."""
        self._send(ask, OUTSIDE, self._router.reach(ask.to, ask.content))

    def post_from(self, turn: Turn, ask: Ask[Any]) -> None:
        """Send the request of an ask that a turn makes. Raises as `post`, and `BreakerOpen`, `DeadlockError`."""
        cell: Any = turn.cell
        if cell.policies.breaker is not None:
            ask.guard = self._breakers
            if self._breakers.alert:
                self._breakers.guard(cell.id, ask)
        target = self._cells.get(ask.to)
        if target is None or target.phase is STOPPING:
            try:
                target = self._router.reach(ask.to, ask.content, turn.records)
            except UnknownAgent as error:
                if self.absent is None or not self.absent.waits(turn, ask, error):
                    raise
                self._suspending()
                return
        if target.running >= target.concurrency and self._asks.waits is not None:
            self._asks.waits.check_chain(turn, target)
        if self._durable_asks is not None:
            self._durable_asks.name(ask)
        self._send(ask, cell.id, target, turn.message, turn.trace)

    def enter_durable(self, ask: Ask[Any], key: str) -> None:
        """Send a request from outside that outlives its asker. A refused request leaves nothing behind.

        Raises:
            As `post`. InvalidPayload, MessageTooLarge: the request cannot be stored.
        """
        asks, journal = self._durable_asks, self._delivery.journal
        ask.request_key = (ask.to, key)
        if asks is not None and (
            asks.is_deferred(ask.request_key)  # a later turn will answer
            or (journal is not None and journal.store.unread and asks.replies.is_known(ask.request_key))  # or is unread
        ):
            asks.open(ask, self._now() + ask.timeout)
        else:
            self.enter(ask)

    def _send(
        self, ask: Ask[Any], sender: str, target: Cell, incoming: AgentMessage | None = None, trace: str | None = None
    ) -> None:
        deadline = self._now() + ask.timeout
        if incoming is not None and incoming.deadline is not None and incoming.deadline < deadline:
            deadline = incoming.deadline
        reply_to = self._asks.open(ask, deadline)
        key = ask.request_key
        if key is not None and incoming is not None and self._durable_asks is not None:
            if self._durable_asks.settle_known(ask):
                return
            key = None  # the request of a turn is not stored: the turn is, and asks again
        try:
            message = self._numbering.request(
                incoming,
                sender,
                target.id,
                ask.content,
                ask.message_type,
                reply_to,
                deadline,
                trace,
                ask.idempotency_key,
            )
            if key is not None:
                self._accept(ask, target, message, key)
                return
            ask.target, ask.message = target, message
            if self._handle_at_once is not None and ask.is_awaited and self._handle_at_once(ask, target, message):
                if incoming is not None and not ask.done:
                    self._suspending()
                return
            if incoming is not None:
                self._suspending()
            if not self._is_direct or not target.mailbox.offer(message):
                self._delivery.request(ask, target, message)
            elif not target.queued:
                try:
                    self._wake(target)
                except BaseException:  # the asker has run out of stack; to take back needs no more of it than to send
                    target.mailbox.withdraw(message)
                    raise
        except BaseException:
            self._asks.close(ask)
            raise

    def _accept(self, ask: Ask[Any], target: Cell, message: AgentMessage, key: RequestKey) -> None:
        """Store a request, and deliver it."""
        journal = self._delivery.journal
        assert journal is not None  # only a durable system gives keys
        with journal.whole:
            journal.accepted(target.id, message)
            journal.replies.accept(key)
        try:
            self._delivery.request(ask, target, message)
        except BaseException:
            journal.replies.forget(key)
            journal.withdrawn(target.id, message)
            raise
