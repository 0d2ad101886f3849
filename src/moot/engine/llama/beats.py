"""Beats: what the child process knows about its own progress. Like all that runs there, it imports nothing of Moot."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Beats"]


class Beats:
    """What the child knows about its own progress. Times are seconds.

    A request is `begun` when it waits for llama.cpp, and `ended` when it has got a chunk or gives up (no ``progress``).
    The child gets on when any request does. A request that waits for its asker to read is not waited for.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._computing = 0
        self._since = self._beaten = now()
        self._longest = 0.0

    def begun(self) -> None:
        with self._lock:
            if not self._computing:
                self._since = self._now()
            self._computing += 1

    def ended(self, *, progress: bool = True) -> None:
        with self._lock:
            self._computing -= 1
            if progress:
                now = self._now()
                self._longest = max(self._longest, now - self._since)
                self._since = now

    def beat(self, every: float) -> dict[str, float]:
        """``quiet``: how long requests have waited without progress; ``longest``: the longest such pause that ended.

        It is called each ``every`` seconds. If it comes later, the process was suspended, and nobody is to blame.
        """
        with self._lock:
            now = self._now()
            suspended = now - self._beaten - 2 * every
            self._beaten = now
            if suspended > 0:
                self._since = min(now, self._since + suspended)
            quiet = now - self._since if self._computing else 0.0
            return {"quiet": round(quiet, 3), "longest": round(self._longest, 3)}
