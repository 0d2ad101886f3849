"""What a process of llama.cpp is told when it is started."""

from __future__ import annotations

import msgspec

from moot.engine.llama.ear import TICK

__all__ = ["Settings"]


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
