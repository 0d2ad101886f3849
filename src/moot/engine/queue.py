"""The admission queue: one per engine, before its slots.

Agents are many and slots are few. Requests wait here, ordered by priority and
arrival, and enter only when a slot is free, so that an engine is never handed
more than it works on and a waiting request can still be cancelled for nothing.
When the engine says "not now" (429, Retry-After), admission pauses and the
request goes back to its old place. Waiting is counted apart from engine time,
and an agent that waits for another agent holds no slot. An engine that fails again
and again is left alone for a while: requests then fail at once (`moot.resilience.breaker`).
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncGenerator, AsyncIterator

import msgspec

from moot.clock import Clock
from moot.engine.base import Completion, CompletionChunk, Engine, EngineFront, EngineRequest, Usage
from moot.engine.deadline import RunningLoopClock, before_deadline
from moot.engine.errors import EngineBreakerOpen, EngineCrashed, EngineError, EngineUnavailable
from moot.policies import BreakerPolicy
from moot.resilience.breaker import Breaker, BreakerState

__all__ = ["AdmissionQueue", "QueueStats"]

_BREAKER = BreakerPolicy()
_Waiter = tuple[int, int, asyncio.Future[None]]


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    """What the queue has seen. Times are seconds of its clock.

    ``waiting_seconds`` and ``engine_seconds`` sum over requests; ``busy_seconds`` is the time in
    which at least one request was in the engine.
    """

    waiting: int = 0
    running: int = 0
    requests: int = 0
    failures: int = 0
    usage: Usage = Usage()
    waiting_seconds: float = 0.0
    engine_seconds: float = 0.0
    busy_seconds: float = 0.0
    breaker: BreakerState = "closed"


class _Admission:
    """One request inside the engine: whether it is being answered, and the breaker's round that it belongs to."""

    __slots__ = ("breaker_round", "is_answered")

    def __init__(self) -> None:
        self.breaker_round: int | None = None
        self.is_answered = False


class AdmissionQueue(EngineFront):
    """An `Engine` that lets at most ``engine.slots`` requests into ``engine`` at once.

    ``attempts`` bounds how often a request is handed in again after the engine asked for patience;
    an answer that has begun to stream is never asked for again. ``breaker`` says after how many failures in a row the
    engine is left alone, and for how long; None never does. Only what may pass counts as a failure: `EngineError` that
    is ``retryable``, once patience is over; not a refusal, a deadline, a cancellation. A crash
    counts once, however many requests it costs.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Clock | None = None,
        attempts: int = 3,
        breaker: BreakerPolicy | None = _BREAKER,
    ) -> None:
        super().__init__(engine)
        self._breaker = Breaker(breaker, f"of engine {engine.name!r}") if breaker is not None else None
        self._clock = clock if clock is not None else RunningLoopClock()
        self._attempts = attempts
        self._last_failure = ""
        self._last_crash: int | None = None
        self._tickets = itertools.count()
        self._waiters: list[_Waiter] = []
        self._running = 0
        self._resume: asyncio.TimerHandle | None = None
        self._closed = False
        self._requests = self._failures = 0
        self._usage = Usage()
        self._waiting_seconds = self._engine_seconds = self._busy_seconds = 0.0
        self._busy_since = 0.0

    @property
    def is_paused(self) -> bool:
        """Whether admission waits because the engine asked for it."""
        return self._resume is not None

    def stats(self) -> QueueStats:
        """The counters of this moment."""
        return QueueStats(
            waiting=len(self._waiters),
            running=self._running,
            requests=self._requests,
            failures=self._failures,
            usage=self._usage,
            waiting_seconds=self._waiting_seconds,
            engine_seconds=self._engine_seconds,
            busy_seconds=self._busy_seconds + (self._clock.now() - self._busy_since if self._running else 0.0),
            breaker=self._breaker.state if self._breaker is not None else "closed",
        )

    async def generate(self, request: EngineRequest) -> Completion:
        """Wait for a slot, then answer; the request's deadline covers both."""
        ticket = next(self._tickets)
        for attempt in itertools.count(1):
            async with self._admitted(request, ticket) as admission:
                try:
                    completion = await self.engine.generate(request)
                except EngineUnavailable as error:
                    self._pause_or_raise(error, attempt)
                else:
                    admission.is_answered = True
                    return self._settle(completion)
        raise AssertionError("unreachable")

    async def stream(self, request: EngineRequest) -> AsyncGenerator[CompletionChunk, None]:
        """Wait for a slot, then answer piece by piece; the slot is held until the iterator is left."""
        ticket = next(self._tickets)
        for attempt in itertools.count(1):
            async with self._admitted(request, ticket) as admission, _closing(self.engine.stream(request)) as chunks:
                try:
                    chunk = await anext(chunks)
                except EngineUnavailable as error:
                    self._pause_or_raise(error, attempt)
                    continue
                admission.is_answered = True
                yield self._note(chunk)
                async for chunk in chunks:
                    yield self._note(chunk)
                return

    async def close(self) -> None:
        """Fail all that wait with `EngineUnavailable`, then close the engine."""
        self._closed = True
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
        waiters, self._waiters = self._waiters, []
        for _, _, admitted in waiters:
            if not admitted.done():
                admitted.set_exception(self._closed_error())
        await self.engine.close()

    @contextlib.asynccontextmanager
    async def _admitted(self, request: EngineRequest, ticket: int) -> AsyncIterator[_Admission]:
        arrived = self._clock.now()
        try:
            self._check_breaker()
            async with before_deadline(request.deadline, self._clock, self.name):
                await self._enter(request.priority, ticket)
        except BaseException:
            self._failures += 1
            raise
        finally:
            self._waiting_seconds += self._clock.now() - arrived
        entered = self._clock.now()
        admission = _Admission()
        try:
            self._check_breaker()  # it may have opened meanwhile
            if self._breaker is not None:
                admission.breaker_round = self._breaker.admit()
            yield admission
        except BaseException as error:
            self._failures += 1
            self._judge(admission, error)
            raise
        else:
            self._judge(admission, None)
        finally:
            self._engine_seconds += self._clock.now() - entered
            self._leave()

    def _check_breaker(self) -> None:
        wait = self._breaker.retry_after(self._clock.now()) if self._breaker is not None else 0.0
        if wait:
            raise EngineBreakerOpen(self.name, wait, self._last_failure)

    def _judge(self, admission: _Admission, error: BaseException | None) -> None:
        """Tell the breaker how a request ended."""
        breaker, in_round = self._breaker, admission.breaker_round
        if breaker is None or in_round is None:
            return
        if isinstance(error, EngineCrashed) and error.incident == self._last_crash:
            breaker.abandoned(in_round)  # the crash was counted with another request that it cost
        elif isinstance(error, EngineError) and error.retryable:
            self._last_crash = error.incident if isinstance(error, EngineCrashed) else None
            self._last_failure = str(error)
            breaker.failed(in_round, self._clock.now())
        elif admission.is_answered:
            breaker.succeeded(in_round)
        else:
            breaker.abandoned(in_round)

    async def _enter(self, priority: int, ticket: int) -> None:
        if self._closed:
            raise self._closed_error()
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (priority, ticket, admitted)
        heapq.heappush(self._waiters, waiter)
        self._admit()
        try:
            await admitted
        except asyncio.CancelledError:
            if admitted.done() and not admitted.cancelled() and admitted.exception() is None:
                self._leave()  # admitted and cancelled in one pass of the loop
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
                heapq.heapify(self._waiters)
            raise

    def _admit(self) -> None:
        while self._waiters and self._running < self.engine.slots and not self.is_paused:
            _, _, admitted = heapq.heappop(self._waiters)
            if admitted.done():
                continue
            if not self._running:
                self._busy_since = self._clock.now()
            self._running += 1
            admitted.set_result(None)

    def _leave(self) -> None:
        self._running -= 1
        if not self._running:
            self._busy_seconds += self._clock.now() - self._busy_since
        self._admit()

    def _pause_or_raise(self, error: EngineUnavailable, attempt: int) -> None:
        if error.retry_after is None or attempt >= self._attempts or self._closed:
            raise error
        loop = asyncio.get_running_loop()
        until = loop.time() + error.retry_after
        if self._resume is not None:
            if self._resume.when() >= until:
                return
            self._resume.cancel()
        self._resume = loop.call_at(until, self._resume_admission)

    def _resume_admission(self) -> None:
        self._resume = None
        self._admit()

    def _note(self, chunk: CompletionChunk) -> CompletionChunk:
        if chunk.completion is not None:
            self._settle(chunk.completion)
        return chunk

    def _settle(self, completion: Completion) -> Completion:
        self._requests += 1
        self._usage += completion.usage
        return completion

    def _closed_error(self) -> EngineUnavailable:
        return EngineUnavailable(self.name, "it has been closed")


@contextlib.asynccontextmanager
async def _closing(chunks: AsyncIterator[CompletionChunk]) -> AsyncIterator[AsyncIterator[CompletionChunk]]:
    try:
        yield chunks
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
