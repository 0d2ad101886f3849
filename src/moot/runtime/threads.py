"""Threads for blocking functions: those of `AgentContext.run_sync`.

The threads of asyncio's own executor are waited for at the end of the loop, and again at the end
of the process. A function that never returns would then keep both from ending, whatever the stop
of the system was told. These threads end with the process. A stop leaves behind what still runs,
and says what it is.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

__all__ = ["Named", "SyncThreads"]

T = TypeVar("T")

_MOST = min(32, (os.cpu_count() or 1) + 4)  # as asyncio has


class Named(Generic[T]):
    """A function without arguments, and what the log calls it."""

    __slots__ = ("fn", "name")

    def __init__(self, fn: Callable[[], T], name: str) -> None:
        self.fn = fn
        self.name = name

    def __call__(self) -> T:
        return self.fn()


class SyncThreads(Executor):
    """Runs functions in up to ``most`` threads, which are made when they are needed."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self._running: dict[int, str] = {}

    def submit(self, fn: Callable[..., T], /, *args: Any, **named: Any) -> Future[T]:
        """Run ``fn`` in a thread, now or when one is free."""
        future: Future[T] = Future()
        self._queue.put((future, fn if not args and not named else lambda: fn(*args, **named)))
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._most:
            thread = threading.Thread(target=self._work, name=f"moot run_sync {len(self._threads) + 1}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def leave(self) -> list[str]:
        """Begin nothing more. Returns the names of what still runs."""
        with contextlib.suppress(Empty):
            while (item := self._queue.get_nowait()) is not None:
                item[0].cancel()
        for _ in self._threads:
            self._queue.put(None)
        return sorted(self._running.copy().values())

    def _work(self) -> None:
        number = threading.get_ident()
        while (item := self._queue.get()) is not None:
            future, fn = item
            if future.set_running_or_notify_cancel():
                self._running[number] = getattr(fn, "name", repr(fn))
                try:
                    result = fn()
                except BaseException as error:  # it is raised where the result is awaited
                    future.set_exception(error)
                else:
                    future.set_result(result)
                del self._running[number]
            del item, future, fn
            self._idle.release()
