"""Dead letters: the place of every message that could not be handled.

Nothing disappears. An accepted message is handled, or it ends here with a reason from a short
list, the error's text and its attempts. The store is bounded; letters that it forgets are
counted.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator

import msgspec

from moot.messaging.message import AgentMessage
from moot.messaging.reason import Reason

__all__ = ["DeadLetter", "DeadLetters", "Reason"]

_log = logging.getLogger("moot.messaging.dead_letters")


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One message that could not be handled, and why. ``at`` is in seconds since the Unix epoch."""

    id: int
    message: AgentMessage
    reason: Reason
    error: str
    attempts: int
    at: float

    @property
    def trace(self) -> str | None:
        """The trace that the message belonged to."""
        return self.message.trace

    def again(self) -> AgentMessage:
        """The message as a new one, not numbered yet, whose ``causation`` names the old one."""
        old = self.message
        return msgspec.structs.replace(
            old,
            conversation=old.conversation_id if old.conversation else 0,  # its number says nothing in another run
            causation=old.id,
            idempotency_key=None,
            reply_to=None,
            deadline=None,
            sequence=0,
            incarnation="",
            attempt=1,
        )


class DeadLetters:
    """The newest ``capacity`` dead letters, and counts of all.

    Each new one is logged while they are few; after that only at each doubling, so that a
    storm of them does not become a storm of log lines.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self._letters: deque[DeadLetter] = deque(maxlen=capacity)
        self._total = 0
        self.listener: Callable[[DeadLetter], None] | None = None
        """Called with each new letter."""
        self.added: Callable[[DeadLetter, str], None] | None = None
        """Called with each new letter and the agent whose mail it was: for a backend that stores letters."""
        self.taken: Callable[[int], None] | None = None
        """Called with the id of a letter that was taken out or forgotten."""
        self.counts: Counter[Reason] = Counter()

    def __len__(self) -> int:
        return len(self._letters)

    def __iter__(self) -> Iterator[DeadLetter]:
        return iter(tuple(self._letters))

    def list(self, reason: Reason | None = None) -> list[DeadLetter]:
        """The letters that are here, oldest first. With ``reason`` only the letters of that reason."""
        return [letter for letter in self._letters if reason is None or letter.reason is reason]

    def get(self, letter_id: int) -> DeadLetter:
        """The dead letter of an id.

        Raises:
            KeyError: the letter was never here, was taken, or has been forgotten.
        """
        for letter in self._letters:
            if letter.id == letter_id:
                return letter
        raise KeyError(f"no dead letter {letter_id} is kept; list() shows those that are")

    def add(
        self,
        message: AgentMessage,
        reason: Reason,
        error: str,
        *,
        at: float,
        attempts: int = 0,
        agent_id: str | None = None,
    ) -> DeadLetter:
        """Keep ``message`` as a dead letter.

        ``agent_id`` is the agent whose mail it was, if the message names another receiver.
        """
        self._total += 1
        self.counts[reason] += 1
        letter = DeadLetter(id=self._total, message=message, reason=reason, error=error, attempts=attempts, at=at)
        self._keep(letter)
        if self.added is not None:
            self.added(letter, agent_id or message.to)
        if self.listener is not None:
            self.listener(letter)
        count = self.counts[reason]
        if count <= 8 or count & (count - 1) == 0:
            _log.log(
                logging.INFO if reason is Reason.CANCELLED else logging.WARNING,  # the asker wished it
                "dead letter %d (%s, %d of this kind): %s from %s to %s: %s",
                *(letter.id, reason.value, count, message.message_type, message.sender, message.to, error),
            )
        return letter

    def take(self, letter_id: int) -> DeadLetter:
        """Remove a letter, to send it again. Raises `KeyError` as `get` does."""
        letter = self.get(letter_id)
        self._letters.remove(letter)
        if self.taken is not None:
            self.taken(letter_id)
        return letter

    def put_back(self, letter: DeadLetter) -> None:
        """Put a letter in again that was taken and could not be sent."""
        self._keep(letter)
        if self.added is not None:
            self.added(letter, letter.message.to)

    def restore(self, letter: DeadLetter) -> None:
        """Put a stored letter in. It is not counted as new, and its id is not given again."""
        self._letters.append(letter)
        self._total = max(self._total, letter.id)

    def _keep(self, letter: DeadLetter) -> None:
        letters = self._letters
        if letters and len(letters) == letters.maxlen and self.taken is not None:
            self.taken(letters[0].id)
        letters.append(letter)
