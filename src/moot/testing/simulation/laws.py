"""Laws: what holds in every simulation, whatever its agents do."""

from __future__ import annotations

from moot.testing.simulation.invariants import Invariant
from moot.testing.simulation.message_laws import EffectsOnce, NothingLost, PairOrder, PayloadsUnchanged
from moot.testing.simulation.waiting_laws import BoundedMailboxes, DeadlocksFound, EveryAskEnds, NothingStranded

__all__ = ["LAWS"]

LAWS: tuple[type[Invariant], ...] = (
    PairOrder,
    EffectsOnce,
    NothingLost,
    BoundedMailboxes,
    EveryAskEnds,
    NothingStranded,
    PayloadsUnchanged,
    DeadlocksFound,
)
"""The invariants that a simulation checks unless it is told otherwise."""
