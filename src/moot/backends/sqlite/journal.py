"""The journal on SQLite: what the system tells it gathers in a batch, and batches go to the writer.

The batch in hand is handed over when the step of the event loop that began it has ended
and the writer is free. So a turn is never cut in two, and the order on the disk is the
order in which things happened.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count

from moot.backends.base import StoredLetter, StoredMail, StoredTimer
from moot.backends.errors import BackendError, BackendFailed
from moot.backends.sqlite.batch import Batch
from moot.backends.sqlite.load import Numbers
from moot.backends.sqlite.owner import Owner
from moot.backends.sqlite.unread import UnreadMail
from moot.backends.sqlite.writer import Writer
from moot.errors import MootError
from moot.messaging.message import MessageName

__all__ = ["SqliteJournal"]

_MOST_CHANGES = 20_000
"""So many changes may wait for the writer; then turns do."""


class SqliteJournal:
    """Implements `moot.backends.base.Journal`. ``failed`` is called once, when the writer gives up."""

    def __init__(self, writer: Writer, owner: Owner, numbers: Numbers, failed: Callable[[MootError], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._writer = writer
        writer.done, writer.stalled = self._done, self._stalled
        self._owner = owner
        self._failed = failed
        self._failure: BackendFailed | None = None
        self._agents = numbers.agents
        self._mids: dict[tuple[str, MessageName], int] = {}
        self.unread = UnreadMail(owner.files.path, numbers.unread)
        self._recorded = numbers.turns
        self._next_mid = count(numbers.next_mail).__next__
        self._batch = Batch(numbers.next_batch)
        self._written = numbers.next_batch - 1
        self._under_way: Batch | None = None
        self._flushing = False
        self._held = 0
        self._is_stalled = False
        self._callbacks: deque[tuple[int, Callable[[BaseException | None], None]]] = deque()
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._behind: list[asyncio.Future[None]] = []

    def hold(self) -> None:
        self._held += 1

    def release(self) -> None:
        self._held -= 1

    def put_mail(self, agent_id: str, name: MessageName, body: bytes) -> None:
        mid = self._mids[agent_id, name] = self._next_mid()
        aid = self._agents.get(agent_id) or self._new_agent(agent_id)
        self._changed().mail[mid] = (mid, aid, *name, 0, body)

    def park_mail(self, agent_id: str, name: MessageName, body: bytes) -> None:
        mid = self._next_mid()
        aid = self._agents.get(agent_id) or self._new_agent(agent_id)
        self._changed().mail[mid] = (mid, aid, *name, 0, body)
        self.unread.add(agent_id, mid, len(body))

    def read_mail(self, agent_id: str, before: float | None = None) -> list[StoredMail]:
        pending = [batch.mail for batch in (self._batch, self._under_way) if batch is not None]
        try:
            rows, passed = self.unread.read(agent_id, before, pending)
        except (sqlite3.Error, OSError, BackendError) as error:
            self._give_up(BackendFailed(str(self._owner.files.path), f"mail cannot be read from it ({error})"))
            return []
        if passed is not None:
            self._unmark(agent_id, passed)
        mail = []
        for mid, _, incarnation, sequence, attempts, body in rows:
            name = (incarnation, sequence)
            self._mids[agent_id, name] = mid
            mail.append(StoredMail(name, body, attempts))
        return mail

    def give_back(self, agent_id: str, mail: Sequence[StoredMail]) -> set[MessageName]:
        known = [one for one in mail if (agent_id, one.name) in self._mids]
        mids = [self._mids.pop((agent_id, one.name)) for one in known]
        if mids:
            self.unread.put_back(agent_id, mids, sum(len(one.body) for one in known))
        return {one.name for one in known}

    def mark_unclaimed(self, agent_id: str, at: float) -> None:
        mid = self.unread.mark(agent_id, at)
        if mid is not None:
            self._changed().marks.setdefault((self._agents[agent_id], mid), at)

    def claim(self, agent_id: str) -> None:
        last = self.unread.claim(agent_id)
        if last is not None:
            self._unmark(agent_id, last)

    def end_mail(self, agent_id: str, name: MessageName) -> None:
        mid = self._mids.pop((agent_id, name), None)
        if mid is not None:
            batch = self._changed()
            if batch.mail.pop(mid, None) is None:
                batch.ended.append((mid,))

    def put_state(self, agent_id: str, version: int, body: bytes | None) -> None:
        if body is None and agent_id not in self._agents:
            return  # nothing was ever stored for it
        aid = self._agents.get(agent_id) or self._new_agent(agent_id)
        self._changed().states[aid] = None if body is None else (aid, version, body)

    def put_record(self, turn: str, key: bytes, body: bytes) -> None:
        self._recorded.add(turn)
        records = self._changed().records
        of_turn = records.get(turn)
        if of_turn is None:
            of_turn = records[turn] = {}
        of_turn[key] = body

    def end_turn(self, turn: str) -> None:
        if turn in self._recorded:
            self._recorded.discard(turn)
            batch = self._changed()
            batch.records.pop(turn, None)
            batch.over[turn] = None

    def put_timer(self, timer: StoredTimer) -> None:
        row = (*timer.name, self._agents.get(timer.agent_id) or self._new_agent(timer.agent_id), timer.due, timer.body)
        self._changed().timers[timer.name] = row

    def end_timer(self, name: MessageName) -> None:
        self._changed().timers[name] = None

    def put_reply(self, address: str, idempotency_key: str, at: float, body: bytes | None) -> None:
        self._changed().replies[address, idempotency_key] = (address, idempotency_key, at, body)

    def end_reply(self, address: str, idempotency_key: str) -> None:
        self._changed().replies[address, idempotency_key] = None

    def put_letter(self, letter: StoredLetter) -> None:
        row = (letter.letter_id, self._agents.get(letter.agent_id) or self._new_agent(letter.agent_id), letter.body)
        self._changed().dead[letter.letter_id] = row

    def end_letter(self, letter_id: int) -> None:
        self._changed().dead[letter_id] = None

    def put_shared(self, key: str, version: int, revision: int, body: bytes | None) -> None:
        batch = self._changed()
        batch.shared[key] = (key, version, body)
        batch.shared_log.append((revision, key, version, body))

    def begin_attempt(self, agent_id: str, name: MessageName) -> int | None:
        mid = self._mids.get((agent_id, name))
        return None if mid is None else self._owner.begin(mid)

    def end_attempt(self, attempt: int) -> None:
        self._owner.end(attempt)

    @property
    def is_behind(self) -> bool:
        return self._failure is None and (self._is_stalled or self._batch.changes >= _MOST_CHANGES)

    async def synced(self) -> None:
        if self._failure is not None:
            raise self._failure
        if (last := self._last()) > self._written:
            waiter = self._loop.create_future()
            self._waiters.append((last, waiter))
            await waiter

    def after_sync(self, callback: Callable[[BaseException | None], None]) -> None:
        if self._failure is None and (last := self._last()) > self._written:
            self._callbacks.append((last, callback))
        else:
            callback(self._failure)

    async def caught_up(self) -> None:
        while self.is_behind and self._failure is None:
            waiter = self._loop.create_future()
            self._behind.append(waiter)
            await waiter
        if self._failure is not None:
            raise self._failure

    def disown(self, error: BackendFailed) -> None:
        """This is a copy in a forked process: keep nothing any more."""
        self._failure = error

    def flush(self) -> None:
        """Hand over what has gathered, whether the writer is free or not."""
        if self._held:
            self._give_up(BackendFailed(str(self._owner.path), "the program was interrupted in the middle of a turn"))
        if self._batch.changes and self._failure is None:
            batch, self._batch = self._batch, Batch(self._batch.number + 1)
            self._under_way = batch
            self._writer.submit(batch)

    def _unmark(self, agent_id: str, last: int) -> None:
        aid, batch = self._agents[agent_id], self._changed()
        batch.marks = {(agent, mid): at for (agent, mid), at in batch.marks.items() if agent != aid or mid > last}
        batch.claimed.append((aid, last))

    def _new_agent(self, agent_id: str) -> int:
        aid = self._agents[agent_id] = len(self._agents) + 1
        self._batch.agents.append((aid, agent_id))
        return aid

    def _changed(self) -> Batch:
        """The batch in hand, of which something is to be changed."""
        batch = self._batch
        batch.changes += 1
        if not self._flushing and self._under_way is None:
            self._flushing = True
            self._loop.call_soon(self._flush)
        return batch

    def _flush(self) -> None:
        self._flushing = False
        if self._under_way is None:
            self.flush()

    def _last(self) -> int:
        """The number of the last batch that holds anything."""
        return self._batch.number if self._batch.changes else self._batch.number - 1

    def _done(self, batch: Batch, error: BackendFailed | None) -> None:
        """A batch is on the disk, or never will be."""
        if error is not None:
            self._give_up(error)
            return
        self._written = batch.number
        self._owner.acknowledge(batch.number)
        self._is_stalled = False
        if self._under_way is batch:
            self._under_way = None
            self.flush()
        while self._callbacks and self._callbacks[0][0] <= batch.number:
            self._callbacks.popleft()[1](None)
        while self._waiters and self._waiters[0][0] <= batch.number:
            _wake(self._waiters.popleft()[1])
        if self._behind:
            self._wake_turns()

    def _stalled(self, error: BaseException) -> None:
        """A batch cannot be written now."""
        self._is_stalled = self._failure is None

    def _give_up(self, error: BackendFailed) -> None:
        if self._failure is not None:
            return
        self._failure = error
        self._is_stalled = False
        callbacks, self._callbacks = self._callbacks, deque()
        for _, callback in callbacks:
            callback(error)
        for _, waiter in self._waiters:
            _wake(waiter, error)
        self._waiters.clear()
        self._wake_turns()
        self._failed(error)

    def _wake_turns(self) -> None:
        if not self.is_behind:
            waiters, self._behind = self._behind, []
            for waiter in waiters:
                _wake(waiter)


def _wake(waiter: asyncio.Future[None], error: BaseException | None = None) -> None:
    if waiter.done():
        return
    if error is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(error)
