"""Records: what a turn was answered, so that a run again asks nobody twice.

A turn that fails is rolled back and run anew, but the agents and engines it asked have done their work. So answers are
recorded by their content: kind, target, a digest of the request, and its occurrence. Only successes are recorded.
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
    """The effect or branch that a task is in, and of which turn. Tasks that are begun in it are in it, too."""

    turn: object
    scope: str


INSIDE: ContextVar[_Inside | None] = ContextVar("moot_inside", default=None)
"""The effect or branch that the present task is in."""


class Records(msgspec.Struct, eq=False):
    """What a turn keeps over all its runs.

    ``made`` are the recorded answers, four items each: kind, target, request, answer; flat, so that the collector need
    not look at each. ``conflicts`` counts how often the turn lost a race for shared state. ``last`` is the key of what
    `find` looked for last, where records have one.
    """

    made: list[Any] = []
    conflicts: int = 0
    is_rerun: bool = False
    last: bytes = b""
    _token: object = msgspec.field(default_factory=object)  # stands for the turn; a task that outlives it keeps no more
    _users: dict[tuple[str, str], asyncio.Task[Any] | None] = {}  # who is in an effect or a branch of a name
    _pins: dict[str, list[str]] = {}
    _under_way: dict[str, asyncio.Future[Any]] = {}
    _answers: dict[_Key, Any] = {}
    _asked: dict[tuple[str, str, bytes], int] = {}

    def note(self, kind: str, target: str, request: object, answer: Any) -> None:
        """Keep a successful answer."""
        self.made += (kind + self.scope, target, request, answer)

    @property
    def scope(self) -> str:
        """The effect or branch of this turn that the present task is in, with a slash; nothing outside of any."""
        inside = INSIDE.get()
        return inside.scope if inside is not None and inside.turn is self._token else ""

    @contextmanager
    def inside(self, scope: str) -> Iterator[None]:
        """What is asked for in the block, and by tasks that are begun in it, is recorded as part of ``scope``."""
        outer = INSIDE.set(_Inside(self._token, f"{scope}/"))
        try:
            yield
        finally:
            with suppress(ValueError):  # a generator that holds the block may be closed from anywhere
                INSIDE.reset(outer)

    @contextmanager
    def branch(self, name: str) -> Iterator[None]:
        """As `inside`, of the next occurrence of a branch in this run."""
        name = self.scope + name
        with self.occurrence("branch", name) as number, self.inside(f"{name}@{number}"):
            yield

    async def keep(self, key: bytes, kind: str, target: str, request: object, answer: Any) -> None:
        """As `note`; returns when it outlives whatever these records outlive. ``key`` is the `last` of its `find`."""
        self.note(kind, target, request, answer)

    async def settled(self) -> None:
        """Return when all that led to this turn is stored as these records are: something is to leave the process."""

    async def once(self, kind: str, target: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """The result of ``call()``, stored when it succeeds; or of one that an earlier run has left under way."""
        key, under_way = self.last, self._under_way
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
            if under_way is self._under_way:  # else it was forgotten meanwhile
                await self.keep(key, kind, target, None, result)
                if self.is_rerun:  # another run may have begun meanwhile, and not have come to it yet
                    self._answers[kind + self.scope, target, digest(None), 0] = result
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
        """Whom an earlier run asked at this occurrence of a capability address. Each call is the next occurrence."""
        address = self.scope + address
        occurrence = self._next_occurrence(("pin", address, b""))
        chosen = self._pins.get(address, ())
        return chosen[occurrence] if occurrence < len(chosen) else None

    def pin(self, address: str, agent_id: str) -> None:
        """Keep whom the present occurrence of a capability address went to."""
        address = self.scope + address
        occurrence = self._asked["pin", address, b""] - 1
        self._pins.setdefault(address, [])[occurrence : occurrence + 1] = [agent_id]

    def rerun(self) -> None:
        """The turn begins again: what was recorded so far may be found."""
        occurrences: Counter[tuple[str, str, bytes]] = Counter()
        self.is_rerun = True
        self._answers.clear()
        made = iter(self.made)
        for kind, target, request, answer in zip(made, made, made, made, strict=True):
            key = (kind, target, digest(request))
            self._answers.setdefault((*key, occurrences[key]), answer)
            occurrences[key] += 1
        self._asked.clear()
        self._users = {}

    def forget(self) -> None:
        """Let the next run ask for everything anew, also for what is under way."""
        self._under_way = {}
        self.made.clear()
        self.rerun()

    def find(self, kind: str, target: str, request: object, type: Any = Any) -> tuple[bool, Any]:
        """Whether the answer to this occurrence of the request is known, and the answer, which is a ``type``."""
        if not self._answers:
            return False, None
        key = (kind + self.scope, target, digest(request))
        answer = self._answers.get((*key, self._next_occurrence(key)), NOTHING)
        return (False, None) if answer is NOTHING else (True, answer)

    @contextmanager
    def occurrence(self, kind: str, name: str) -> Iterator[int]:
        """Which occurrence of an effect or branch in this run this is, from 1; in the block it is this task's.

        Raises:
            RuntimeError: it is another task's, and a run again, in which the other may come first, would give each the
                records of the other.
        """
        task, users = _present_task(), self._users
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
        occurrence = self._asked.get(key, 0)
        self._asked[key] = occurrence + 1
        return occurrence


def _present_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # there is no loop: in a test, or in a thread
        return None


def digest(request: object) -> bytes:
    """A digest of a request by its content; requests that cannot be encoded are told apart by their ``repr``.

    A structure and the map of its fields, which it has become in another life of the process, have the same.
    """
    import hashlib  # only a turn that is run again needs it

    return hashlib.blake2b(_encoded(request), digest_size=16).digest()


def _encoded(request: object) -> bytes:
    for order in ("sorted", None):  # (keys that are no texts cannot be sorted)
        with suppress(TypeError, ValueError, OverflowError, RecursionError):
            return msgspec.msgpack.encode(request, order=order)
    return repr(request).encode()
