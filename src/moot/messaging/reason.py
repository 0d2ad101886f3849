"""Reasons: the short list of why a message could not be handled."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Reason"]


class Reason(StrEnum):
    """Why a message could not be handled."""

    UNKNOWN_AGENT = "unknown_agent"
    STOPPED = "stopped"
    OVERFLOW = "overflow"
    EXPIRED = "expired"
    INVALID = "invalid"
    FAILED = "failed"
    CANCELLED = "cancelled"
    FORBIDDEN = "forbidden"
    UNCLAIMED = "unclaimed"
