"""Records: the answers that a turn got, so that its next run asks nobody twice.

A failed turn is rolled back and run again, but the agents and engines that it asked have done
their work. So answers are recorded by content: kind, target, a digest of the request, and its
occurrence. Only successes are recorded.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, NamedTuple

import msgspec

__all__ = ["INSIDE", "NOTHING", "Records", "digest"]


NOTHING: Any = object()
"""Stands for "no value", where None is one."""

_Key = tuple[str, str, bytes, int]


class _Inside(NamedTuple):
    """The turn of a task, and the effect or branch in which it is. Tasks begun in it are in it, too."""

    turn: object
    scope: str


INSIDE: ContextVar[_Inside | None] = ContextVar("moot_inside", default=None)
"""The effect or branch that the present task is in."""


class _Ledger(msgspec.Struct, eq=False):
    """What records hold of effects and branches, and of earlier runs.

    ``token`` stands for the turn; a task that outlives it keeps no more. ``users`` has the task in an effect or a
    branch, by kind and name. ``pins`` has the agents to which an address went, ``under_way`` the effects that are not
    over, and ``answers`` those of earlier runs. ``asked`` counts the occurrences in this run.
    """

    token: object = msgspec.field(default_factory=object)
    users: dict[tuple[str, str], asyncio.Task[Any] | None] = {}
    pins: dict[str, list[str]] = {}
    under_way: dict[str, asyncio.Future[Any]] = {}
    answers: dict[_Key, Any] = {}
    asked: dict[tuple[str, str, bytes], int] = {}


class Records(msgspec.Struct, eq=False):
    """What a turn keeps over all its runs.

    ``made`` are the recorded answers, four items each: kind, target, request, answer. The list is flat, so that the
    garbage collector need not look at each answer. ``conflicts`` counts how often the turn lost a race for shared
    state. ``last`` is the key of the last `find`, where records have keys.
    """

    made: list[Any] = []
    conflicts: int = 0
    is_rerun: bool = False
    last: bytes = b""
    _opened: _Ledger | None = None

    @property
    def _ledger(self) -> _Ledger:
        """What most turns never need: they ask, and are not run again."""
        ledger = self._opened
        if ledger is None:
            ledger = self._opened = _Ledger()
        return ledger

    def note(self, kind: str, target: str, request: object, answer: Any) -> None:
        """Keep a successful answer."""
        self.made += (kind + self.scope, target, request, answer)

    @property
    def scope(self) -> str:
        """The effect or branch of this turn in which the present task is, with a slash; empty if it is in none."""
        inside = INSIDE.get()
        return inside.scope if inside is not None and inside.turn is self._ledger.token else ""

    @contextmanager
    def inside(self, scope: str) -> Iterator[None]:
        """Record the requests of the block, and of tasks begun in it, as part of ``scope``."""
        outer = INSIDE.set(_Inside(self._ledger.token, f"{scope}/"))
        try:
            yield
        finally:
            with suppress(ValueError):  # a generator that holds the block may be closed from anywhere
                INSIDE.reset(outer)

    @contextmanager
    def branch(self, name: str) -> Iterator[None]:
        """As `inside`, for the next occurrence of a branch in this run."""
        name = self.scope + name
        with self.occurrence("branch", name) as number, self.inside(f"{name}@{number}"):
            yield

    async def keep(self, key: bytes, kind: str, target: str, request: object, answer: Any) -> None:
        """As `note`, and return when the answer is stored as safely as these records are.

        ``key`` is the `last` of the `find` that found nothing.
        """
        self.note(kind, target, request, answer)

    async def settled(self) -> None:
        """Return when all that led to this turn is stored as safely as these records are.

        It is awaited before something leaves the process.
        """

    async def once(self, kind: str, target: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """The result of ``call()``, recorded when it succeeds.

        If an earlier run has left the same call under way, the result is that of the earlier call.
        """
        key, under_way = self.last, self._ledger.under_way
        while (earlier := under_way.get(target)) is not None:
            await asyncio.wait({earlier})
            if (
                not earlier.cancelled() and earlier.exception() is None
            ):  # (it may have failed because its turn was over)
                return earlier.result()
        future = under_way[target] = asyncio.get_running_loop().create_future()
        try:
            await self.settled()
            result = await call()
            if under_way is self._ledger.under_way:  # else it was forgotten meanwhile
                await self.keep(key, kind, target, None, result)
                if self.is_rerun:  # another run may have begun meanwhile, and not have come to it yet
                    self._ledger.answers[kind + self.scope, target, digest(None), 0] = result
        except asyncio.CancelledError:
            future.cancel()
            raise
        except BaseException as error:
            future.set_exception(error)
            future.exception()  # nobody else may want to know
            raise
        finally:
            del under_way[target]
        future.set_result(result)
        return result

    def pinned(self, address: str) -> str | None:
        """The agent that an earlier run asked at this occurrence of an address. Each call is the next occurrence."""
        address = self.scope + address
        occurrence = self._next_occurrence(("pin", address, b""))
        chosen = self._ledger.pins.get(address, ())
        return chosen[occurrence] if occurrence < len(chosen) else None

    def pin(self, address: str, agent_id: str) -> None:
        """Keep the agent to which the present occurrence of an address went."""
        address = self.scope + address
        occurrence = self._ledger.asked["pin", address, b""] - 1
        self._ledger.pins.setdefault(address, [])[occurrence : occurrence + 1] = [agent_id]

    def rerun(self) -> None:
        """Begin another run of the turn, in which the records made so far are found."""
        occurrences: Counter[tuple[str, str, bytes]] = Counter()
        self.is_rerun = True
        self._ledger.answers.clear()
        made = iter(self.made)
        for kind, target, request, answer in zip(made, made, made, made, strict=True):
            key = (kind, target, digest(request))
            self._ledger.answers.setdefault((*key, occurrences[key]), answer)
            occurrences[key] += 1
        self._ledger.asked.clear()
        self._ledger.users = {}

    def forget(self) -> None:
        """Let the next run ask for everything anew, also for calls that are under way."""
        self._ledger.under_way = {}
        self.made.clear()
        self.rerun()

    def find(self, kind: str, target: str, request: object, type: Any = Any) -> tuple[bool, Any]:
        """Whether the answer to this occurrence of the request is recorded, and the answer, as a ``type``."""
        if self._opened is None or not self._opened.answers:
            return False, None
        key = (kind + self.scope, target, digest(request))
        answer = self._ledger.answers.get((*key, self._next_occurrence(key)), NOTHING)
        return (False, None) if answer is NOTHING else (True, answer)

    @contextmanager
    def occurrence(self, kind: str, name: str) -> Iterator[int]:
        """The number of this occurrence of an effect or branch in this run, from 1. The block belongs to this task.

        Raises:
            RuntimeError: another task is in the same effect or branch. In the next run that task may come first, and
            each would get the records of the other.
        """
        task, users = _present_task(), self._ledger.users
        if users.setdefault((kind, name), task) is not task:
            raise RuntimeError(
                f"two tasks of one turn are in the {kind} {name!r} at once, and a run again could take the one for the "
                "other; begin each in a branch of its own: with ctx.branch('its name'): group.create_task(…)"
            )
        try:
            yield self._next_occurrence((kind, name, b"")) + 1
        finally:
            users.pop((kind, name), None)

    def _next_occurrence(self, key: tuple[str, str, bytes]) -> int:
        occurrence = self._ledger.asked.get(key, 0)
        self._ledger.asked[key] = occurrence + 1
        return occurrence


def _present_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # there is no loop: in a test, or in a thread
        return None


def digest(request: object) -> bytes:
    """A digest of a request by its content. Requests that cannot be encoded are told apart by their ``repr``.

    A structure has the same digest as the map of its fields, because it comes back as a map in another life of the
    process.
    """
    import hashlib  # only a turn that is run again needs it

    return hashlib.blake2b(_encoded(request), digest_size=16).digest()


def _encoded(request: object) -> bytes:
    for order in ("sorted", None):  # (keys that are no texts cannot be sorted)
        with suppress(TypeError, ValueError, OverflowError, RecursionError):
            return msgspec.msgpack.encode(request, order=order)
    return repr(request).encode()
