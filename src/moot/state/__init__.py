"""Shared state: the port, its transactions, and the store in memory."""

from moot.state.base import Access, Change, SharedState, Versioned, WatchExpired
from moot.state.memory import InMemorySharedState
from moot.state.transaction import Transaction

__all__ = ["Access", "Change", "InMemorySharedState", "SharedState", "Transaction", "Versioned", "WatchExpired"]
