"""A durable backend without a disk, whose power can fail: what is not synced by then is gone.

It keeps an image of what a disk would hold. What the journal is told gathers in a batch,
a batch takes a while to be synced, which the seed decides, and then it is in the image. So
each of a system's acknowledgements can be tested against the worst moment for a failure,
on a virtual clock, by the thousand: see `Lives`.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy

from moot.backends.base import Stored, StoredLetter, StoredMail, StoredTimer, Unread
from moot.backends.errors import BackendBusy, BackendFailed
from moot.errors import MootError
from moot.messaging.dead_letters import DeadLetters
from moot.messaging.message import MessageName
from moot.state import InMemorySharedState
from moot.testing.simulation.image import Image, put, remove_mail

__all__ = ["SimulatedBackend"]


_Change = Callable[[Image], None]

_LONGEST_PAGE = 4

_SLOWEST_SYNC = 0.02


class SimulatedBackend:
    """Implements `moot.backends.base.Backend`. One object is one disk: it can be opened again after `fail`."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(f"{seed}:disk")
        self._image = Image(run=0)
        self._attempts: dict[tuple[str, MessageName], int] = {}
        self._journal: _Journal | None = None
        self._begin()

    def _begin(self) -> None:
        """New stores, for the manager that comes next: each takes those that are there when it is made."""
        self.dead_letters = DeadLetters()
        self.shared_state = InMemorySharedState()

    @property
    def image(self) -> Image:
        """What is on the disk."""
        return self._image

    async def open(self, failed: Callable[[MootError], None]) -> tuple[_Journal, Stored]:
        """See `moot.backends.base.Backend.open`."""
        if self._journal is not None:
            raise BackendBusy("the simulated disk", "another manager of this test")
        self._image.run += 1
        stored = deepcopy(self._image)
        for (agent_id, name), count in self._attempts.items():
            stored.mail[agent_id] = [
                StoredMail(mail.name, mail.body, count) if mail.name == name else mail
                for mail in stored.mail.get(agent_id, [])
            ]
        self._journal = _Journal(self._image, self._attempts, self._random, stored)
        self.shared_state.attach(self._journal, stored)
        return self._journal, stored

    def fail(self) -> None:
        """The power fails: what is not synced is gone, and what the system still says is not heard."""
        if self._journal is not None:
            self._journal.fail()
            self._journal = None
            self._begin()

    async def close(self) -> None:
        """Sync what is left."""
        journal, self._journal = self._journal, None
        if journal is not None:
            await journal.synced()
            journal.count_attempts()
            self._begin()


class _Journal:
    """Implements `moot.backends.base.Journal`."""

    is_behind = False

    def __init__(
        self,
        image: Image,
        attempts: dict[tuple[str, MessageName], int],
        choice: random.Random,
        stored: Image,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._image = image
        self._attempts = attempts
        self._random = choice
        names = [(agent_id, mail.name) for agent_id, mails in stored.mail.items() for mail in mails]
        self._mail = set(names)
        self._order = {name: number for number, name in enumerate(names)}
        self._unread = {agent_id: mails for agent_id, mails in stored.mail.items() if mails}
        self._marks = stored.marks
        self._running: dict[int, tuple[str, MessageName]] = {}
        self._batch: list[_Change] = []
        self._told = 0
        self._synced = 0
        self._timer: asyncio.TimerHandle | None = None
        self._has_failed = False
        self._held = 0
        self._waiting: deque[tuple[int, Callable[[BaseException | None], None]]] = deque()

    def hold(self) -> None:
        self._held += 1

    def release(self) -> None:
        self._held -= 1

    def put_mail(self, agent_id: str, name: MessageName, body: bytes) -> None:
        self._mail.add((agent_id, name))
        self._order[agent_id, name] = len(self._order)
        self._tell(lambda stored: stored.mail.setdefault(agent_id, []).append(StoredMail(name, body)))

    def park_mail(self, agent_id: str, name: MessageName, body: bytes) -> None:
        self.put_mail(agent_id, name, body)
        self._unread.setdefault(agent_id, []).append(StoredMail(name, body))

    @property
    def unread(self) -> Mapping[str, Unread]:
        return {agent_id: self._unread_of(agent_id, mails) for agent_id, mails in self._unread.items()}

    def _unread_of(self, agent_id: str, mails: list[StoredMail]) -> Unread:
        times = self._marks.get(agent_id, {}).values()
        size = sum(len(mail.body) for mail in mails)
        return Unread(len(mails), size, min(times, default=None), max(times, default=None))

    def read_mail(self, agent_id: str, before: float | None = None) -> list[StoredMail]:
        mails = self._unread.get(agent_id, [])
        marks = self._marks.get(agent_id, {})
        page = mails[: self._random.randint(1, _LONGEST_PAGE)]
        if before is not None:
            marked = [number for number, mail in enumerate(mails, 1) if marks.get(mail.name, before + 1) <= before]
            page = page[: max(marked, default=0)]
        del mails[: len(page)]
        if not mails:
            self._unread.pop(agent_id, None)
        for mail in page:
            marks.pop(mail.name, None)
        self._tell(lambda stored: stored.marks.update({agent_id: dict(marks)}))
        return page

    def give_back(self, agent_id: str, mail: Sequence[StoredMail]) -> set[MessageName]:
        known = [one for one in mail if (agent_id, one.name) in self._mail]
        if known:
            again = [*known, *self._unread.get(agent_id, [])]
            self._unread[agent_id] = sorted(again, key=lambda one: self._order[agent_id, one.name])
        return {one.name for one in known}

    def mark_unclaimed(self, agent_id: str, at: float) -> None:
        marks = self._marks.setdefault(agent_id, {})
        for mail in self._unread.get(agent_id, []):
            marks.setdefault(mail.name, at)
        kept = dict(marks)
        self._tell(lambda stored: stored.marks.update({agent_id: kept}))

    def claim(self, agent_id: str) -> None:
        self._marks.pop(agent_id, None)
        self._tell(lambda stored: put(stored.marks, agent_id, None))

    def end_mail(self, agent_id: str, name: MessageName) -> None:
        if (agent_id, name) in self._mail:
            self._mail.discard((agent_id, name))
            self._tell(lambda stored: remove_mail(stored, agent_id, name))

    def put_state(self, agent_id: str, version: int, body: bytes | None) -> None:
        self._tell(lambda stored: put(stored.states, agent_id, None if body is None else (version, body)))

    def put_record(self, turn: str, key: bytes, body: bytes) -> None:
        self._tell(lambda stored: stored.records.setdefault(turn, {}).update({key: body}))

    def end_turn(self, turn: str) -> None:
        self._tell(lambda stored: put(stored.records, turn, None))

    def put_timer(self, timer: StoredTimer) -> None:
        self.end_timer(timer.name)
        self._tell(lambda stored: stored.timers.append(timer))

    def end_timer(self, name: MessageName) -> None:
        self._tell(
            lambda stored: stored.timers.__setitem__(slice(None), [one for one in stored.timers if one.name != name])
        )

    def put_reply(self, address: str, idempotency_key: str, at: float, body: bytes | None) -> None:
        self._tell(lambda stored: stored.replies.update({(address, idempotency_key): (at, body)}))

    def end_reply(self, address: str, idempotency_key: str) -> None:
        self._tell(lambda stored: put(stored.replies, (address, idempotency_key), None))

    def put_letter(self, letter: StoredLetter) -> None:
        self.end_letter(letter.letter_id)
        self._tell(lambda stored: stored.letters.append(letter))

    def end_letter(self, letter_id: int) -> None:
        self._tell(
            lambda stored: stored.letters.__setitem__(
                slice(None), [one for one in stored.letters if one.letter_id != letter_id]
            )
        )

    def put_shared(self, key: str, version: int, revision: int, body: bytes | None) -> None:
        self._tell(lambda stored: stored.shared.update({key: (version, body)}))
        self._tell(lambda stored: stored.changes.append((revision, key, version, body)))

    def begin_attempt(self, agent_id: str, name: MessageName) -> int | None:
        if (agent_id, name) not in self._mail:
            return None
        number = len(self._running) + 1
        while number in self._running:
            number += 1
        self._running[number] = agent_id, name
        return number

    def end_attempt(self, attempt: int) -> None:
        self._running.pop(attempt, None)

    async def synced(self) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        self.after_sync(lambda lost: _end(waiter, lost))
        await waiter

    def after_sync(self, callback: Callable[[BaseException | None], None]) -> None:
        if self._has_failed:
            callback(_POWER)
        elif self._told == self._synced:
            callback(None)
        else:
            self._waiting.append((self._told, callback))

    async def caught_up(self) -> None:
        """It is never behind."""

    def fail(self) -> None:
        """The power fails."""
        if self._timer is not None:
            self._timer.cancel()
        self.count_attempts()
        self._has_failed = True
        waiting, self._waiting = self._waiting, deque()
        for _, callback in waiting:
            callback(_POWER)

    def count_attempts(self) -> None:
        """Whatever is said to be running now will not end."""
        for mail in self._running.values():
            self._attempts[mail] = self._attempts.get(mail, 0) + 1

    def _tell(self, change: _Change) -> None:
        if self._has_failed:
            return
        self._told += 1
        self._batch.append(change)
        if self._timer is None:
            self._timer = self._loop.call_later(self._random.uniform(0, _SLOWEST_SYNC), self._sync)

    def _sync(self) -> None:
        """What was told until the sync began is on the disk; what was told since needs another."""
        if self._held:
            self.fail()
            return
        for change in self._batch:
            change(self._image)
        self._batch.clear()
        self._synced = self._told
        self._timer = None
        while self._waiting and self._waiting[0][0] <= self._synced:
            self._waiting.popleft()[1](None)


_POWER = BackendFailed("the simulated disk", "its power has failed")


def _end(waiter: asyncio.Future[None], lost: BaseException | None) -> None:
    if not waiter.done():
        if lost is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(lost)
