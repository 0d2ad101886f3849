"""Backends: where a system keeps what it must not lose; one URL chooses.

``memory://`` keeps everything in the process: an agent's mail and state live as long
as it does, and shared state as long as the manager.
"""

from __future__ import annotations

from moot.backends.base import Backend
from moot.backends.memory import MemoryBackend

__all__ = ["Backend", "MemoryBackend", "open_backend"]


def open_backend(url: str) -> Backend:
    """The backend that ``url`` names.

    Raises:
        ValueError: it names none.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ValueError(f"a backend is chosen by a URL such as 'memory://', not {url!r}")
    if scheme != "memory":
        raise ValueError(f"there is no backend {scheme!r}; this version has 'memory://'")
    if rest:
        raise ValueError(f"'memory://' takes nothing after it, and {url!r} has {rest!r}")
    return MemoryBackend()
