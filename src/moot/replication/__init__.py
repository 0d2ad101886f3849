"""Replication: named CRDTs that several replicators hold, and keep equal by deltas and anti-entropy."""

from moot.replication.changes import Add, Assign, At, Change, Decrement, Increment, Put, Remove
from moot.replication.kinds import Kind
from moot.replication.messages import Changed, Join, Leave, Read, Standing, Status, Update, changes
from moot.replication.policy import ReplicationPolicy
from moot.replication.replica import Replica
from moot.replication.replicator import Replicator

__all__ = [
    "Add",
    "Assign",
    "At",
    "Change",
    "Changed",
    "Decrement",
    "Increment",
    "Join",
    "Kind",
    "Leave",
    "Put",
    "Read",
    "Remove",
    "Replica",
    "ReplicationPolicy",
    "Replicator",
    "Standing",
    "Status",
    "Update",
    "changes",
]
