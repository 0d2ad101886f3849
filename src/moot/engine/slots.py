"""The slots of an engine that several event loops use: so many may be in, the others wait in the order they came."""

from __future__ import annotations

import asyncio
import threading
from collections import deque

__all__ = ["Slots"]


class Slots:
    """A semaphore for coroutines of any loop; `asyncio.Semaphore` belongs to one."""

    def __init__(self, free: int) -> None:
        self._lock = threading.Lock()
        self._free = free
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()

    async def acquire(self) -> None:
        """Wait for a slot and take it."""
        with self._lock:
            if self._free:
                self._free -= 1
                return
            loop = asyncio.get_running_loop()
            turn = loop.create_future()
            self._waiting.append((loop, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.release()  # it was given and cancelled at once
            raise

    def release(self) -> None:
        """Give a slot back, to whoever has waited longest and still does."""
        with self._lock:
            while self._waiting:
                loop, turn = self._waiting.popleft()
                try:
                    loop.call_soon_threadsafe(self._give, turn)
                except RuntimeError:  # the loop is closed, and its waiter with it
                    continue
                return
            self._free += 1

    def _give(self, turn: asyncio.Future[None]) -> None:
        if turn.cancelled():
            self.release()
        else:
            turn.set_result(None)
