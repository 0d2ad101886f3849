"""The openai engine against servers that say no: their refusals become typed errors, and the key stays secret."""

from __future__ import annotations

import asyncio
import http.server
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from moot.engine.errors import (
    ContextOverflow,
    EngineError,
    EngineRejected,
    EngineUnavailable,
)
from moot.engine.openai import OpenAIEngine

from .conftest import ask, http_server

MODELS: Mapping[str, Any] = {"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 512}]}


@contextmanager
def stub(
    status: int, body: Any, headers: Mapping[str, str] | None = None, models: Any = MODELS
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that gives one answer to every completion; yields its URL and the requests it got."""
    seen: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200 if models is not None else 404, models or {"error": {"message": "Not Found"}}, {})

        def do_POST(self) -> None:
            if self.path.endswith("/input_tokens"):  # as an older llama.cpp has it
                self.rfile.read(int(self.headers["Content-Length"]))
                self._send(404, {"error": {"message": "File Not Found"}}, {})
                return
            seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._send(status, body, headers or {})

        def _send(self, status: int, body: Any, headers: Mapping[str, str]) -> None:
            text = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response_only(status)
            kind = "text/event-stream" if isinstance(body, str) else "application/json"
            for name, value in {"Content-Type": kind, "Content-Length": str(len(text)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Keep the terminal quiet."""

    with http_server(Handler) as url:
        yield f"{url}/v1", seen


async def error_of(url: str, **options: Any) -> EngineError:
    engine = OpenAIEngine("m", url)
    try:
        with pytest.raises(EngineError) as caught:
            await engine.generate(ask("x", **options))
        return caught.value
    finally:
        await engine.close()


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({}, 1.0),
        ({"Retry-After": "soon"}, 1.0),
    ],
)
def test_too_many_requests_carries_the_time_to_wait_and_is_sent_once(headers: dict[str, str], wait: float) -> None:
    with stub(429, {"error": {"message": "Rate limit reached"}}, headers) as (url, seen):
        error = asyncio.run(error_of(url))

    assert isinstance(error, EngineUnavailable)
    assert error.retry_after == pytest.approx(wait, abs=2)
    assert "Rate limit reached" in str(error)
    assert len(seen) == 1


def test_a_broken_server_is_unavailable_and_a_bad_key_is_a_refusal() -> None:
    with stub(503, {"error": {"message": "Loading model"}}) as (url, seen):
        error = asyncio.run(error_of(url))
    assert isinstance(error, EngineUnavailable)
    assert error.retry_after is None
    assert len(seen) == 1

    with stub(401, {"error": {"message": "Incorrect API key"}}) as (url, _):
        assert isinstance(asyncio.run(error_of(url)), EngineRejected)


def test_a_context_exceeded_in_other_words_is_the_same_error() -> None:
    text = "This model's maximum context length is 512 tokens. However, you requested 700 tokens."
    with stub(400, {"error": {"message": text, "type": "BadRequestError", "code": 400}}) as (url, _):
        error = asyncio.run(error_of(url, max_tokens=5))

    assert isinstance(error, ContextOverflow)
    assert (error.prompt_tokens, error.context_size) == (700, 512)


def test_an_error_in_the_middle_of_a_stream_is_typed() -> None:
    events = (
        'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
        'data: {"error":{"code":503,"message":"out of memory","type":"unavailable_error"}}\n\n'
    )
    with stub(200, events) as (url, _):
        error = asyncio.run(error_of(url))

    assert isinstance(error, EngineUnavailable)
    assert "out of memory" in str(error)


def test_a_server_without_a_list_of_models_will_do() -> None:
    events = 'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'

    async def main(url: str) -> None:
        engine = OpenAIEngine("m", url)
        completion = await engine.generate(ask("x"))
        assert completion.text == "hi"
        assert not engine.supports_grammar
        assert await engine.count_tokens(ask("x" * 30).messages) == 14
        await engine.close()

    with stub(200, events, models=None) as (url, _):
        asyncio.run(main(url))


def test_an_older_llama_cpp_that_cannot_count_is_trusted_to_refuse() -> None:
    models = {"data": [{"id": "m", "owned_by": "llamacpp", "meta": {"n_ctx": 64}}]}
    events = 'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'

    async def main(url: str) -> None:
        engine = OpenAIEngine("m", url)
        assert (await engine.generate(ask("x" * 300, grammar='root ::= "a"'))).text == "a"
        assert (engine.supports_grammar, engine.context_size) == (True, 64)
        await engine.close()

    with stub(200, events, models=models) as (url, seen):
        asyncio.run(main(url))
    assert seen[0]["grammar"] == 'root ::= "a"'


def test_the_context_size_of_vllm_is_found_and_what_was_told_may_lower_it() -> None:
    async def main(url: str) -> None:
        for told, expected in ((None, 512), (100, 100), (9000, 512)):
            engine = OpenAIEngine("m", url, context_size=told)
            await engine.start()
            assert engine.context_size == expected
            await engine.close()

    with stub(200, {}) as (url, _):
        asyncio.run(main(url))


def test_a_grammar_is_only_for_servers_that_take_one() -> None:
    with stub(200, {}) as (url, seen):
        error = asyncio.run(error_of(url, grammar='root ::= "a"'))

    assert isinstance(error, EngineRejected)
    assert seen == []


def test_a_schema_goes_out_bounded() -> None:
    events = 'data: {"choices":[{"index":0,"delta":{"content":"nonsense"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    with stub(200, events) as (url, seen):
        error = asyncio.run(error_of(url, schema={"type": "string"}))

    assert seen[0]["response_format"]["json_schema"]["schema"]["maxLength"]
    assert isinstance(error, EngineRejected)
    assert "not the JSON" in str(error)


def test_the_key_is_sent_and_never_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    caplog.set_level(logging.DEBUG)
    with stub(401, {"error": {"message": "Incorrect API key"}}) as (url, _):
        error = asyncio.run(error_of(url))

    assert "sk-secret" not in str(error)
    assert "sk-secret" not in caplog.text


@pytest.mark.parametrize(("closed", "expected"), [(1, "answered"), (2, "lost")])
def test_a_kept_connection_that_the_server_closes_costs_no_request_and_is_tried_once_more(
    closed: int, expected: str
) -> None:
    left = [closed]

    class Closing(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send("application/json", json.dumps(MODELS))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if left[0]:
                left[0] -= 1
                self.close_connection = True
                return
            self._send("text/event-stream", 'data: {"choices": [{"delta": {"content": "yes"}}]}\n\ndata: [DONE]\n\n')

        def _send(self, kind: str, text: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Keep the terminal quiet."""

    async def main(url: str) -> str:
        engine = OpenAIEngine("m", f"{url}/v1")
        try:
            return (await engine.generate(ask("x"))).text
        except EngineUnavailable:
            return "lost"
        finally:
            await engine.close()

    with http_server(Closing) as url:
        assert asyncio.run(main(url)) == ("yes" if expected == "answered" else "lost")
    assert left == [0]


def test_an_engine_that_is_closed_while_it_looks_at_its_server_keeps_no_connection() -> None:
    asked, go_on = threading.Event(), threading.Event()

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.set()
            go_on.wait()
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Keep the terminal quiet."""

    async def closed_early(url: str) -> None:
        engine = OpenAIEngine("m", f"{url}/v1")
        starting = asyncio.create_task(engine.start())
        await asyncio.to_thread(asked.wait)
        await engine.close()
        go_on.set()

        with pytest.raises(EngineUnavailable, match="closed"):
            await starting
        assert engine._client is None

    with http_server(Slow) as url:
        asyncio.run(closed_early(url))
