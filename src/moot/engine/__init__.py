"""Language-model engines: the port, the queue before it, and one file per engine.

Importing this package loads no engine and no third-party library; `open_engine` does, when asked for one. The public
names are loaded when they are first used, because most systems start without an engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moot.engine.base import ChatMessage, Completion, CompletionChunk, Engine, EngineRequest, SamplingParams, Usage
    from moot.engine.choose import ENGINE_FORMS, open_engine
    from moot.engine.prompt import build_prompt, canonical_json
    from moot.engine.queue import AdmissionQueue, QueueStats
else:
    from moot.lazy import lazy_names

    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "base": "ChatMessage Completion CompletionChunk Engine EngineRequest SamplingParams Usage",
            "choose": "ENGINE_FORMS open_engine",
            "prompt": "build_prompt canonical_json",
            "queue": "AdmissionQueue QueueStats",
        },
    )

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
