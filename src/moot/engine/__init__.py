"""Language-model engines: the port, the queue before it, and one file per engine.

Importing this package loads no engine and no third-party library; `open_engine` does, when asked for one. The public
names are loaded when they are first used, because most systems start without an engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moot.engine.base import ChatMessage, Completion, CompletionChunk, Engine, EngineRequest, SamplingParams, Usage
    from moot.engine.choose import ENGINE_FORMS, open_engine
    from moot.engine.prompt import build_prompt, canonical_json
    from moot.engine.queue import AdmissionQueue, QueueStats

__all__ = [
    "ENGINE_FORMS",
    "AdmissionQueue",
    "ChatMessage",
    "Completion",
    "CompletionChunk",
    "Engine",
    "EngineRequest",
    "QueueStats",
    "SamplingParams",
    "Usage",
    "build_prompt",
    "canonical_json",
    "open_engine",
]

_PLACES = {
    "AdmissionQueue": "queue",
    "ChatMessage": "base",
    "Completion": "base",
    "CompletionChunk": "base",
    "ENGINE_FORMS": "choose",
    "Engine": "base",
    "EngineRequest": "base",
    "QueueStats": "queue",
    "SamplingParams": "base",
    "Usage": "base",
    "build_prompt": "prompt",
    "canonical_json": "prompt",
    "open_engine": "choose",
}
"""The module of each public name."""


def __getattr__(name: str) -> Any:
    """A public name that is used for the first time."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{place}"), name)
    return value
