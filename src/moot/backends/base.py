"""The backend port: a backend stores and moves; it decides nothing.

What a turn does, when it is retried and who is told is decided above, the same for
all backends. A backend brings the stores that the runtime works on.
"""

from __future__ import annotations

from typing import Protocol

from moot.deadletters import DeadLetters
from moot.state import SharedState

__all__ = ["Backend"]


class Backend(Protocol):
    """Where a manager keeps its dead letters and its shared state."""

    @property
    def dead_letters(self) -> DeadLetters:
        """The store of dead letters."""
        ...

    @property
    def shared_state(self) -> SharedState:
        """The store of shared keys."""
        ...

    async def close(self) -> None:
        """Release what is held. May be called twice."""
        ...
