"""How many threads the local engine computes with.

Measured on two cores: with all cores a model runs 1.3 to 2 times faster on an
idle machine, and collapses to a tenth as soon as anything else wants a core,
because the threads of llama.cpp wait for each other at every step. So: all cores
when the load average says idle, one fewer when it does not, or as told.
"""

from __future__ import annotations

import os

__all__ = ["choose_threads"]

IDLE_LOAD = 0.5


def choose_threads(told: int | None = None, *, load: float | None = None, cores: int | None = None) -> int:
    """``told``, or ``MOOT_THREADS``, or what fits the machine's ``load`` and ``cores`` (both read from it if None)."""
    told = told if told is not None else _from_environment()
    if told is not None:
        if told < 1:
            raise ValueError(f"threads must be at least 1, not {told}")
        return told
    cores = cores if cores is not None else _usable_cores()
    load = load if load is not None else _load_average()
    return max(1, cores if load < IDLE_LOAD else cores - 1)


def _from_environment() -> int | None:
    text = os.environ.get("MOOT_THREADS", "").strip()
    if not text:
        return None
    if not text.isdecimal():
        raise ValueError(f"MOOT_THREADS must be a whole number, not {text!r}")
    return int(text)


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _load_average() -> float:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has none: take it as busy
        return float(os.cpu_count() or 1)
