"""The port of the runtime: the protocol through which a context reaches up.

The system implements it for production and the simulator, `moot.testing.FakeContext`
for a unit test of one handler.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from moot.agent.ask import Ask
from moot.messaging.message import Numbering, ReplyTo

if TYPE_CHECKING:
    from moot.agent.effects import Effects
    from moot.agent.records import Records
    from moot.engine.base import Engine
    from moot.messaging.message import AgentMessage
    from moot.storable.values import Form

__all__ = ["DONE", "CellPort", "Done", "Runtime", "Turn"]

T = TypeVar("T")


class Done:
    """An awaitable that is done."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


DONE = Done()


class CellPort(Protocol):
    """What the context needs to know of the agent it belongs to."""

    id: str
    state: Any
    state_body: bytes | None

    def take_state_back(self) -> bool:
        """Whether the state was changed in place. If so, it is again what it was."""
        ...


class Turn(Protocol):
    """What the runtime needs to know of a turn; a context is one."""

    cell: CellPort
    message: AgentMessage
    attempt: int
    trace: str | None
    records: Records | None
    effects: Effects | None

    @property
    def deadline(self) -> float | None:
        """When the asker of this turn gives up; None if there is no asker."""
        ...


class Runtime(Protocol):
    """What the context needs of the runtime."""

    numbering: Numbering

    def now(self) -> float:
        """The clock's reading."""
        ...

    def random_for(self, name: str) -> random.Random:
        """A stream of random numbers for ``name``."""
        ...

    def post(self, turn: Turn, ask: Ask[Any]) -> None:
        """Deliver the request of an ask that a turn makes."""
        ...

    def withdraw(self, ask: Ask[Any], *, expired: bool) -> None:
        """See `moot.agent.ask.Asker`."""
        ...

    def progress(self, turn: Turn, to: str | ReplyTo, content: Any, message_type: str) -> None:
        """Deliver at once, outside the turn."""
        ...

    def answer_form(self, turn: Turn, to: ReplyTo) -> Form:
        """How the answer that ``turn`` gives at ``to`` is stored."""
        ...

    def is_heard(self, reply_to: ReplyTo) -> bool:
        """Whether the asker at ``reply_to`` iterates over progress."""
        ...

    async def spawn(self, turn: Turn, child: Any) -> str:
        """Register ``child`` under the turn's agent."""
        ...

    async def stop_child(self, child_id: str) -> None:
        """Stop a child that a turn spawned and rolled back."""
        ...

    async def run_sync(self, fn: Callable[[], T], name: str) -> T:
        """Run a blocking function outside the event loop; ``name`` is what the log calls it."""
        ...

    def engine_for(self, turn: Turn) -> Engine:
        """The manager's engine, as this turn sees it."""
        ...

    def find(self, capability: str) -> list[str]:
        """The ids of the agents that can do ``capability``."""
        ...

    def open_state(self) -> Any:
        """A transaction on the shared state."""
        ...
