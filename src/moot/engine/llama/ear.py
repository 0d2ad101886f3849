"""What is heard of llama.cpp's process: the lines of its control channel, and the end of what it prints."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from collections import deque
from typing import IO

__all__ = ["ENDED", "TICK", "Ear", "Over"]

TICK = 1.0
"""Seconds that `Ear.listen` waits at most."""

ENDED = "ended"
"""The text of an `Over` for a process that has closed its channel by itself; its exit code says more."""

_TAIL = 4096
_RECENT = 2.0
_MAX_LINE = 1 << 16


class Over(Exception):
    """The process is not to be listened to any more. The text goes on from "its process"."""


class Ear:
    """Listens to a process from one thread. Both of what it listens to are closed by their owner."""

    def __init__(self, channel: socket.socket, printed: IO[bytes] | None) -> None:
        self.tail = b""
        """The last 4 kB that the process printed."""
        self.waited = 0.0
        """Seconds that the last `listen` took, as far as this process was awake: one that is suspended for a night does
        not blame its child."""
        self._channel = channel
        self._printed = printed
        self._printed_at = -_RECENT
        self._lines: deque[bytes] = deque()
        self._rest = b""
        self._looked = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._selector.register(channel, selectors.EVENT_READ)
        if printed is not None:
            os.set_blocking(printed.fileno(), False)
            self._selector.register(printed, selectors.EVENT_READ)

    def listen(self) -> bytes:
        """The next line; waits a tick for it, and is empty if none has come.

        Raises:
            Over: the channel has ended, or what comes is no line.
        """
        if self._lines:
            self.waited = 0.0
            return self._lines.popleft()
        ready = [key.fileobj for key, _ in self._selector.select(TICK)]
        now = time.monotonic()
        self.waited, self._looked = min(now - self._looked, 2 * TICK), now
        if self._printed in ready:
            self.read_printed()
        if self._channel in ready:
            *lines, self._rest = (self._rest + self._receive()).split(b"\n")
            if len(self._rest) > _MAX_LINE:
                raise Over(f"sent what no child of ours sends ({self._rest[:80]!r})")
            self._lines += lines
        return self._lines.popleft() if self._lines else b""

    def read_printed(self) -> None:
        """Take in what it has printed so far."""
        with contextlib.suppress(OSError):  # closed, or nothing there
            while self._printed is not None and (data := os.read(self._printed.fileno(), _TAIL)):
                self.tail = (self.tail + data)[-_TAIL:]
                self._printed_at = time.monotonic()
                if len(data) < _TAIL:
                    return
            if self._printed is not None:  # it has closed it: there is nothing more to hear
                self._selector.unregister(self._printed)
                self._printed = None

    def last_words(self) -> str:
        """The last line that it printed, up to 200 letters of it; nothing if that was long before."""
        if time.monotonic() - self._printed_at > _RECENT:
            return ""
        return self.tail.decode(errors="replace").strip().rpartition("\n")[2][-200:]

    def close(self) -> None:
        """Stop listening."""
        self._selector.close()

    def _receive(self) -> bytes:
        try:
            data = self._channel.recv(_MAX_LINE)
        except OSError:
            data = b""
        if not data:
            raise Over(ENDED)
        return data
