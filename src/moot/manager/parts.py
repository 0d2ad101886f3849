"""Parts: what a manager is made of, checked before anything is opened."""

from __future__ import annotations

from typing import Any

from moot.policies.fields import seconds_in

__all__ = ["check_parts", "check_timeout"]

_PARTS = (
    ("url=", "open", "a Backend, or a string"),
    ("engine=", "generate", "an Engine, or a string"),
    ("shared_state=", "transact", "a SharedState"),
    ("clock=", "now", "a Clock"),
    ("seed=", "", "a whole number"),
)
"""The parts of a manager, the method that each of them must have, and what to say of one that has not."""


def check_parts(*given: Any) -> None:
    """Refuse what is no backend, engine, store, clock or seed. Raises `TypeError`."""
    for (name, method, form), part in zip(_PARTS, given, strict=True):
        if part is None and name != "url=":
            continue
        is_plain = isinstance(part, str) if form.endswith("string") else type(part) is int and name == "seed="
        if not is_plain and (isinstance(part, type) or not callable(getattr(part, method, None))):
            raise TypeError(f"{name} is {form}, not {part!r}")


def check_timeout(timeout: Any) -> None:
    """Refuse what is no time for a stop to drain. Raises `TypeError`, `ValueError`."""
    if not seconds_in("timeout=", timeout) >= 0:
        raise ValueError(f"timeout= is 0 s or more for a stop, not {timeout:g}")
