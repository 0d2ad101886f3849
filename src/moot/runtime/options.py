"""What a system is made of and told: the stores that a backend brings, and options with defaults right for most."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypedDict

from moot.policies import Supervision
from moot.runtime.dispatch.pool import ReadyQueue
from moot.runtime.liveness.deadlock import DeadlockMode

if TYPE_CHECKING:
    from moot.backends import Journal, Stored
    from moot.messaging.dead_letters import DeadLetters
    from moot.state import SharedState

__all__ = ["Options", "Stores"]


class Options(TypedDict, total=False):
    """What a system can be told besides, each with a default that is right for most.

    ``supervision``: what is done about failures of the agents that have no parent. ``ready``: the queue of agents that
    can run; a simulator chooses with it who is next. ``deadlocks``: what happens to asks that wait in a circle:
    ``break`` fails one of them with `DeadlockError`, ``report`` logs and counts, ``off`` does not look.
    ``watchdog``: after how many seconds a blocked event loop is reported; None is never.
    """

    supervision: Supervision
    ready: ReadyQueue
    deadlocks: DeadlockMode
    watchdog: float | None


class Stores(NamedTuple):
    """What a backend brings; ``kept`` is the journal of a durable one and what it has kept."""

    dead_letters: DeadLetters
    shared_state: SharedState
    durable: tuple[Journal, Stored] | None = None
