"""The backend port: a backend stores and moves; it decides nothing.

What a turn does, when it is retried and who is told is decided above, the same for
all backends. A backend brings the stores that the runtime works on, and a durable one
a `Journal` besides: while a system runs, memory is the authority, and the journal is
told of each change, in the order in which the changes happen. What it is told within
one step of the event loop is stored as a whole or not at all, and what it keeps is always
a prefix of what it was told. That is all that makes a turn a transaction on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from moot.messaging.message import MessageName

if TYPE_CHECKING:
    from moot.errors import MootError
    from moot.messaging.dead_letters import DeadLetters
    from moot.state import SharedState

__all__ = ["Backend", "Journal", "Stored", "StoredLetter", "StoredMail", "StoredTimer", "Stores", "Unread"]


class StoredMail(msgspec.Struct, frozen=True):
    """A message that was accepted for an agent and has not ended. ``attempts``: the process died so often in it."""

    name: MessageName
    body: bytes
    attempts: int = 0


class Unread(msgspec.Struct, frozen=True):
    """The mail of an agent that only the store has: how many messages, and their bytes.

    ``since`` and ``marked``: the first and the last time at which it was marked as unclaimed, in seconds since the
    Unix epoch; None if it never was.
    """

    count: int
    bytes: int
    since: float | None = None
    marked: float | None = None


class StoredTimer(msgspec.Struct, frozen=True):
    """A timer of ``agent_id`` that is next due at ``due`` (seconds since the Unix epoch)."""

    name: MessageName
    agent_id: str
    due: float
    body: bytes


class StoredLetter(msgspec.Struct, frozen=True):
    """A dead letter: its id, whose mail it was, and the letter."""

    letter_id: int
    agent_id: str
    body: bytes


class Stored(msgspec.Struct):
    """All that a journal holds, but for mail, which is read in pages: see `Journal.read_mail`.

    ``states``: version of the state's type, and the state. ``records``: by turn and key. ``replies``: by address
    and idempotency key: when, and the answer, if it was an ask that was answered. ``shared``: version, and the value
    (None: deleted). ``changes``: the newest of shared keys, in order: revision, key, version, value.
    """

    states: dict[str, tuple[int, bytes]] = {}
    timers: list[StoredTimer] = []
    records: dict[str, dict[bytes, bytes]] = {}
    replies: dict[tuple[str, str], tuple[float, bytes | None]] = {}
    letters: list[StoredLetter] = []
    shared: dict[str, tuple[int, bytes | None]] = {}
    changes: list[tuple[int, str, int, bytes | None]] = []
    run: int = 1
    """Rises with each run of a system, so that two of one seed number their messages apart."""


class Journal(Protocol):
    """What a durable backend is told. No call waits; none fails but `synced`.

    Saying that something has ended which is not there is no error.
    """

    def hold(self) -> None:
        """What is told from here to `release` belongs together. Calls may be nested.

        If the step ends without the release, the program was interrupted in the middle. Then nothing of the step is
        kept, and nothing after it.
        """
        ...

    def release(self) -> None:
        """All that belongs together was told."""
        ...

    @property
    def is_behind(self) -> bool:
        """Whether so much is not written yet that no turn should begin."""
        ...

    def put_mail(self, agent_id: str, name: MessageName, body: bytes) -> None:
        """A message was accepted for an agent, which need not exist yet."""
        ...

    def park_mail(self, agent_id: str, name: MessageName, body: bytes) -> None:
        """As `put_mail`, for an agent that is not there: it is unread, after all that is unread already."""
        ...

    @property
    def unread(self) -> Mapping[str, Unread]:
        """The mail that waits to be read, by agent: that of earlier lives, and what was parked in this one."""
        ...

    def read_mail(self, agent_id: str, before: float | None = None) -> list[StoredMail]:
        """A page of the unread mail of an agent, in the order of acceptance; from now on memory has it.

        A page has at least one message if any is left, and so many more as a system can have at hand for each of its
        agents. With ``before`` only what was marked as unclaimed at that time or earlier. Empty if nothing is left,
        or if the journal cannot go on, which it says by itself.
        """
        ...

    def give_back(self, agent_id: str, mail: Sequence[StoredMail]) -> set[MessageName]:
        """The agent is not there after all: its messages are unread again, before those that are so still.

        Returned are the names of those that the journal has; the others were never told to it.
        """
        ...

    def mark_unclaimed(self, agent_id: str, at: float) -> None:
        """The agent was not there at ``at``, and all that is unread waited for it."""
        ...

    def claim(self, agent_id: str) -> None:
        """The agent is there: forget all marks."""
        ...

    def end_mail(self, agent_id: str, name: MessageName) -> None:
        """It has been handled, or has become a dead letter."""
        ...

    def put_state(self, agent_id: str, version: int, body: bytes | None) -> None:
        """An agent has this state of its own now; None forgets it."""
        ...

    def put_record(self, turn: str, key: bytes, body: bytes) -> None:
        """A turn has this answer, for when it is run again."""
        ...

    def end_turn(self, turn: str) -> None:
        """A turn is over: its records are needed no more."""
        ...

    def put_timer(self, timer: StoredTimer) -> None:
        """A message is to be sent later; of one name only the last counts."""
        ...

    def end_timer(self, name: MessageName) -> None:
        """It was sent, or will not be."""
        ...

    def put_reply(self, address: str, idempotency_key: str, at: float, body: bytes | None) -> None:
        """A message of that key was accepted at the address; or, with ``body``, it was answered."""
        ...

    def end_reply(self, address: str, idempotency_key: str) -> None:
        """Forget a key."""
        ...

    def put_letter(self, letter: StoredLetter) -> None:
        """A message has become a dead letter."""
        ...

    def end_letter(self, letter_id: int) -> None:
        """A dead letter was taken out."""
        ...

    def put_shared(self, key: str, version: int, revision: int, body: bytes | None) -> None:
        """A shared key was written (None: deleted), as the change number ``revision`` of all."""
        ...

    def begin_attempt(self, agent_id: str, name: MessageName) -> int | None:
        """A handler begins to run, which the process may not survive; what to end it with. Costs no sync.

        None if there is no such mail: the message was not accepted for the agent, or has ended.
        """
        ...

    def end_attempt(self, attempt: int) -> None:
        """It has not killed the process."""
        ...

    async def synced(self) -> None:
        """Return when all that was told so far is stored for good.

        Raises:
            BackendFailed: it never will be.
        """
        ...

    def after_sync(self, callback: Callable[[BaseException | None], None]) -> None:
        """Call ``callback(None)`` when all that was told so far is stored for good, or with an error if it never is."""
        ...

    async def caught_up(self) -> None:
        """Return when the journal `is_behind` no more. Raises as `synced`."""
        ...


class Stores(NamedTuple):
    """What a backend brings. ``durable`` is the journal of a durable backend, and what it has stored."""

    dead_letters: DeadLetters
    shared_state: SharedState
    durable: tuple[Journal, Stored] | None = None


class Backend(Protocol):
    """Where a manager keeps its dead letters, its shared state and, if it is durable, everything else."""

    @property
    def dead_letters(self) -> DeadLetters:
        """The store of dead letters."""
        ...

    @property
    def shared_state(self) -> SharedState:
        """The store of shared keys."""
        ...

    async def open(self, failed: Callable[[MootError], None]) -> tuple[Journal, Stored] | None:
        """Begin: the journal and all that it holds; None when this backend keeps nothing.

        ``failed`` is called once if the journal cannot go on. Raises `BackendError` if it cannot begin.
        """
        ...

    async def close(self) -> None:
        """Write what is left and release what is held. May be called twice."""
        ...
