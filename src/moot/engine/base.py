"""The engine port: what every language-model engine offers, and the values that pass through it.

An engine is a shared resource, not a per-agent client: the requests of all
agents meet in one admission queue, are batched by the engine and find their
prefix cached. The port is therefore two verbs over plain values. Sampling is
named as in nano-vLLM (`SamplingParams`), messages as in the OpenAI API.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal, Protocol

import msgspec

__all__ = [
    "ChatMessage",
    "Completion",
    "CompletionChunk",
    "Engine",
    "EngineFront",
    "EngineRequest",
    "SamplingParams",
    "Usage",
]

FinishReason = Literal["stop", "length", "cancelled"]


class ChatMessage(msgspec.Struct, frozen=True):
    """One message of a prompt."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str


class SamplingParams(msgspec.Struct, frozen=True, kw_only=True):
    """How to sample: ``temperature`` 0 is greedy; ``logprobs`` asks for that many alternatives a token."""

    temperature: float = 0.0
    max_tokens: int = 256
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: int | None = None


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one request. ``cached_tokens`` of the prompt were found in the prefix cache."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    @property
    def fresh_tokens(self) -> int:
        """Prompt tokens that had to be computed."""
        return self.prompt_tokens - self.cached_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
        )


class EngineRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt and how to answer it.

    ``schema`` (JSON schema) or ``grammar`` (GBNF) constrain the answer; at most one is given.
    ``priority``: lower runs first. ``program`` names the team run that the request belongs to.
    ``deadline`` is absolute, in seconds of the runtime's clock.
    """

    messages: tuple[ChatMessage, ...]
    sampling: SamplingParams = SamplingParams()
    schema: Mapping[str, Any] | None = None
    grammar: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    priority: int = 0
    program: str | None = None
    deadline: float | None = None


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """An answer. ``seconds`` is the engine's time for it; ``logprobs`` has one map of token to logprob per token."""

    text: str
    finish_reason: FinishReason = "stop"
    usage: Usage = Usage()
    model: str = ""
    seconds: float = 0.0
    logprobs: tuple[Mapping[str, float], ...] = ()


class CompletionChunk(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a streamed answer; the last one carries the whole `Completion`."""

    text: str = ""
    completion: Completion | None = None


class Engine(Protocol):
    """A language-model engine.

    ``generate`` and ``stream`` raise `EngineError` and its kinds; cancelling them frees the
    engine's slot. ``close`` may be called twice.
    """

    @property
    def name(self) -> str:
        """The string that chose it, such as ``"local:tiny"``."""
        ...

    @property
    def context_size(self) -> int:
        """Tokens that a prompt and its answer may have together."""
        ...

    @property
    def slots(self) -> int:
        """How many requests it works on at once; the admission queue lets in no more."""
        ...

    @property
    def supports_grammar(self) -> bool:
        """Whether GBNF grammars constrain its answers."""
        ...

    async def start(self) -> None:
        """Load the model or look at the server now; the first request would do it otherwise."""
        ...

    async def count_tokens(self, messages: tuple[ChatMessage, ...]) -> int:
        """How many tokens this prompt has."""
        ...

    async def generate(self, request: EngineRequest) -> Completion:
        """Answer one prompt."""
        ...

    def stream(self, request: EngineRequest) -> AsyncIterator[CompletionChunk]:
        """Answer one prompt piece by piece; leaving the iterator early frees the slot."""
        ...

    async def close(self) -> None:
        """Release the model or the connection."""
        ...


class EngineFront:
    """The part of an `Engine` that stands before another one, and leaves to it all that takes no slot."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def name(self) -> str:
        return self.engine.name

    @property
    def context_size(self) -> int:
        return self.engine.context_size

    @property
    def slots(self) -> int:
        return self.engine.slots

    @property
    def supports_grammar(self) -> bool:
        return self.engine.supports_grammar

    async def start(self) -> None:
        await self.engine.start()

    async def count_tokens(self, messages: tuple[ChatMessage, ...]) -> int:
        return await self.engine.count_tokens(messages)
