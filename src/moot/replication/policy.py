"""How a replicator is to behave, as a value."""

from __future__ import annotations

import math

import msgspec

from moot.policies.fields import check_fields

__all__ = ["ReplicationPolicy"]


class ReplicationPolicy(msgspec.Struct, frozen=True):
    """When replicators talk, and how much they keep and send.

    Every ``interval`` seconds ``fanout`` peers, drawn at random, are compared with. The log of a value holds its last
    ``log_entries`` deltas, ``log_bytes`` at most; what is older is caught up on by the whole value. Values go out in
    messages of about ``message_bytes``. A write of more than ``max_drift`` seconds in the future is refused until its
    time has come. A peer not heard of for ``silence`` seconds is only asked now and then.
    """

    interval: float = 1.0
    fanout: int = 1
    log_entries: int = 1024
    log_bytes: int = 1 << 18
    message_bytes: int = 1 << 16
    max_drift: float = 60.0
    silence: float = 60.0

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("interval", "silence"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is above 0 s and finite, not {getattr(self, name):g}")
        for name, least in (("fanout", 1), ("log_entries", 0), ("log_bytes", 0), ("message_bytes", 256)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is at least {least}, not {getattr(self, name)}")
        if not self.max_drift >= 0:
            raise ValueError(f"max_drift is 0 s or more, not {self.max_drift:g}")
