"""One process of llama.cpp for several Moot processes of one user (``MOOT_ENGINE_SHARED=1``).

Who comes first starts it, under a lock beside its socket. Everybody holds a *lease*: a connection over which the beats
come, and whose end tells the child that a user has left. The last one who leaves, or dies, ends it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import tempfile
import threading
from importlib.util import find_spec
from pathlib import Path

import msgspec

from moot.engine.cache import locked
from moot.engine.errors import EngineError
from moot.engine.llama.ear import ENDED, Over
from moot.engine.llama.process import CHILD, Facts, LlamaProcess, OnEnd
from moot.engine.llama.settings import Settings

__all__ = ["SharedLlamaProcess", "shared_address"]

_ATTEMPTS = 5
"""How often a child that is just leaving is met before another is found."""


class SharedLlamaProcess(LlamaProcess):
    """A `LlamaProcess` that others use, too: it is found or started, and only left, unless it is sick."""

    def __init__(self, engine: str, settings: Settings, *, silence: float | None, on_end: OnEnd) -> None:
        super().__init__(engine, settings, silence=silence, on_end=on_end)
        self._handle: int | None = None
        """A descriptor of the process that another has started: its number alone may be somebody else's by now."""

    def connect(self) -> socket.socket:
        """A connection for one request. Raises `OSError` when the process has ended or takes none."""
        return _connected(self.settings.address)

    def end(self) -> None:
        """Leave it."""
        with self._lock:
            self.was_told = True
            if self._channel is None:
                self._kill()  # it is still being started, by this process
                return
            with contextlib.suppress(OSError):
                self._channel.shutdown(socket.SHUT_RDWR)  # which wakes the watch

    def _open(self) -> Facts:
        address = Path(self.settings.address)
        with locked(address.with_suffix(".lock"), lambda: None):
            for _ in range(_ATTEMPTS):
                if self.was_told:
                    break
                try:
                    self._channel = _connected(str(address))
                except OSError:
                    self._start(address)
                    continue
                with contextlib.suppress(Over, OSError):
                    self._channel.sendall(b'{"op": "lease"}\n')
                    return self._wait_ready(self._channel)
        raise Over("left before it could be used")

    def _start(self, address: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            address.unlink()
        with self._spawn() as control:
            self._wait_ready(control)

    def _wait_ready(self, channel: socket.socket) -> Facts:
        facts = super()._wait_ready(channel)
        if self._popen is None and hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                self._handle = os.pidfd_open(facts.pid)
        return facts

    def _kill(self) -> None:
        super()._kill()
        if self._handle is not None:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def _reap(self, how: str) -> str:
        popen = self._popen
        if popen is not None and not self.was_told:
            return super()._reap(how)
        if how != ENDED and not self.was_told:
            self._kill()
            how = f"{how} and was killed"
        self._close()
        if popen is not None:  # it may go on for others; somebody must wait for its end
            threading.Thread(target=popen.wait, name=f"moot engine {self.engine}", daemon=True).start()
        return how

    def _close(self) -> None:
        super()._close()
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


def shared_address(settings: Settings) -> str:
    """The socket of the child that serves these settings, in a folder that is the user's own.

    Raises:
        EngineError: the folder belongs to somebody else.
    """
    facts = Path(settings.model).stat()
    origin = find_spec("xllamacpp")
    parts = (settings, facts.st_mtime_ns, facts.st_size, CHILD.stat().st_mtime_ns, origin.origin if origin else "")
    digest = hashlib.blake2b(msgspec.json.encode(parts), digest_size=10).hexdigest()
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    folder = base / f"moot-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    owner = folder.lstat()
    if owner.st_uid != os.getuid() or owner.st_mode & 0o077 or not folder.is_dir():
        raise EngineError(f"{folder} is not this user's alone; remove it, or set XDG_RUNTIME_DIR to a folder that is")
    return str(folder / f"{digest}.sock")


def _connected(address: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(1.0)
        connection.connect(address)
        connection.settimeout(None)
    except OSError:
        connection.close()
        raise
    return connection
