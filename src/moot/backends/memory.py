"""The backend in memory: nothing is written anywhere, and nothing outlives the process."""

from __future__ import annotations

from collections.abc import Callable

from moot.errors import MootError
from moot.messaging.dead_letters import DeadLetters
from moot.state import InMemorySharedState

__all__ = ["MemoryBackend"]


class MemoryBackend:
    """Stores that live as long as this object."""

    def __init__(self) -> None:
        self.dead_letters = DeadLetters()
        self.shared_state = InMemorySharedState()

    async def open(self, failed: Callable[[MootError], None]) -> None:
        """There is nothing to bring back."""

    async def close(self) -> None:
        """There is nothing to release; what was stored can still be read."""
