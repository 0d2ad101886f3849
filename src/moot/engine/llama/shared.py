"""One process of llama.cpp for several Moot processes of one user (``MOOT_ENGINE_SHARED=1``).

Who comes first starts it, under a lock beside its socket. Everybody holds a *lease*: a connection over which the beats
come, and whose end tells the child that a user has left. The last one who leaves, or dies, ends it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import signal
import socket
import stat
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import msgspec

from moot.engine.errors import EngineError
from moot.engine.llama.ear import ENDED, Over
from moot.engine.llama.process import CHILD, LlamaProcess, OnEnd
from moot.engine.llama.reports import Facts
from moot.engine.llama.settings import Settings

__all__ = ["SharedLlamaProcess", "shared_address"]

_ATTEMPTS = 5
"""How often a child that is just leaving is met before another is found."""
_FACTS = 10.0
"""Seconds in which a child, whose model is loaded, tells a new user its facts."""
_LONGEST_ADDRESS = 100
"""Bytes; Linux takes 107, others a few less."""
_ADVICE = "set XDG_RUNTIME_DIR to a folder of yours, or MOOT_ENGINE_SHARED=0"


class SharedLlamaProcess(LlamaProcess):
    """A `LlamaProcess` that others use, too: it is found or started, and only left, unless it is sick."""

    def __init__(self, engine: str, settings: Settings, *, silence: float | None, on_end: OnEnd) -> None:
        super().__init__(engine, settings, silence=silence, on_end=on_end)
        self._handle: int | None = None
        """A descriptor of the process: its number alone may be another's by now."""
        self._is_left = False

    def connect(self) -> socket.socket:
        """A connection for one request.

        Raises:
            ConnectionError: the process has ended. OSError: there can be no connection.
        """
        try:
            return _connected(self.settings.address)
        except (FileNotFoundError, TimeoutError) as error:
            raise ConnectionRefusedError("the process has ended") from error

    def end(self) -> None:
        """Leave it."""
        with self._lock:
            self.was_told = True
            if self._is_left:
                return
            if self._channel is None:
                self._kill()  # it is still being started, by this process
                return
            with contextlib.suppress(OSError):
                self._channel.shutdown(socket.SHUT_RDWR)  # which wakes the watch

    def _open(self) -> Facts:
        address = Path(self.settings.address)
        with self._locked(address.with_suffix(".lock")):
            for _ in range(_ATTEMPTS):
                try:
                    lease = _connected(str(address))
                except OSError:
                    self._start(address)
                else:
                    facts = self._take(lease)
                    if facts is not None:
                        return facts
        raise Over("left before it could be used")

    @contextlib.contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        """Hold the lock that only one program has while it finds or starts the child."""
        with path.open("w") as file:
            give_up = time.monotonic() + self._patience
            while not _lock(file):
                if self.was_told or time.monotonic() > give_up:
                    raise Over(f"is being started by another program, which holds {path}")
                time.sleep(0.05)
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)  # a process forked meanwhile holds the file open, too

    def _start(self, address: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            address.unlink()
        with self._spawn() as control:
            self._wait_ready(control, self._patience)

    def _take(self, lease: socket.socket) -> Facts | None:
        """Become a user of the child at the other end; None if it was just leaving, or is stuck, and then killed."""
        with self._lock:
            if self.was_told:
                lease.close()
                raise Over("was not needed any more")
            self._channel = lease
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                self._handle = os.pidfd_open(_peer(lease))
        try:
            lease.sendall(b'{"op": "lease"}\n')
            return self._wait_ready(lease, self._silence or _FACTS)
        except (Over, OSError) as over:
            if str(over) != ENDED and not self.was_told:
                self.kill(str(over))
            self._leave()
            return None

    def _leave(self) -> None:
        with self._lock:
            channel, self._channel = self._channel, None
            handle, self._handle = self._handle, None
        if channel is not None:
            channel.close()
        if handle is not None:
            os.close(handle)

    def _kill(self) -> None:
        super()._kill()
        if self._handle is not None:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def _reap(self, how: str) -> str:
        popen = self._popen
        if popen is not None and not self.was_told:
            how = super()._reap(how)
        else:
            if how != ENDED and not self.was_told and self._handle is not None:
                self.kill(how)
                how = f"{how} and was killed"
            self._close()
            if popen is not None:  # it may go on for others; somebody must wait for its end
                with contextlib.suppress(RuntimeError):
                    threading.Thread(target=popen.wait, name=f"moot engine {self.engine}", daemon=True).start()
        with self._lock:
            self._is_left = True
        self._leave()
        return how


def shared_address(settings: Settings) -> str:
    """The socket of the child that serves these settings, in a folder that is the user's own.

    Raises:
        EngineError: there can be no such folder, or it belongs to somebody else.
    """
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()).absolute()
    folder = base / f"moot-{os.getuid()}"
    try:
        model = Path(settings.model).stat()
        folder.mkdir(mode=0o700, exist_ok=True)
        owner = folder.lstat()
    except OSError as error:
        raise EngineError(f"{folder} cannot be used to share an engine ({error}); {_ADVICE}") from error
    if owner.st_uid != os.getuid() or owner.st_mode & 0o077 or not stat.S_ISDIR(owner.st_mode):
        raise EngineError(f"{folder} is not this user's alone, so no engine is shared there; {_ADVICE}")
    library = find_spec("xllamacpp")
    program = [part.stat().st_mtime_ns for part in sorted(CHILD.parent.glob("*.py"))]
    parts = (settings, model.st_mtime_ns, model.st_size, program, library.origin if library else "")
    digest = hashlib.blake2b(msgspec.json.encode(parts), digest_size=10).hexdigest()
    address = str(folder / f"{digest}.sock")
    if len(os.fsencode(address)) > _LONGEST_ADDRESS:
        raise EngineError(f"{address} is too long for the address of a socket; {_ADVICE}")
    return address


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _peer(connection: socket.socket) -> int:
    """The process at the other end, as this process sees it."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


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
