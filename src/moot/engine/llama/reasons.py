"""Why a process of llama.cpp ended, or never got ready, in words and as errors."""

from __future__ import annotations

import re
import signal

from moot.engine.errors import EngineError, ModelUnavailable
from moot.engine.llama.ear import ENDED
from moot.engine.llama.settings import Settings

__all__ = ["ending", "load_error"]

_NO_MEMORY = re.compile(rb"failed to create.context|(unable|failed) to allocate|insufficient memory", re.IGNORECASE)
_REASON = re.compile(rb"^\S+ E +(.+)$", re.MULTILINE)


def load_error(engine: str, settings: Settings, failed: str, printed: bytes | None) -> EngineError:
    """The error for a model that was not loaded, from the child's own word and the end of what llama.cpp printed.

    ``printed`` is None where it did not get as far as the model.
    """
    if printed is None:
        return EngineError(
            f"engine {engine!r} cannot run llama.cpp on {settings.model}: {failed}; mend that and ask again"
        )
    if _NO_MEMORY.search(printed):
        return EngineError(
            f"engine {engine!r} has no memory for {settings.slots} context(s) of {settings.context_size:,} tokens with "
            f"{settings.model}; ask for a smaller context or fewer slots"
        )
    reasons = _REASON.findall(printed)
    said = f": {reasons[0].decode(errors='replace')}" if reasons else ""
    why = "damaged, of an unknown kind, or too large for the memory"
    return ModelUnavailable(engine, f"llama.cpp cannot load {settings.model}{said} ({why})")


def ending(how: str, code: int | None, *, is_loading: bool) -> str:
    """How a process ended, going on from "its process". ``code`` is its exit code, None if it does not end."""
    if how != ENDED:
        return f"{how} and was killed" if code is not None else f"{how}, was killed and does not end"
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    if code == -signal.SIGKILL and is_loading:
        return "was killed by signal 9 (SIGKILL) while it loaded its model, perhaps for want of memory"
    try:
        return f"was killed by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"was killed by signal {-code}"
