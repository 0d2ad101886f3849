"""Replicated values: CRDTs that every node changes on its own and that converge when they meet."""

from moot.state.crdt.causal import CausalContext
from moot.state.crdt.counters import GCounter, PNCounter
from moot.state.crdt.maps import LWWMap, ORMap
from moot.state.crdt.port import CRDT
from moot.state.crdt.registers import LWWRegister, MVRegister
from moot.state.crdt.sets import ORSet
from moot.state.crdt.stamps import Stamp
from moot.state.crdt.version_vector import Dot, VersionVector

__all__ = [
    "CRDT",
    "CausalContext",
    "Dot",
    "GCounter",
    "LWWMap",
    "LWWRegister",
    "MVRegister",
    "ORMap",
    "ORSet",
    "PNCounter",
    "Stamp",
    "VersionVector",
]
