"""The backend in memory: nothing is written anywhere, and nothing outlives the process."""

from __future__ import annotations

from moot.deadletters import DeadLetters
from moot.state import InMemorySharedState

__all__ = ["MemoryBackend"]


class MemoryBackend:
    """Stores that live as long as this object."""

    def __init__(self) -> None:
        self.dead_letters = DeadLetters()
        self.shared_state = InMemorySharedState()

    async def close(self) -> None:
        """There is nothing to release; what was stored can still be read."""
