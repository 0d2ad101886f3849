"""The slots of an engine that several event loops use: so many may be in, the others wait in the order they came."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future

__all__ = ["Slots"]


class Slots:
    """A semaphore for coroutines of any loop; `asyncio.Semaphore` belongs to one."""

    def __init__(self, free: int) -> None:
        self._lock = threading.Lock()
        self._free = free
        self._waiting: deque[Future[None]] = deque()

    async def acquire(self) -> None:
        """Wait for a slot and take it."""
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn: Future[None] = Future()
            self._waiting.append(turn)
        try:
            await asyncio.wrap_future(turn)
        except asyncio.CancelledError:
            if not turn.cancel() and not turn.cancelled():
                self.release()  # it was given and cancelled at once
            raise

    def release(self) -> None:
        """Give a slot back, to whoever has waited longest."""
        with self._lock:
            while self._waiting:
                turn = self._waiting.popleft()
                if turn.set_running_or_notify_cancel():
                    turn.set_result(None)
                    return
            self._free += 1
