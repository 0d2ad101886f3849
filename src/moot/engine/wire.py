"""The chat format on the wire: how a request is written and an answer read, for every engine that speaks it.

llama.cpp (in process or as a server), vLLM, Ollama and the hosted services share
the OpenAI chat format with small differences. Those differences live here, as
plain functions over dictionaries, so that engines only move bytes.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import msgspec

from moot.engine.base import ChatMessage, Completion, CompletionChunk, EngineRequest, FinishReason, Usage
from moot.engine.errors import (
    ContextOverflow,
    EngineError,
    EngineRejected,
    EngineUnavailable,
)

__all__ = ["AnswerReader", "chat_body", "check_json", "engine_error", "last_completion", "message_dicts"]

_MOST_LOGPROBS = 10_000
"""Alternatives to a token: a judge looks at some dozens; a whole vocabulary makes megabytes of each token."""
_REFUSALS = frozenset({400, 413, 422})
_NUMBER = re.compile(r"\d[\d,]*")
_OVERFLOW = re.compile(r"context (length|size|window)|exceed_context|maximum context|too many tokens", re.IGNORECASE)


def message_dicts(messages: tuple[ChatMessage, ...]) -> list[dict[str, str]]:
    """The messages as the wire has them."""
    return [{"role": message.role, "content": message.content} for message in messages]


def chat_body(request: EngineRequest, engine: str) -> dict[str, Any]:
    """The parameters that all servers understand; constraints on the answer are the engine's to add."""
    if request.tools:
        raise EngineRejected(engine, "tool calls are not offered by this engine; describe the tools in a schema")
    if request.schema is not None and request.grammar is not None:
        raise EngineRejected(engine, "a request has either a schema or a grammar, not both")
    sampling = request.sampling
    if sampling.logprobs is not None and not 0 <= sampling.logprobs <= _MOST_LOGPROBS:
        raise EngineRejected(engine, f"logprobs must be from 0 to {_MOST_LOGPROBS:,}, not {sampling.logprobs:,}")
    body: dict[str, Any] = {
        "messages": message_dicts(request.messages),
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if sampling.top_p is not None:
        body["top_p"] = sampling.top_p
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": sampling.logprobs}
    return body


class AnswerReader:
    """Puts a streamed answer together."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._pieces: list[str] = []
        self._logprobs: list[Mapping[str, float]] = []
        self._finish: FinishReason = "stop"
        self._usage = Usage()
        self._seconds = 0.0

    def read(self, chunk: Mapping[str, Any]) -> str:
        """Take in one chunk and return the text it adds."""
        if usage := chunk.get("usage"):
            self._usage = _usage(usage)
        if timings := chunk.get("timings"):
            self._seconds = (timings.get("prompt_ms", 0.0) + timings.get("predicted_ms", 0.0)) / 1000
        choices = chunk.get("choices")
        if not choices:
            return ""
        choice = choices[0]
        if choice.get("finish_reason"):
            self._finish = "length" if choice["finish_reason"] == "length" else "stop"
        for token in (choice.get("logprobs") or {}).get("content") or ():
            self._logprobs.append(_alternatives(token))
        text: str = (choice.get("delta") or {}).get("content") or ""
        if text:
            self._pieces.append(text)
        return text

    def completion(self, *, seconds: float = 0.0) -> Completion:
        """The whole answer; ``seconds`` stands in where the server reports no timings."""
        return Completion(
            text="".join(self._pieces),
            finish_reason=self._finish,
            usage=self._usage,
            model=self._model,
            seconds=self._seconds or seconds,
            logprobs=tuple(self._logprobs),
        )


def engine_error(engine: str, status: int, error: Mapping[str, Any], max_tokens: int) -> EngineError:
    """The typed error for an error object of the wire (its ``type``, ``code`` and ``message``)."""
    message = str(error.get("message") or f"HTTP status {status}")
    kind = f"{error.get('type', '')} {error.get('code', '')} {message}"
    if status in _REFUSALS and _OVERFLOW.search(kind):
        numbers = [int(number.replace(",", "")) for number in _NUMBER.findall(message)]
        prompt = error.get("n_prompt_tokens") or max(numbers, default=0)
        context = error.get("n_ctx") or min((number for number in numbers if number), default=0)
        return ContextOverflow(engine, prompt, max_tokens, context)
    if status in {408, 429} or status >= 500:
        return EngineUnavailable(engine, message)
    return EngineRejected(engine, message)


async def last_completion(chunks: AsyncGenerator[CompletionChunk, None]) -> Completion:
    """Read a stream to its end."""
    completion = Completion(text="", finish_reason="cancelled")
    async with contextlib.aclosing(chunks):
        async for chunk in chunks:
            completion = chunk.completion or completion
    return completion


def check_json(engine: str, text: str) -> None:
    """Raise `EngineRejected` if a finished schema answer is no JSON: the engine did not apply the schema."""
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise EngineRejected(engine, f"its answer is not the JSON that the schema asks for ({error})") from error


def _usage(usage: Mapping[str, Any]) -> Usage:
    details = usage.get("prompt_tokens_details") or {}
    return Usage(
        usage.get("prompt_tokens") or 0,
        details.get("cached_tokens") or 0,
        usage.get("completion_tokens") or 0,
    )


def _alternatives(token: Mapping[str, Any]) -> dict[str, float]:
    # Several tokens may spell the same text; the likeliest counts.
    found: dict[str, float] = {}
    for entry in (token, *(token.get("top_logprobs") or ())):
        logprob = float(entry["logprob"])
        found[entry["token"]] = max(logprob, found.get(entry["token"], logprob))
    return found
