"""Ownership: the sidecar file beside the database that says whose it is, and what it was doing.

SQLite alone would let two systems write to one file. So the owner holds an ``flock`` on
``FILE-owner`` for as long as it lives; the kernel drops it with the process. The file is
mapped into memory, so that two things can be noted in it at the price of a store, which
survive the process (not the power): the number of the last batch that was acknowledged,
which shows at the next start whether the database has lost its tail, and the messages
whose handlers are running, which shows which of them was being handled when the process died.

The sidecar can be removed, and the database can be moved to another name, which has another
sidecar. So the database itself is locked, too, by whatever name it was found: a byte far behind
its end, which SQLite does not use. A database with two names at once (a hard link) is refused,
because each of them would have a log of its own.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import socket
import struct
import sys
from pathlib import Path

from moot.backends.errors import BackendBusy, BackendDamaged, BackendError
from moot.backends.sqlite.files import Files

__all__ = ["Owner", "holder", "last_acknowledged"]

_TEXT = 512
_SLOTS = 1024
_BEGIN = 1024
_SIZE = _BEGIN + 8 * _SLOTS
_NUMBER = struct.Struct("<Q")
_LOCKED_BYTE = 1 << 62
_IS_LINUX = sys.platform == "linux" and sys.maxsize > 1 << 32
"""Whether the kernel has locks that belong to one descriptor, in the form that is written here."""

_held: set[tuple[int, int]] = set()
"""The databases that this process owns. To open one of them again, and close it, would drop the locks of SQLite."""


class Owner:
    """The sidecar of one file, held.

    ``acknowledged`` is the last batch that the owner before this one acknowledged; ``interrupted`` are the numbers
    that it had noted with `begin` and not with `end`. They stay noted until `counted` says that the database knows
    them; `begin` may be called from then on.

    Raises:
        BackendBusy: another process holds it. BackendError: the file has several names. OSError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = files = Files(path)
        _refuse_other_names(files)
        self._database = -1
        self._identity = (0, 0)
        self._file = _hold(files)
        try:
            self._hold_database()
            if os.fstat(self._file).st_size < _SIZE:
                os.ftruncate(self._file, _SIZE)
            self._map = mmap.mmap(self._file, _SIZE)
        except BaseException:
            self._let_go()
            raise
        about = json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode()
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
        """Let go of the file, which SQLite must have closed. May be called twice."""
        if self._file >= 0:
            self._map.close()
            self._let_go()

    def _hold_database(self) -> None:
        database = self.files.database
        if database.exists() and _identity(database.stat()) in _held:
            raise BackendBusy(str(self.path), f"process {os.getpid()}, under another name")
        self._database = os.open(database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if _IS_LINUX and not _locked(self._database):
            raise BackendBusy(str(self.path), "a process that has it open under another name")
        self._identity = _identity(os.fstat(self._database))
        _held.add(self._identity)

    def _let_go(self) -> None:
        _held.discard(self._identity)
        for file in (self._database, self._file):
            if file >= 0:
                os.close(file)
        self._database = self._file = -1


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
    return Files(path).owner


def _refuse_other_names(files: Files) -> None:
    try:
        names = files.database.stat().st_nlink
    except FileNotFoundError:
        return
    if names > 1 and files.database.is_file():
        folder = files.database.parent
        raise BackendError(
            f"{files.path} has {names} names (hard links), and SQLite would keep a log beside each of them; remove the "
            f"others (find {folder} -samefile {files.database} shows those in its folder), or replace them by copies"
        )


def _hold(files: Files) -> int:
    """The sidecar, held: the one that lies there, not one that was removed in the moment before."""
    while True:
        file = os.open(files.owner, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise BackendBusy(str(files.path), _holder(file)) from None
            if files.owner.exists() and _identity(files.owner.stat()) == _identity(os.fstat(file)):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _locked(file: int) -> bool:
    """Whether the database could be locked. A file system that has no such locks is taken at its word."""
    wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, _LOCKED_BYTE, 1, 0)
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, wanted)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _holder(file: int) -> str:
    """Who holds the file, in words."""
    try:
        about = json.loads(os.pread(file, _TEXT, 0))
        return f"process {about['pid']} on {about['host']}"
    except (ValueError, KeyError, TypeError, OSError):
        return "it does not say which"
