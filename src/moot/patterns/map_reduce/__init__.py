"""Map-reduce: parts are mapped to pairs by many agents at once, and the values of each key reduced to one.

Workers may crash, hang and answer rubbish: a task is given to another, and each counts once.

Source: J. Dean, S. Ghemawat, "MapReduce: Simplified Data Processing on Large Clusters", OSDI 2004.
"""

from moot.patterns.map_reduce.job import (
    Job,
    MapPart,
    MapReduceAgent,
    MapReduceFailed,
    PartDone,
    Reduced,
    ReduceKey,
    RunMapReduce,
    map_reduce,
    split,
)

__all__ = [
    "Job",
    "MapPart",
    "MapReduceAgent",
    "MapReduceFailed",
    "PartDone",
    "ReduceKey",
    "Reduced",
    "RunMapReduce",
    "map_reduce",
    "split",
]
