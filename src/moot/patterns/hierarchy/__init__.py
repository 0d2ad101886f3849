"""Hierarchy: a manager shares a task out among workers, which may be managers themselves.

`ManagerAgent` pushes: it asks the workers, gives a part to another when one fails, and combines what comes back.
`WorkPool` is pulled from: workers say how many tasks they will take, and get no more. `delegate` is what a manager
does, for a handler of one's own.

Deadlines and cancelling go down the tree with the asks, failures come up it as errors, budgets are divided and never
widened.
"""

from moot.patterns.hierarchy.crew import NoWorkers
from moot.patterns.hierarchy.delegate import Delegation, PartFailed, delegate
from moot.patterns.hierarchy.manager import ManagerAgent
from moot.patterns.hierarchy.messages import Ready, Task, TaskProgress, TaskRequest, TaskResult
from moot.patterns.hierarchy.pool import WorkPool
from moot.patterns.hierarchy.routing import ByKey, LeastLoaded, RoundRobin, Routing
from moot.patterns.hierarchy.worker import PullingWorker, WorkerAgent

__all__ = [
    "ByKey",
    "Delegation",
    "LeastLoaded",
    "ManagerAgent",
    "NoWorkers",
    "PartFailed",
    "PullingWorker",
    "Ready",
    "RoundRobin",
    "Routing",
    "Task",
    "TaskProgress",
    "TaskRequest",
    "TaskResult",
    "WorkPool",
    "WorkerAgent",
    "delegate",
]
