"""The openai engine against a real llama.cpp server, which the test starts and may kill."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from moot.engine.base import Completion, CompletionChunk
from moot.engine.errors import (
    ContextOverflow,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
)
from moot.engine.openai import OpenAIEngine
from moot.engine.queue import AdmissionQueue

from .conftest import ask

SCRIPT = Path(__file__).with_name("llama_server.py")
STORY = "Tell me a long story about a king who had three sons."


class Server:
    """A server process and its address."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.url = process.stdout.readline().strip() + "/v1"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


@contextmanager
def running_server(model: Path, slots: int = 1) -> Iterator[Server]:
    command = [sys.executable, str(SCRIPT), str(model), str(slots)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Server(process)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def server(tiny_model: Path) -> Iterator[Server]:
    with running_server(tiny_model, slots=2) as started:
        yield started


def on(server: Server, body: Any) -> None:
    async def main() -> None:
        engine = OpenAIEngine("tiny", server.url)
        try:
            await body(engine)
        finally:
            await engine.close()

    asyncio.run(main())


def test_the_server_is_asked_what_it_can_do(server: Server) -> None:
    async def body(engine: OpenAIEngine) -> None:
        await engine.start()
        assert engine.supports_grammar
        assert (engine.context_size, engine.slots) == (2048, 2)

    on(server, body)


def test_it_answers_with_usage_and_finds_its_prefix_cached(server: Server) -> None:
    prefix = "Fact: the lighthouse of Alexandria stood for sixteen centuries. " * 10

    async def body(engine: OpenAIEngine) -> None:
        await engine.generate(ask(prefix + "What stood?", max_tokens=4))
        hot = (await engine.generate(ask(prefix + "How long?", max_tokens=4))).usage
        assert hot.cached_tokens >= 0.9 * hot.prompt_tokens
        assert hot.prompt_tokens == await engine.count_tokens(ask(prefix + "How long?").messages)
        assert hot.completion_tokens == 4

    on(server, body)


def test_a_stream_gives_the_pieces_of_the_same_answer(server: Server) -> None:
    async def body(engine: OpenAIEngine) -> None:
        chunks = [chunk async for chunk in engine.stream(ask("Count to five.", max_tokens=12))]
        last = chunks[-1].completion
        assert last is not None
        assert "".join(chunk.text for chunk in chunks) == last.text != ""
        assert last.seconds > 0

    on(server, body)


def test_a_schema_and_a_grammar_constrain_the_answer(server: Server) -> None:
    schema = {"type": "object", "properties": {"vote": {"enum": ["a", "b"]}}, "required": ["vote"]}

    async def body(engine: OpenAIEngine) -> None:
        voted = await engine.generate(ask("Vote.", schema=schema, max_tokens=30))
        assert json.loads(voted.text)["vote"] in {"a", "b"}
        judged = await engine.generate(ask("Is water wet?", grammar='root ::= "yes" | "no"', logprobs=5, max_tokens=4))
        assert judged.text in {"yes", "no"}
        assert len(judged.logprobs[0]) >= 5

    on(server, body)


def test_a_prompt_longer_than_the_context_is_never_sent(server: Server) -> None:
    async def body(engine: OpenAIEngine) -> None:
        with pytest.raises(ContextOverflow) as caught:
            await engine.generate(ask("word " * 2100, max_tokens=10))
        assert caught.value.context_size == 2048
        assert caught.value.prompt_tokens > 2100
        with pytest.raises(ContextOverflow):  # the server itself would begin on this one
            await engine.generate(ask("short", max_tokens=2048))

    on(server, body)


def test_a_refusal_of_the_server_for_length_is_the_same_error(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unchecked(*_: Any) -> None:
        """As with a server that cannot count tokens."""

    async def body(engine: OpenAIEngine) -> None:
        monkeypatch.setattr(engine, "_check_fits", unchecked)
        with pytest.raises(ContextOverflow) as caught:
            await engine.generate(ask("word " * 2100, max_tokens=10))
        assert caught.value.context_size == 2048

    on(server, body)


@pytest.mark.parametrize("options", [{"max_tokens": -3}, {"schema": {}}, {"tools": ({},)}])
def test_a_request_that_makes_no_sense_is_refused(server: Server, options: dict[str, Any]) -> None:
    async def body(engine: OpenAIEngine) -> None:
        with pytest.raises(EngineRejected):
            await engine.generate(ask("x", **options))

    on(server, body)


async def read_to_the_end(chunks: AsyncIterator[CompletionChunk]) -> None:
    async for chunk in chunks:
        assert chunk.completion is None


async def free_slots(engine: OpenAIEngine) -> None:
    client = await engine._ready()
    root = engine.base_url.removesuffix("/v1")
    async with asyncio.timeout(60):
        while True:
            slots: Any = await client.get(f"{root}/slots", cast_to=object)
            if not any(slot["is_processing"] for slot in slots):
                return


def test_cancelling_frees_the_slot_of_the_server(server: Server) -> None:
    async def body(engine: OpenAIEngine) -> None:
        async with aclosing(engine.stream(ask(STORY, max_tokens=1500))) as chunks:
            await anext(chunks)
        await free_slots(engine)

        task = asyncio.create_task(engine.generate(ask(STORY, max_tokens=1500)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await free_slots(engine)

    on(server, body)


def test_a_deadline_is_a_typed_error(server: Server) -> None:
    class Hurried:
        """A clock on which the deadline is always a hundredth of a second away."""

        def now(self) -> float:
            return 0.99

    async def main() -> None:
        engine = OpenAIEngine("tiny", server.url, clock=Hurried())
        await engine.start()
        with pytest.raises(EngineTimeout):
            await engine.generate(ask(STORY, max_tokens=1500, deadline=1.0))
        await engine.close()

    asyncio.run(main())


def test_a_server_killed_in_the_middle_of_a_stream_is_a_clear_error(tiny_model: Path) -> None:
    async def main(doomed: Server) -> None:
        queue = AdmissionQueue(OpenAIEngine("tiny", doomed.url))
        running = asyncio.create_task(queue.generate(ask(STORY, max_tokens=1500)))
        chunks = queue.stream(ask("Count.", max_tokens=1500))
        await asyncio.sleep(0)
        await anext(chunks)
        doomed.kill()
        with pytest.raises(EngineUnavailable, match=r"the connection to 127\.0\.0\.1:\d+ failed"):
            await read_to_the_end(chunks)
        with pytest.raises(EngineUnavailable):
            await running
        with pytest.raises(EngineUnavailable, match=r"start it, or choose another with --engine"):
            await queue.generate(ask("Anyone?"))
        assert queue.stats().running == queue.stats().waiting == 0
        await queue.close()

    with running_server(tiny_model, slots=2) as doomed:
        asyncio.run(main(doomed))


def test_a_server_that_is_not_there_is_a_clear_error() -> None:
    async def main() -> None:
        engine = OpenAIEngine("tiny", "http://127.0.0.1:9/v1")
        with pytest.raises(EngineUnavailable, match=r"the connection to 127\.0\.0\.1:9 failed"):
            await engine.start()
        await engine.close()

    asyncio.run(main())


def test_a_closed_engine_refuses_and_ends_what_runs(server: Server) -> None:
    async def body(engine: OpenAIEngine) -> None:
        chunks = engine.stream(ask(STORY, max_tokens=1500))
        await anext(chunks)
        await engine.close()
        with pytest.raises(EngineUnavailable):
            await read_to_the_end(chunks)
        with pytest.raises(EngineUnavailable, match="closed"):
            await engine.generate(ask("x"))
        await engine.close()

    on(server, body)


def test_an_answer_has_the_model_that_was_asked_for(server: Server) -> None:
    async def body(engine: OpenAIEngine) -> None:
        completion = await engine.generate(ask("Hello", max_tokens=2))
        assert isinstance(completion, Completion)
        assert completion.model == "tiny"

    on(server, body)
