"""Backends: where a system keeps what it must not lose; one URL chooses.

``memory://`` keeps everything in the process: an agent's mail and state live as long
as it does, and shared state as long as the manager. ``sqlite:///team.db`` keeps all of it
in one file, and what was accepted there outlives the process.
"""

from __future__ import annotations

from moot.backends.base import Backend, Journal, Stored
from moot.backends.errors import BackendError
from moot.backends.memory import MemoryBackend

__all__ = ["Backend", "Journal", "Stored", "MemoryBackend", "open_backend"]


def open_backend(url: str) -> Backend:
    """The backend that ``url`` names.

    Raises:
        ValueError: it names none.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme == "sqlite":
        try:
            from moot.backends.sqlite import SqliteBackend  # loads SQLite, which a system in memory does not need
        except ImportError as error:
            raise BackendError(
                f"'sqlite:' does not work here: {error}; it needs a Python with sqlite3 on a POSIX system"
            ) from error
        return SqliteBackend.at(rest)
    if not separator:
        raise ValueError(f"a backend is chosen by a URL such as 'memory://', not {url!r}")
    if scheme != "memory":
        raise ValueError(f"there is no backend {scheme!r}; this version has 'memory://' and 'sqlite:///FILE'")
    if rest:
        raise ValueError(f"'memory://' takes nothing after it, and {url!r} has {rest!r}")
    return MemoryBackend()
