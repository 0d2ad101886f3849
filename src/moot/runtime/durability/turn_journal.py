"""Durability: what a durable backend is told of each turn, and how a system goes on from what was kept.

The journal below knows bytes and names; here they are made of messages, states and
answers. A turn is told whole, in the step of the event loop that makes its effects come
true: that its message has ended, what it sent, its state, its answer. All of that is
encoded before any of it takes effect, so a turn that cannot be kept fails as a whole.

A request that a turn asks is not kept: the turn is, and asks again. So that nobody does the
same work twice for that, the ask has a name that a turn which is run again gives it anew, and
the answer is kept under the asking turn, together with the effects of the turn that answered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from moot.agent.ask import Ask
from moot.agent.effects import Effects, Timer
from moot.agent.records import NOTHING
from moot.backends.base import Journal, Stored, StoredLetter, StoredMail, StoredTimer
from moot.ids import is_text
from moot.messaging.dead_letters import DeadLetter, DeadLetters, Reason
from moot.messaging.message import AgentMessage, ReplyTo
from moot.runtime.cell import Cell
from moot.runtime.durability.asks import DurableAskTable, name_of, named
from moot.runtime.durability.encoding import decode, decode_timer, encode, turn_name
from moot.runtime.durability.records import DurableRecords, SyncedRecords, decode_answer

if TYPE_CHECKING:
    from moot.agent.context import AgentContext
    from moot.clock import Clock

__all__ = ["REMEMBERED_FOR", "TurnJournal"]

REMEMBERED_FOR = 7 * 24 * 3600.0
"""For so many seconds an id that a caller from outside gave is remembered."""
_FORGETS_EVERY = 3600.0
_LATER = b""
"""Stands for the answer to an ask that was handled and will be answered by a later turn. (No answer is so short.)"""

_log = logging.getLogger("moot.runtime.durability.turn_journal")


class TurnJournal:
    """Tells ``journal`` what happens, and brings back what was ``kept``.

    ``bury(cell, message, text, attempts)`` makes a dead letter of mail that cannot be handled any more;
    ``readmit(message, address, id)`` opens the ask of a caller from outside anew and returns its request;
    ``set_timer(cell, timer, due)`` sets a timer again.
    """

    def __init__(self, journal: Journal, kept: Stored, clock: Clock, asks: DurableAskTable) -> None:
        self.journal = journal
        self._stored = kept
        self._clock = clock
        self._asks = asks
        asks.answering, asks.failing = self._answered, self._failed
        self._timers: dict[str, list[StoredTimer]] = {}
        for timer in kept.timers:
            self._timers.setdefault(timer.agent_id, []).append(timer)
        self._sealed: dict[int, tuple[Any, bytes]] = {}
        self.bury: Callable[[Cell, AgentMessage, Reason, str, int], None] = lambda *facts: None
        self.readmit: Callable[[AgentMessage, str, str], AgentMessage] = lambda message, *key: message
        self.set_timer: Callable[[Cell, Timer, float], None] = lambda *facts: None
        self.is_closing = False
        """The system stops: what is left is kept for the next run."""
        self._forget_old_ids()

    # messages
    def accepted(self, agent_id: str, message: AgentMessage) -> None:
        """A message is an agent's from now on.

        Raises:
            InvalidPayload, MessageTooLarge: it cannot be kept, and nothing has happened.
        """
        self.journal.put_mail(agent_id, message.name, self._bytes(message, message.message_type))

    def withdrawn(self, agent_id: str, message: AgentMessage) -> None:
        """It is no longer, and nobody misses it."""
        self.journal.end_mail(agent_id, message.name)

    def parked(self, message: AgentMessage) -> None:
        """A message for an agent that is not registered waits for it."""
        body = self._bytes(message, message.message_type)
        self.journal.put_mail(message.to, message.name, body)
        mail = self._stored.mail.setdefault(message.to, [])
        if not mail:
            _log.warning("mail for %r, which is not registered, is kept until it is", message.to)
        mail.append(StoredMail(message.name, body))

    def waiting(self) -> list[str]:
        """The agents that are not registered and have mail or timers."""
        with_mail = [agent_id for agent_id, mail in self._stored.mail.items() if mail]
        return list(dict.fromkeys([*with_mail, *self._timers]))

    # dead letters
    def open_letters(self, letters: DeadLetters) -> None:
        """Fill the store of dead letters with those that were kept, and be told of its changes."""
        decoder = msgspec.msgpack.Decoder(DeadLetter)
        for letter in self._stored.letters:
            letters.restore(decoder.decode(letter.body))
        self._stored.letters.clear()
        letters.added, letters.taken = self._buried, self.journal.end_letter

    def _buried(self, letter: DeadLetter, agent_id: str) -> None:
        message = letter.message
        self.journal.end_mail(agent_id, message.name)
        self.journal.end_turn(turn_name(message, agent_id))
        try:
            body = msgspec.msgpack.encode(letter)
        except (TypeError, ValueError, OverflowError, RecursionError):  # what was never accepted may hold anything
            shown = msgspec.structs.replace(message, content=repr(message.content))
            body = msgspec.msgpack.encode(msgspec.structs.replace(letter, message=shown))
        self.journal.put_letter(StoredLetter(letter.id, agent_id, body))

    # turns
    def begun(self, cell: Cell, ctx: AgentContext[Any]) -> None:
        """A turn begins. If a crash would let it run again, it has what it recorded before, and its run is noted."""
        message = ctx.message
        if message.idempotency_key is not None or self.journal.has_mail(cell.id, message.name):
            turn = turn_name(message, cell.id)
            stored = self._stored.records.pop(turn, {})
            ctx.records = DurableRecords(self.journal, turn, (cell.id, message.name), stored)
            ctx.records.mark()
        else:
            ctx.records = SyncedRecords(self.journal)

    def over(self, ctx: AgentContext[Any]) -> None:
        """A turn has ended, in whatever way, and has not killed the process. May be called twice."""
        self._sealed = {}
        if isinstance(ctx.records, DurableRecords):
            ctx.records.unmark()

    def seal(self, effects: Effects | None, message: AgentMessage, answer: Any) -> None:
        """Encode what a turn is about to do.

        Raises:
            InvalidPayload, MessageTooLarge: a part of it cannot be kept; nothing has happened.
        """
        sealed: dict[int, tuple[Any, bytes]] = {}
        self._sealed = sealed
        if effects is not None:
            for output in effects.outputs:
                sealed[id(output)] = output, encode(output, output.message_type)
            for timer in effects.scheduled:
                sealed[id(timer)] = timer, encode(timer, timer.message.message_type)
            for reply_to, late in effects.answers:
                if named(reply_to.inbox) is not None:
                    sealed[id(late)] = late, encode(late, "an answer")
            if effects.state is not NOTHING:
                sealed[id(effects.state)] = effects.state, encode(effects.state, "a state")
            answer = effects.answer_or(answer)
        if answer is not NOTHING and message.reply_to is not None and named(message.reply_to.inbox) is not None:
            sealed[id(answer)] = answer, encode(answer, f"the answer to {message.message_type}")

    def committed(self, cell: Cell, ctx: AgentContext[Any]) -> None:
        """A turn is taking effect: its messages have ended, and its records are needed no more."""
        for message in ctx.messages:
            self.journal.end_mail(cell.id, message.name)
        if ctx.records is not None:
            self.journal.end_turn(turn_name(ctx.message, cell.id))
        effects, reply_to = ctx.effects, ctx.message.reply_to
        if effects is not None:
            if effects.state is not NOTHING:
                self.journal.put_state(cell.id, cell.agent.state_version, self._bytes(effects.state, "a state"))
            if effects.is_deferred and reply_to is not None:
                self._deferred(reply_to)

    def put_timer(self, cell: Cell, timer: Timer, due: float) -> None:
        """A message is to be sent by an agent at ``due``."""
        body = self._bytes(timer, timer.message.message_type)
        self.journal.put_timer(StoredTimer(timer.message.name, cell.id, due, body))

    def end_timer(self, message: AgentMessage) -> None:
        """It was sent, or will not be."""
        self.journal.end_timer(message.name)

    # asks
    def name(self, ask: Ask[Any]) -> None:
        """Name an ask that a turn makes, if a crash may let it make it again."""
        records = ask.records
        if isinstance(records, DurableRecords):
            records.unmark()  # it waits for others; if the process dies meanwhile, that is theirs
            ask.idempotency_key = records.last.hex()
            ask.name = name_of("", ask.idempotency_key)

    def name_outside(self, ask: Ask[Any]) -> None:
        """Name an ask of a caller from outside that has an id."""
        if ask.idempotency_key is not None:
            ask.name = name_of(ask.to, ask.idempotency_key)

    def recall(self, ask: Ask[Any], idempotency_key: str) -> tuple[bool, Any]:
        """Whether the ask of this id from outside was answered before, and the answer."""
        body = self.given(ask.to, idempotency_key)[1]
        return (False, None) if body is None else (True, decode_answer(body, ask.content))

    def is_known(self, ask: Ask[Any]) -> bool:
        """Whether somebody has handled the request of a named ask before, who answers it later or has done so now."""
        key = named(ask.name) if ask.name is not None else None
        if key is None or key not in self._stored.given:
            return False
        _, body = self._stored.given[key]
        if body:
            self._asks.resolve(ReplyTo(ask.name or "", ask.key), decode_answer(body, ask.content))
        return True

    def given(self, address: str, idempotency_key: str) -> tuple[bool, bytes | None]:
        """Whether a caller from outside gave this id before, and the answer, if it was an ask that was answered."""
        known = self._stored.given.get((address, idempotency_key))
        return (False, None) if known is None else (True, known[1] or None)

    def is_deferred(self, address: str, idempotency_key: str) -> bool:
        """Whether the ask of this id was handled, and its answer is to come in a later turn."""
        known = self._stored.given.get((address, idempotency_key))
        return known is not None and known[1] == _LATER

    def give(self, address: str, idempotency_key: str, body: bytes | None = None) -> None:
        """A caller from outside has given an id; or, with ``body``, it was answered."""
        now = self._clock.now()
        if now >= self._forgetting:
            self._forget_old_ids()
        self._stored.given[address, idempotency_key] = now, body
        self.journal.put_given(address, idempotency_key, now, body)

    def take_back(self, address: str, idempotency_key: str) -> None:
        """What came under this id was not accepted after all."""
        if self._stored.given.pop((address, idempotency_key), None) is not None:
            self.journal.end_given(address, idempotency_key)

    def _answered(self, reply_to: ReplyTo, answer: Any) -> None:
        """An ask is about to be answered: that is kept for as long as it may be asked again."""
        key = named(reply_to.inbox)
        if key is None:
            return
        ask = self._asks.get(reply_to)
        records = ask.records if ask is not None else None
        if isinstance(records, DurableRecords):
            self.journal.put_record(records.turn, bytes.fromhex(key[1]), self._bytes(answer, "an answer"))
            records.mark()
            self.take_back(*key)
        elif key[0] or key in self._stored.given:  # of a caller from outside, or of a turn that has yet to run again
            self.give(*key, self._bytes(answer, "an answer"))

    def _deferred(self, reply_to: ReplyTo) -> None:
        key = named(reply_to.inbox)
        if key is not None and not self.given(*key)[1]:
            self.give(*key, _LATER)

    def _failed(self, reply_to: ReplyTo) -> None:
        """An ask is about to fail, which is not kept: who asks again is to have it handled again."""
        key = named(reply_to.inbox)
        if key is not None and not self.is_closing and not self.given(*key)[1]:
            self.take_back(*key)

    def _forget_old_ids(self) -> None:
        now = self._clock.now()
        self._forgetting = now + _FORGETS_EVERY
        oldest = now - REMEMBERED_FOR
        for key in [key for key, (at, _) in self._stored.given.items() if at < oldest]:
            self.take_back(*key)

    # agents
    def restore(self, cell: Cell) -> None:
        """Give an agent that is being registered its state, its mail and its timers."""
        if not is_text(cell.id):
            raise ValueError(f"{cell.id!r} cannot be kept; use Unicode text as an id on a durable backend")
        version, state = self._stored.states.get(cell.id, (0, b""))
        if version:
            cell.state = cell.agent.stored_state(state, version)
            del self._stored.states[cell.id]  # (it stays, if it cannot be read)
        for mail in self._stored.mail.pop(cell.id, ()):
            self._deliver(cell, mail)
        for timer in self._timers.pop(cell.id, ()):
            self.set_timer(cell, decode_timer(timer.body), timer.due)

    def departed(self, cell: Cell) -> None:
        """An agent was taken out: for good, with its state, unless the whole system stops."""
        if not self.is_closing:
            self.journal.put_state(cell.id, 0, None)

    def _deliver(self, cell: Cell, mail: StoredMail) -> None:
        message = decode(mail.body)
        if mail.attempts >= cell.retry.max_deaths:
            text = f"the process died {mail.attempts} times while it was handled"
            self.bury(cell, message, Reason.FAILED, text, mail.attempts)
            return
        if message.reply_to is not None:
            message = msgspec.structs.replace(message, deadline=None)  # it was of an ask that ended with its process
            key = named(message.reply_to.inbox) if message.reply_to is not None else None
            if key is not None and key[0]:
                message = self.readmit(message, *key)
        cell.mailbox.force(message)
        if mail.attempts > 1 and cell.limits is not None:
            cell.limits.keep_alone(message)  # it may have been another of its batch that killed the process twice

    # bytes
    def _bytes(self, thing: Any, what: str) -> bytes:
        """What `seal` has encoded, or encoded now."""
        sealed = self._sealed.get(id(thing))
        if sealed is not None and sealed[0] is thing:
            return sealed[1]
        return encode(thing, what)
