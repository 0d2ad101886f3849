"""The turn journal: what a durable backend is told of each turn, and how a system goes on from what was stored.

The backend's journal knows bytes and names. Here they are made of messages, states and answers.
A turn is told whole, in the step of the event loop in which its effects take effect: the end of
its message, what it sent, its state, its answer. All of that is encoded before the first
effect, so a turn that cannot be stored fails as a whole.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from moot.agent.effects import Effects, Timer
from moot.agent.records import NOTHING
from moot.backends.base import Journal, Stored, StoredLetter, StoredMail, StoredTimer, Unread
from moot.ids import is_text
from moot.messaging.dead_letters import DeadLetter, DeadLetters
from moot.messaging.message import AgentMessage, MessageName, ReplyTo
from moot.policies import ParkedMail
from moot.runtime.cell import Cell
from moot.runtime.durability.encoding import decode_timer, encode, turn_name
from moot.runtime.durability.records import DurableRecords, SyncedRecords
from moot.runtime.durability.replies import ReplyCache, request_key
from moot.runtime.durability.sealed import Sealed
from moot.runtime.durability.unclaimed import decoded

if TYPE_CHECKING:
    from moot.agent.context import AgentContext

__all__ = ["Restored", "TurnJournal"]

_NOTHING_UNREAD = Unread(0, 0)

_log = logging.getLogger("moot.runtime.durability.turn_journal")


class Restored(NamedTuple):
    """What an agent had in an earlier life: the first of its mail, and its timers with when each is due."""

    mail: Iterable[tuple[AgentMessage, StoredMail]]
    timers: Iterable[tuple[Timer, float]]


class _Whole:
    """What the journal is told in a block of this is stored as a whole or not at all, even if Ctrl-C breaks it off.

    An error that does not end the program leaves a block that is whole: the system goes on from there.
    """

    __slots__ = ("_store",)

    def __init__(self, store: Journal) -> None:
        self._store = store

    def __enter__(self) -> None:
        self._store.hold()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or issubclass(kind, Exception):
            self._store.release()


class TurnJournal:
    """Tells ``store``, the journal of the backend, what happens, and brings back what was ``stored``.

    What belongs together is told in a block ``with journal.whole``.
    """

    def __init__(
        self, store: Journal, stored: Stored, replies: ReplyCache, letters: DeadLetters, parking: ParkedMail
    ) -> None:
        self.store = store
        self.parking = parking
        self.whole = _Whole(store)
        self.replies = replies
        self._stored = stored
        self._timers: dict[str, list[StoredTimer]] = {}
        for timer in stored.timers:
            self._timers.setdefault(timer.agent_id, []).append(timer)
        decoder = msgspec.msgpack.Decoder(DeadLetter)
        for letter in stored.letters:
            letters.restore(decoder.decode(letter.body))
        stored.letters.clear()
        letters.added, letters.taken = self._buried, store.end_letter

    def accepted(self, agent_id: str, message: AgentMessage, body: bytes | None = None) -> None:
        """A message belongs to an agent from now on. ``body`` is the encoded message, if there is one.

        Raises:
            InvalidPayload, MessageTooLarge: the message cannot be stored, and nothing has happened.
        """
        self.store.put_mail(agent_id, message.name, encode(message) if body is None else body)

    def withdrawn(self, agent_id: str, message: AgentMessage) -> None:
        """The sender has taken back an accepted message. It is no dead letter."""
        self.store.end_mail(agent_id, message.name)

    def parked(self, message: AgentMessage, body: bytes | None) -> str | None:
        """A message waits for an agent that is not registered. If too many do already, it does not: returned is why."""
        body = encode(message) if body is None else body
        policy, waiting = self.parking, self.store.unread.get(message.to, _NOTHING_UNREAD)
        if waiting.count >= policy.capacity or waiting.bytes + len(body) > policy.max_bytes:
            return (
                f"{waiting.count} messages of {waiting.bytes} bytes wait already for {message.to!r}, which is not "
                "registered; register it, or let more wait: parked=ParkedMail(...)"
            )
        if not waiting.count:
            _log.warning("mail for %r, which is not registered, is kept until it is", message.to)
        self.store.park_mail(message.to, message.name, body)
        return None

    def waiting(self) -> list[str]:
        """The agents that are not registered and have mail or timers."""
        return list(dict.fromkeys([*self.store.unread, *self._timers]))

    def unread(self, agent_id: str) -> int:
        """How many messages of an agent are only in the store."""
        waiting = self.store.unread.get(agent_id)
        return 0 if waiting is None else waiting.count

    def read_mail(self, agent_id: str) -> list[tuple[AgentMessage, StoredMail]]:
        """The next of them, in order. One that cannot be decoded stays in the store."""
        return [(message, one) for one, message in decoded(agent_id, self.store.read_mail(agent_id))]

    def _buried(self, letter: DeadLetter, agent_id: str) -> None:
        message = letter.message
        try:
            body = msgspec.msgpack.encode(letter)
        except (TypeError, ValueError, OverflowError, RecursionError):  # what was never accepted may hold anything
            shown = msgspec.structs.replace(message, content=repr(message.content))
            body = msgspec.msgpack.encode(msgspec.structs.replace(letter, message=shown))
        with self.whole:
            self.store.end_mail(agent_id, message.name)
            self.store.end_turn(turn_name(message, agent_id))
            self.store.put_letter(StoredLetter(letter.id, agent_id, body))

    def begun(self, cell: Cell, ctx: AgentContext[Any]) -> None:
        """A turn begins. If a crash would let it run again, it gets the records of earlier runs, and is marked."""
        message, agent_id = ctx.message, cell.id
        name = message.name
        attempt = self.store.begin_attempt(agent_id, name)
        if attempt is None and message.idempotency_key is None:
            ctx.records = SyncedRecords(journal=self.store)
            return
        turn = turn_name(message, agent_id)
        ctx.records = DurableRecords(
            journal=self.store,
            turn=turn,
            agent_id=agent_id,
            name=name,
            stored=self._stored.records.pop(turn, {}),
            attempt=-1 if attempt is None else attempt,
        )

    def over(self, ctx: AgentContext[Any]) -> None:
        """A turn has ended without killing the process. A second call does nothing."""
        records = ctx.records
        if isinstance(records, DurableRecords) and records.attempt >= 0:
            self.store.end_attempt(records.attempt)
            records.attempt = -1

    def seal(self, effects: Effects | None, reply_to: ReplyTo | None, answer: Any) -> Sealed:
        """Encode what a turn is about to do. ``answer`` is its answer to ``reply_to``.

        Raises:
            InvalidPayload, MessageTooLarge: a part of the turn cannot be stored, and nothing has happened.
        """
        outputs: Iterable[bytes | None] = ()
        timers: Iterable[bytes | None] = ()
        answers: Iterable[bytes | None] = ()
        state = given = None
        if effects is not None:
            outputs = list(map(encode, effects.outputs))
            if effects.timers:
                timers = [None if isinstance(timer, str) else encode(timer) for timer in effects.timers]
            if effects.answers:
                answers = [
                    None if request_key(to) is None else encode(late, "an answer") for to, late in effects.answers
                ]
            if effects.state is not NOTHING:
                state = encode(effects.state, "a state")
        if reply_to is not None and answer is not NOTHING and request_key(reply_to) is not None:
            given = encode(answer, "an answer")
        return Sealed(outputs, timers, answers, state, given)

    def committed(self, cell: Cell, ctx: AgentContext[Any], sealed: Sealed) -> None:
        """A turn takes effect: its messages have ended, and its records are not needed any more."""
        records, store = ctx.records, self.store
        if isinstance(records, DurableRecords):
            store.end_mail(cell.id, records.name)
            for member in getattr(ctx.message, "members", ()):
                store.end_mail(cell.id, member.name)
            store.end_turn(records.turn)
        if sealed.state is not None:
            store.put_state(cell.id, cell.agent.state_version, sealed.state)
        effects, reply_to = ctx.effects, ctx.message.reply_to
        if effects is not None and effects.is_deferred and reply_to is not None:
            self.replies.deferred(reply_to)

    def put_timer(self, cell: Cell, timer: Timer, due: float, body: bytes | None) -> None:
        """An agent will send a message at ``due``. ``body`` is the encoded timer, if there is one."""
        body = encode(timer) if body is None else body
        self.store.put_timer(StoredTimer(timer.message.name, cell.id, due, body))

    def end_timer(self, message: AgentMessage) -> None:
        """The timer of ``message`` has sent it, or will not send it."""
        self.store.end_timer(message.name)

    def restore(self, cell: Cell) -> Restored:
        """Give an agent that is being registered its stored state. Returned are the first of its mail and its timers.

        Raises:
            StateUnreadable: the state cannot be read; it stays in the store. ValueError: the agent's id cannot be
            stored.
        """
        if not is_text(cell.id):
            raise ValueError(f"{cell.id!r} cannot be kept; use Unicode text as an id on a durable backend")
        version, state = self._stored.states.get(cell.id, (0, b""))
        if version:
            cell.keep_state(cell.agent.stored_state(state, version))
            del self._stored.states[cell.id]
        self.store.claim(cell.id)
        mail = self.read_mail(cell.id)
        timers = [(decode_timer(timer.body), timer.due) for timer in self._timers.pop(cell.id, ())]
        return Restored(mail, timers)

    def give_back(
        self, cell: Cell, mail: Iterable[AgentMessage], timers: Iterable[tuple[Timer, float]]
    ) -> set[MessageName]:
        """An agent could not start: what was stored for it waits for another one of its id, as if it had not come.

        Returned are the names of the messages of which that is true.
        """
        if cell.state is not None:
            self._stored.states[cell.id] = cell.agent.state_version, encode(cell.state, "a state")
        for timer, due in timers:
            stored = StoredTimer(timer.message.name, cell.id, due, encode(timer))
            self._timers.setdefault(cell.id, []).append(stored)
        stored_mail = [StoredMail(one.name, encode(one)) for one in mail if _is_stored(one)]
        return self.store.give_back(cell.id, stored_mail)

    def departed(self, cell: Cell) -> None:
        """An agent was taken out for good, and its state is deleted."""
        self.store.put_state(cell.id, 0, None)


def _is_stored(message: AgentMessage) -> bool:
    """Whether ``message`` may be in the store: it is no request of a turn, nor of a caller that gave no key."""
    return message.reply_to is None or request_key(message.reply_to) is not None
