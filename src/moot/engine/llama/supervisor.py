"""Keeps one process of llama.cpp there: starts it on first use, replaces one that has ended, gives up on a bad model.

A process that ends costs the requests under way an error each. The next request gets a new process. A model whose
process ends three times in a row, without an answer between, is refused for a while: starting it again and again would
keep the machine busy and each asker waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any

from moot.engine.errors import EngineCrashed, EngineError, EngineUnavailable, ModelUnavailable
from moot.engine.llama.ear import Over
from moot.engine.llama.process import LlamaProcess, OnEnd

__all__ = ["LlamaSupervisor", "leave", "supervisor_of"]

_MOST_CRASHES = 3
_REST = 60.0
"""Seconds for which a model that failed is refused, unless its file changes."""

_log = logging.getLogger("moot.engine")


_all: dict[Hashable, LlamaSupervisor] = {}
_all_lock = threading.RLock()  # a collected engine leaves, perhaps in the middle of this module


def supervisor_of(key: Hashable, make: Callable[[], LlamaSupervisor]) -> LlamaSupervisor:
    """The supervisor that all engines of this process with an equal ``key`` use, made for the first; `leave` it."""
    with _all_lock:
        supervisor = _all.get(key)
        if supervisor is None:
            supervisor = _all[key] = make()
        supervisor.users += 1
        return supervisor


def leave(key: Hashable) -> LlamaProcess | None:
    """Use it no more; the process, if nobody does any more and it was ended for that."""
    with _all_lock:
        supervisor = _all[key]
        supervisor.users -= 1
        if supervisor.users:
            return None
        del _all[key]
    return supervisor.end()


class LlamaSupervisor:
    """The present process of an engine, and its past. May be used from any thread and event loop.

    ``make`` makes a process that is not started yet; it is handed the function to call when the process ends.
    """

    users = 0
    """How many engines use it."""

    def __init__(self, engine: str, model: str, make: Callable[[OnEnd], LlamaProcess]) -> None:
        self._engine = engine
        self._model = model
        self._make = make
        self._lock = threading.Lock()
        self._process: LlamaProcess | None = None
        self._is_closed = False
        self._crashes = 0
        self._refusal: ModelUnavailable | None = None
        self._refused_until = 0.0
        self._refused_file: tuple[int, int] | None = None
        self._numbers = itertools.count(1)

    async def ready(self) -> LlamaProcess:
        """The process, with its model loaded.

        Raises:
            ModelUnavailable: the model cannot be loaded, or has ended its process three times in a row.
            EngineCrashed: the process ended while it loaded. EngineError: it cannot run here, or has been closed.
        """
        process = self._current()
        await _done(process.ready)
        try:
            process.ready.result()
        except Over:
            raise self.loss(process, "") from None
        return process

    def name(self, program: str | None) -> str:
        """A name for a request, by which its loss is reported."""
        number = next(self._numbers)
        return f"request {number} of {program}" if program else f"request {number}"

    def answered(self) -> None:
        """The process has answered a request."""
        self._crashes = 0

    async def lost(self, process: LlamaProcess, name: str) -> EngineError:
        """The error for the request ``name``, whose connection has ended before its answer."""
        await asyncio.wait([asyncio.wrap_future(process.ended)], timeout=1.0)
        return self.loss(process, name)

    def loss(self, process: LlamaProcess, name: str) -> EngineError:
        """The same, without waiting for the process to be reaped."""
        if self._is_closed:
            return self._closed_error()
        if not process.ended.done():
            return EngineUnavailable(self._engine, f"its process broke off {name or 'a request'}")
        if (refusal := self._refusal) is not None:
            return ModelUnavailable(refusal.model, refusal.reason)
        how = process.ended.result()
        return EngineCrashed(self._engine, how, name, lost=process.lost, incident=process.number)

    def end(self) -> LlamaProcess | None:
        """End the process, for good; it, if there is one."""
        with self._lock:
            self._is_closed = True
            process = self._process
        if process is not None:
            process.end()
        return process

    def forget(self) -> None:
        """In a forked process: the child is the other one's. The next request gets one of our own."""
        self._lock = threading.Lock()
        process, self._process = self._process, None
        if process is not None:
            process.forget()

    def _current(self) -> LlamaProcess:
        with self._lock:
            if self._is_closed:
                raise self._closed_error()
            process = self._process
            if process is None or process.ended.done():
                self._check_refusal()
                process = self._make(self._has_ended)
                try:
                    process.start()
                except RuntimeError as error:  # the system gives no more threads
                    raise EngineUnavailable(self._engine, f"its process cannot be watched ({error})") from error
                self._process = process
            return process

    def _check_refusal(self) -> None:
        if self._refusal is None:
            return
        if time.monotonic() < self._refused_until and _stamp(self._model) == self._refused_file:
            raise ModelUnavailable(self._refusal.model, self._refusal.reason)
        self._refusal = None

    def _has_ended(self, process: LlamaProcess, how: str) -> None:
        """In the process's own thread, before anybody else learns of it."""
        if process.was_told:
            return
        failure = process.failure
        if failure is None:
            self._crashes += 1
            under_way = ", ".join(process.lost) or "none"
            _log.error("the process of engine %r %s; requests under way: %s", self._engine, how, under_way)
            if self._crashes < _MOST_CRASHES:
                return
            reason = f"its process ended {self._crashes} times in a row with {self._model}; the last one {how}"
            failure = ModelUnavailable(self._engine, reason)
        if isinstance(failure, ModelUnavailable):
            self._refused_until = time.monotonic() + _REST
            self._refused_file = _stamp(self._model)
            self._refusal = failure

    def _closed_error(self) -> EngineUnavailable:
        return EngineUnavailable(self._engine, "it has been closed")


def _after_fork() -> None:
    global _all_lock  # whoever held it is not here
    _all_lock = threading.RLock()
    for supervisor in _all.values():
        supervisor.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size


async def _done(future: Future[Any]) -> None:
    """Return when a thread has ended ``future``, with a result or an error.

    `asyncio.wrap_future` would make a future with the same error. If the loop closes before a waiter has taken that, it
    is reported as never retrieved.
    """
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def tell(_: Future[Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(lambda: None if waiter.done() else waiter.set_result(None))

    future.add_done_callback(tell)
    await waiter
