"""The wire format: what is sent, how an answer is put together, which error is which."""

from __future__ import annotations

from typing import Any

import pytest

from moot.engine.base import ChatMessage, EngineRequest, SamplingParams, Usage
from moot.engine.errors import (
    ContextOverflow,
    EngineError,
    EngineRejected,
    EngineUnavailable,
)
from moot.engine.wire import AnswerReader, chat_body, check_json, engine_error

from .conftest import ask


def test_only_what_was_asked_for_is_sent() -> None:
    plain = chat_body(ask("hi"), "e")
    assert not {"top_p", "stop", "seed", "logprobs", "top_logprobs"} & plain.keys()

    sampling = SamplingParams(temperature=0.5, max_tokens=7, top_p=0.9, stop=("x",), seed=3, logprobs=2)
    full = chat_body(EngineRequest(messages=(ChatMessage("user", "hi"),), sampling=sampling), "e")
    expected = {"temperature": 0.5, "max_tokens": 7, "top_p": 0.9, "stop": ["x"], "seed": 3, "top_logprobs": 2}
    assert expected.items() <= full.items()
    assert full["messages"] == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("options", [{"schema": {}, "grammar": "root ::= [a]"}, {"tools": ({},)}])
def test_what_cannot_be_sent_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(EngineRejected):
        chat_body(ask("hi", **options), "e")


def test_an_answer_is_put_together_from_its_chunks() -> None:
    reader = AnswerReader("m")
    token = {
        "token": "He",
        "logprob": -0.5,
        "top_logprobs": [{"token": "I", "logprob": -1}, {"token": "I", "logprob": -2}],
    }

    pieces = [
        reader.read({"choices": [{"delta": {"role": "assistant", "content": None}}]}),
        reader.read({"choices": [{"delta": {"content": "He"}, "logprobs": {"content": [token]}}]}),
        reader.read({"choices": [{"delta": {"content": "y"}, "finish_reason": "length"}]}),
        reader.read(
            {
                "choices": [],
                "usage": {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}},
                "timings": {"prompt_ms": 1500.0, "predicted_ms": 500.0},
            }
        ),
    ]

    assert pieces == ["", "He", "y", ""]
    completion = reader.completion(seconds=9.0)
    assert (completion.text, completion.finish_reason, completion.model) == ("Hey", "length", "m")
    assert completion.usage == Usage(9, 4, 2)
    assert completion.seconds == 2.0
    assert completion.logprobs == ({"He": -0.5, "I": -1.0},)


def test_a_server_without_usage_or_timings_is_no_error() -> None:
    completion = AnswerReader("m").completion(seconds=9.0)

    assert (completion.usage, completion.seconds) == (Usage(), 9.0)


@pytest.mark.parametrize(
    "error",
    [
        {
            "type": "exceed_context_size_error",
            "message": "request (5000 tokens)",
            "n_prompt_tokens": 5000,
            "n_ctx": 4096,
        },
        {
            "code": "context_length_exceeded",
            "message": "This model's maximum context length is 4,096 tokens. However, your messages resulted in 5000.",
        },
    ],
)
def test_a_prompt_too_long_has_its_numbers_whatever_the_server(error: dict[str, Any]) -> None:
    typed = engine_error("e", 400, error, 16)

    assert isinstance(typed, ContextOverflow)
    assert (typed.prompt_tokens, typed.max_tokens, typed.context_size) == (5000, 16, 4096)


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, EngineRejected, False),
        (401, EngineRejected, False),
        (404, EngineRejected, False),
        (429, EngineUnavailable, True),
        (503, EngineUnavailable, True),
    ],
)
def test_the_status_says_whether_trying_again_may_help(
    status: int, kind: type[EngineError], *, retryable: bool
) -> None:
    typed = engine_error("e", status, {"message": "text of the server"}, 16)

    assert type(typed) is kind
    assert typed.retryable is retryable
    assert "text of the server" in str(typed)


def test_an_answer_that_is_not_json_is_refused() -> None:
    check_json("e", '{"a": [1]}')
    with pytest.raises(EngineRejected, match="not the JSON"):
        check_json("e", "```json")
