"""Ownership: the sidecar file beside the database that says whose it is, and what it was doing.

SQLite alone would let two systems write to one file. So the owner holds an ``flock`` on
``FILE-owner`` for as long as it lives; the kernel drops it with the process. The file is
mapped into memory, so that two things can be noted in it at the price of a store, which
survive the process (not the power): the number of the last batch that was acknowledged,
which shows at the next start whether the database has lost its tail, and the messages
whose handlers are running, which shows which of them was being handled when the process died.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import socket
import struct
from pathlib import Path

from moot.backends.errors import BackendBusy, BackendDamaged

__all__ = ["Owner", "holder", "last_acknowledged"]

_TEXT = 512
_SLOTS = 1024
_BEGIN = 1024
_SIZE = _BEGIN + 8 * _SLOTS
_NUMBER = struct.Struct("<Q")


class Owner:
    """The sidecar of one file, held.

    ``acknowledged`` is the last batch that the owner before this one acknowledged; ``interrupted`` are the numbers
    that it had noted with `begin` and not with `end`. They stay noted until `counted` says that the database knows
    them; `begin` may be called from then on.

    Raises:
        BackendBusy: another process holds it. OSError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        about = json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode()
        self._file = os.open(_sidecar(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise BackendBusy(str(path), _holder(self._file)) from None
            if os.fstat(self._file).st_size < _SIZE:
                os.ftruncate(self._file, _SIZE)
            self._map = mmap.mmap(self._file, _SIZE)
        except BaseException:
            os.close(self._file)
            raise
        self.acknowledged: int = _NUMBER.unpack_from(self._map, _TEXT)[0]
        numbers = (_NUMBER.unpack_from(self._map, _BEGIN + 8 * slot)[0] for slot in range(_SLOTS))
        self.interrupted: list[int] = [number for number in numbers if number]
        self._free = list(range(_SLOTS - 1, -1, -1))
        self._map[:_TEXT] = about[: _TEXT - 1].ljust(_TEXT)

    def check(self, batch: int) -> None:
        """Find out whether the database, whose last batch is ``batch``, has lost its end: SQLite cannot tell.

        Raises:
            BackendDamaged: it has.
        """
        if batch < self.acknowledged:
            lost = self.acknowledged - batch
            raise BackendDamaged(
                str(self.path), f"its last {lost} batch(es) of changes are missing, which had been acknowledged"
            )

    def counted(self) -> None:
        """The database has an attempt for each of the `interrupted`: a start that failed before had changed nothing."""
        self._map[_BEGIN:_SIZE] = bytes(_SIZE - _BEGIN)

    def begin(self, number: int) -> int:
        """Note that something is under way; where it was noted, or -1 if there is no room."""
        if not self._free:
            return -1
        slot = self._free.pop()
        _NUMBER.pack_into(self._map, _BEGIN + 8 * slot, number)
        return slot

    def end(self, slot: int) -> None:
        """It is not under way any more."""
        if slot >= 0:
            _NUMBER.pack_into(self._map, _BEGIN + 8 * slot, 0)
            self._free.append(slot)

    def acknowledge(self, batch: int) -> None:
        """Note that a batch is on the disk."""
        _NUMBER.pack_into(self._map, _TEXT, batch)

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        if self._file >= 0:
            self._map.close()
            os.close(self._file)
            self._file = -1


def last_acknowledged(path: Path) -> int:
    """What the sidecar of ``path`` says, without holding it; 0 if there is none."""
    try:
        data = _sidecar(path).read_bytes()
    except FileNotFoundError:
        return 0
    number: int = _NUMBER.unpack_from(data, _TEXT)[0] if len(data) >= _SIZE else 0
    return number


def holder(path: Path) -> str | None:
    """Who owns ``path`` now, in words; None if nobody does.

    The kernel only tells by trying, so for a moment this holds the sidecar itself, if nobody else does: a system that
    starts in that very moment is refused.

    Raises:
        OSError: the sidecar cannot be read.
    """
    try:
        file = os.open(_sidecar(path), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(file)
    finally:
        os.close(file)
    return None


def _sidecar(path: Path) -> Path:
    """Beside the file itself, whatever links lead to it."""
    path = Path(os.path.realpath(path))
    return path.with_name(f"{path.name}-owner")


def _holder(file: int) -> str:
    """Who holds the file, in words."""
    try:
        about = json.loads(os.pread(file, _TEXT, 0))
        return f"process {about['pid']} on {about['host']}"
    except (ValueError, KeyError, TypeError, OSError):
        return "it does not say which"
