"""What a process of llama.cpp is told when it is started, and how users say that it shall be kept."""

from __future__ import annotations

import math
import os
from typing import Any

import msgspec

from moot.engine.llama.ear import TICK

__all__ = ["ProcessPolicy", "Settings"]


_BATCH = 64
"""Tokens computed between two looks at whether the asker is still there; a batch of 512 is no faster on a CPU."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the child is told. ``context_size`` is in tokens and for each slot, ``beat`` in seconds."""

    model: str
    slots: int
    context_size: int
    threads: int
    slot_folder: str = ""
    beat: float = TICK
    address: str = ""
    """The socket at which a shared child listens."""

    def params(self) -> dict[str, object]:
        """The rest of what llama.cpp is told, by the names of its own parameters."""
        return {
            "n_parallel": self.slots,
            "n_ctx": self.context_size * self.slots,
            "kv_unified": True,
            "n_batch": max(_BATCH, self.slots),
            "n_ubatch": max(_BATCH, self.slots),
            "cache_idle_slots": False,  # True moves an idle slot's prefix away and clears it
            "cache_ram_mib": 0,
            "fit_params": False,
            "warmup": False,
            "n_threads_http": 2,
            "ui": False,
            "endpoint_metrics": True,
            "verbosity": 1,  # errors only, which are read from standard error
        } | ({"slot_save_path": self.slot_folder} if self.slot_folder else {})


class ProcessPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How the process of a `LocalEngine` is kept.

    ``silence``: seconds that it may make no progress before it is replaced; None goes by the size of its model and by
    the longest pause that it has shown. ``shared``: one process for all programs of this user that ask for the same
    model with the same settings; None is what ``MOOT_ENGINE_SHARED`` says (1 or 0). ``slot_folder`` is where
    `LocalEngine.save_slot` writes; ``""`` is nowhere.
    """

    silence: float | None = None
    shared: bool | None = None
    slot_folder: str = ""

    def __post_init__(self) -> None:
        silence: Any = self.silence
        if silence is not None and not (isinstance(silence, int | float) and 0 < silence < math.inf):
            raise ValueError(f"silence is a number of seconds above 0, not {silence!r}")

    @property
    def is_shared(self) -> bool:
        """What ``shared`` says, or the environment."""
        if self.shared is not None:
            return self.shared
        text = os.environ.get("MOOT_ENGINE_SHARED", "").strip()
        if text not in {"", "0", "1"}:
            raise ValueError(f"MOOT_ENGINE_SHARED must be 0 or 1, not {text!r}")
        return text == "1"
