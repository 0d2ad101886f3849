"""What the engine tests share: the tiny model, engines on it, and prompts."""

from __future__ import annotations

import http.server
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from moot.engine.base import ChatMessage, EngineRequest, SamplingParams
from moot.engine.local import LocalEngine
from moot.engine.models.cache import ModelState, cached_path, model_state
from moot.engine.models.catalogue import find_model
from moot.engine.models.download import pull_model


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and "tiny_model" in item.fixturenames:
            item.add_marker("model")
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(180))  # the machine may be busy


@pytest.fixture(scope="session")
def tiny_model() -> Path:
    """The path of the tiny model: ``MOOT_TEST_MODEL``, or from the cache, or fetched into it."""
    if told := os.environ.get("MOOT_TEST_MODEL"):
        return Path(told)
    model = find_model("tiny")
    assert model is not None
    if model_state(model) is ModelState.READY:
        return cached_path(model)
    return pull_model(model, notice=lambda text: print(text, file=sys.stderr), progress=lambda done, total: None)


@asynccontextmanager
async def local_engine(path: Path, **options: Any) -> AsyncIterator[LocalEngine]:
    engine = LocalEngine(path, **{"name": "local:tiny", "threads": 1, "context_size": 2048, **options})
    try:
        yield engine
    finally:
        await engine.close()


def ask(text: str, *, system: str = "", max_tokens: int = 16, **options: Any) -> EngineRequest:
    """A request with one user message; ``sampling`` options go by ``max_tokens`` and ``logprobs``."""
    messages = (ChatMessage("system", system),) if system else ()
    sampling = SamplingParams(max_tokens=max_tokens, logprobs=options.pop("logprobs", None))
    return EngineRequest(messages=(*messages, ChatMessage("user", text)), sampling=sampling, **options)


@contextmanager
def http_server(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server on a free loopback port; yields its URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
