"""What one turn collects, and what it keeps while it is run again.

The *effects* of a turn are all that its handler did through its context: they take
effect together, or are dropped. They are made when the first of them is collected,
so that a handler without any pays for none.

*Records* outlive a run. A turn that fails is rolled back and run anew, but the agents and engines it asked
have done their work. So answers are recorded by their content: kind, target, a
digest of the request, and its occurrence. A re-run turn finds what it asks for
again, in whatever order, and asks anew for what differs. Only successes are
recorded. The first run, which most turns never repeat, pays no digest for it.
What is asked for inside an effect is counted apart: a run that finds the effect
recorded does not ask for it, and would mistake the same request after it for the first.
So is what a branch asks for, since branches of a turn may take turns differently in each run.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from moot.message import AgentMessage

if TYPE_CHECKING:
    import random

    from moot.asks import Ask
    from moot.message import ReplyTo
    from moot.state import Transaction

__all__ = ["NOTHING", "Effects", "Records", "Timer", "digest"]

NOTHING: Any = object()
"""Stands for "no value", where None is one."""

_Key = tuple[str, str, bytes, int]


class Timer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message that is sent ``delay`` seconds after its turn, and then ``every`` so many seconds if that is not 0.

    ``missed`` says what becomes of it if it came due while the process was down: it is sent ``once``, however late;
    not at all (``skip``); or, if it repeats, as often as it came due (``all``).
    """

    delay: float
    message: AgentMessage
    every: float = 0.0
    missed: Literal["once", "skip", "all"] = "once"
    name: str | None = None


class Effects(msgspec.Struct, eq=False):
    """What the handler of a turn did through its context, and what it was told that stays the same for the turn."""

    outputs: list[AgentMessage] = []
    asks: dict[Ask[Any], None] = {}
    answers: tuple[tuple[ReplyTo, Any], ...] = ()
    timers: tuple[Timer | str, ...] = ()
    """Those that are set, and the names of those that are cancelled, in order."""
    topics: tuple[tuple[str, bool], ...] = ()
    children: tuple[str, ...] = ()
    watches: tuple[tuple[str, bool], ...] = ()
    stops: bool = False
    answer: Any = NOTHING
    state: Any = NOTHING
    transaction: Transaction | None = None
    is_deferred: bool = False
    now: float | None = None
    random: random.Random | None = None

    @property
    def scheduled(self) -> list[Timer]:
        """The timers that are set."""
        return [timer for timer in self.timers if not isinstance(timer, str)]

    def answer_or(self, returned: Any) -> Any:
        """The answer to this turn's ask: what ``ctx.reply`` was given, else what the handler returned.

        `NOTHING` when the answer was deferred.
        """
        if self.answer is not NOTHING:
            return self.answer
        return NOTHING if self.is_deferred else returned


class _Inside:
    """The effect or branch that a task is in, and whose."""

    __slots__ = ("records", "scope")

    def __init__(self, records: Records, scope: str) -> None:
        self.records: Records | None = records  # (tasks begun meanwhile, also those of others, copy the context)
        self.scope = scope


_inside: ContextVar[_Inside | None] = ContextVar("moot_inside", default=None)


class Records:
    """What a turn keeps over all its runs.

    ``made`` are the recorded answers, four items each: kind, target, request, answer. Besides, whom its capability
    addresses were pinned to, and how often it lost a race for shared state.
    """

    __slots__ = ("_answers", "_asked", "_pins", "_under_way", "conflicts", "is_rerun", "last", "made", "scopes")

    def __init__(self) -> None:
        self.is_rerun = False
        self.scopes = 0  # how many effects and branches are under way
        self.conflicts = 0
        self.last = b""  # the key of what `find` looked for last, where records have one
        self._pins: dict[str, list[str]] = {}
        self.made: list[Any] = []  # flat, four items a record: the collector need not look at each
        self._under_way: dict[str, asyncio.Future[Any]] = {}
        self._answers: dict[_Key, Any] = {}
        self._asked: dict[tuple[str, str, bytes], int] = {}

    def note(self, kind: str, target: str, request: object, answer: Any) -> None:
        """Keep a successful answer."""
        self.made += (kind + self.scope, target, request, answer)

    @property
    def scope(self) -> str:
        """The effect or branch of this turn that the present task is in, with a slash; nothing outside of any."""
        inside = _inside.get() if self.scopes else None
        return inside.scope if inside is not None and inside.records is self else ""

    @contextmanager
    def inside(self, scope: str) -> Iterator[None]:
        """What is asked for in the block is recorded as part of ``scope``, an effect or a branch of this turn."""
        self.scopes += 1
        own = _Inside(self, f"{scope}/")
        outer = _inside.set(own)
        try:
            yield
        finally:
            self.scopes -= 1
            own.records = None
            _inside.reset(outer)

    def branch(self, name: str, about: object) -> AbstractContextManager[None]:
        """As `inside`, of a branch of that name, which is told apart by what it is ``about`` if that can be encoded."""
        try:
            name = f"{self.scope}{name} {_digest(about, 6).hex()}"
        except _NOT_ENCODED:
            name = f"{self.scope}{name}"
        return self.inside(f"{name}#{self.occurrence('branch', name)}")

    async def keep(self, key: bytes, kind: str, target: str, request: object, answer: Any) -> None:
        """As `note`; returns when it outlives whatever these records outlive. ``key`` is the `last` of its `find`."""
        self.note(kind, target, request, answer)

    async def settled(self) -> None:
        """Return when all that led to this turn is kept as these records are: something is to leave the process."""

    async def once(self, kind: str, target: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """The result of ``call()``, kept when it succeeds; or of one that an earlier run has left under way."""
        key = self.last
        while (under_way := self._under_way.get(target)) is not None:
            await asyncio.wait({under_way})
            if not under_way.cancelled():
                return under_way.result()
        future = self._under_way[target] = asyncio.get_running_loop().create_future()
        try:
            await self.settled()
            result = await call()
            await self.keep(key, kind, target, None, result)
        except asyncio.CancelledError:
            future.cancel()
            raise
        except BaseException as error:
            future.set_exception(error)
            future.exception()  # nobody else may want to know
            raise
        finally:
            del self._under_way[target]
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

    def forget(self) -> None:
        """Let the next run ask for everything anew."""
        self.made.clear()
        self.rerun()

    def find(self, kind: str, target: str, request: object, type: Any = Any) -> tuple[bool, Any]:
        """Whether the answer to this occurrence of the request is known, and the answer, which is a ``type``."""
        if not self._answers:
            return False, None
        key = (kind + self.scope, target, digest(request))
        answer = self._answers.get((*key, self._next_occurrence(key)), NOTHING)
        return (False, None) if answer is NOTHING else (True, answer)

    def occurrence(self, kind: str, name: str) -> int:
        """Which occurrence of ``name`` in this run this is, from 1."""
        return self._next_occurrence((kind, name, b"")) + 1

    def _next_occurrence(self, key: tuple[str, str, bytes]) -> int:
        occurrence = self._asked.get(key, 0)
        self._asked[key] = occurrence + 1
        return occurrence


def digest(request: object) -> bytes:
    """A digest of a request by its content; requests that cannot be encoded are told apart by their ``repr``."""
    try:
        return _digest(request, 16)
    except _NOT_ENCODED:
        return _digest(repr(request), 16)


_NOT_ENCODED = (TypeError, ValueError, OverflowError, RecursionError)


def _digest(value: object, size: int) -> bytes:
    data = msgspec.msgpack.encode(value, order="deterministic")
    import hashlib  # a turn that is not run again seldom needs it

    return hashlib.blake2b(data, digest_size=size).digest()
