"""What all measured programs share: the message, the clock, and the one JSON line that each prints.

Every measurement is one fresh process that runs one workload and prints one line. Time is CPU time of the process, so
that other work on the machine moves the figures little; wall time is kept beside it.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["FAN_OUT", "SIZES", "Watch", "main", "message", "rss_bytes"]

FAN_OUT = 100

SIZES = {
    "tell": 100_000,
    "ask": 20_000,
    "ask_in_turn": 20_000,
    "fan_out": 200,
    "fan_out_gather": 200,
    "hierarchy": 200,
    "idle": 100_000,
    "tree": 11_111,
    "growth": 1_000_000,
}
"""How many operations each workload runs: messages, asks, rounds, agents."""


def message(number: int, to: str = "b") -> dict[str, Any]:
    """The message of the floors: a nested dict, as in the reference design."""
    return {"from": "a", "to": to, "content": {"number": number, "text": "hello"}, "message_type": "task"}


def rss_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Watch:
    """CPU and wall seconds since it was made."""

    def __init__(self) -> None:
        gc.collect()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def stop(self) -> Seconds:
        """The seconds so far."""
        return Seconds(time.process_time() - self._cpu, time.perf_counter() - self._wall)


class Seconds(NamedTuple):
    """A span of time on both clocks."""

    cpu: float
    wall: float


Workload = Callable[[int], Coroutine[Any, Any, dict[str, float]]]


def main(run: Callable[[Coroutine[Any, Any, dict[str, float]]], dict[str, float]], **workloads: Workload) -> None:
    """Run the workload named on the command line (``WORKLOAD [SIZE]``) and print its figures."""
    name = sys.argv[1]
    size = int(sys.argv[2]) if len(sys.argv) > 2 else SIZES[name.partition("+")[0]]
    print(json.dumps(run(workloads[name](size))))


def rate(size: int, seconds: Seconds) -> dict[str, float]:
    """The figures of a workload of ``size`` equal operations."""
    return {"cpu_us": seconds.cpu / size * 1e6, "wall_us": seconds.wall / size * 1e6}
