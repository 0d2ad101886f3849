"""The local engine on a real model: batches, reuses prefixes, obeys schemas, and lets go when told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moot.engine.base import ChatMessage, EngineRequest, SamplingParams
from moot.engine.errors import (
    ContextOverflow,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
    ModelUnavailable,
)
from moot.engine.local import LocalEngine
from moot.engine.prompt import build_prompt
from moot.engine.queue import AdmissionQueue

from .conftest import ask, local_engine

STORY = "Tell me a long story about a king who had three sons."


async def until_working_on(engine: LocalEngine, requests: int) -> None:
    """Wait until llama.cpp itself reports so many requests under way; each look waits for one of its steps."""
    async with asyncio.timeout(60):
        while True:
            if (await engine.metrics())["requests_processing"] == requests:
                return


def test_it_answers_with_its_usage(tiny_model: Path) -> None:
    async def main() -> None:
        async with local_engine(tiny_model) as engine:
            completion = await engine.generate(ask("Say hello.", max_tokens=8))
            assert completion.text
            assert completion.finish_reason == "length"
            assert completion.usage.completion_tokens == 8
            assert completion.usage.prompt_tokens == await engine.count_tokens(ask("Say hello.").messages)
            assert completion.seconds > 0

    asyncio.run(main())


def test_a_stream_gives_the_pieces_of_the_same_answer(tiny_model: Path) -> None:
    async def main() -> None:
        async with local_engine(tiny_model) as engine:
            chunks = [chunk async for chunk in engine.stream(ask("Count to five.", max_tokens=12))]
            last = chunks[-1].completion
            assert last is not None
            assert "".join(chunk.text for chunk in chunks) == last.text
            assert len(chunks) > 4
            assert (await engine.generate(ask("Count to five.", max_tokens=12))).text == last.text

    asyncio.run(main())


def test_eight_requests_at_once_advance_together(tiny_model: Path) -> None:
    async def main() -> None:
        async with local_engine(tiny_model, slots=8, context_size=256) as engine:
            queue = AdmissionQueue(engine)
            requests = [ask(f"Tell me about the number {number}.", max_tokens=16) for number in range(8)]
            answers = await asyncio.gather(*(queue.generate(request) for request in requests))
            counters = await engine.metrics()

        assert [answer.usage.completion_tokens for answer in answers] == [16] * 8
        # One after another this would take 8 times 16 steps with one busy slot each.
        assert counters["n_decode_total"] < 48
        assert counters["n_busy_slots_per_decode"] > 4

    asyncio.run(main())


def test_a_shared_prefix_is_computed_once(tiny_model: Path) -> None:
    shared = ["Fact: the lighthouse of Alexandria stood for sixteen centuries. " * 20]

    async def main() -> None:
        async with local_engine(tiny_model) as engine:
            sampling = SamplingParams(max_tokens=4)
            cold, hot = [
                (await engine.generate(EngineRequest(messages=messages, sampling=sampling))).usage
                for messages in (
                    build_prompt(instructions="Be brief.", shared=shared, role="You are a reader.", task="What stood?"),
                    build_prompt(instructions="Be brief.", shared=shared, role="You are a critic.", task="How long?"),
                )
            ]
        assert cold.cached_tokens == 0
        assert hot.cached_tokens >= 0.9 * hot.prompt_tokens
        assert hot.prompt_tokens > 200

    asyncio.run(main())


class Vote(msgspec.Struct):
    choice: str
    confidence: float


VOTE = {
    "type": "object",
    "properties": {
        "choice": {"enum": ["red", "green", "blue"]},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.01},
    },
    "required": ["choice", "confidence"],
}


@pytest.mark.slow
def test_a_schema_constrained_answer_parses_in_100_of_100_runs(tiny_model: Path) -> None:
    async def main() -> list[str]:
        async with local_engine(tiny_model, context_size=256) as engine:
            queue = AdmissionQueue(engine)  # one slot: the prompt is read once, which is faster here than a batch

            async def vote(seed: int) -> str:
                sampling = SamplingParams(temperature=1.5, seed=seed, max_tokens=40)
                messages = (ChatMessage("user", "Which colour is best? Be 250 % confident."),)
                return (await queue.generate(EngineRequest(messages=messages, sampling=sampling, schema=VOTE))).text

            return list(await asyncio.gather(*(vote(seed) for seed in range(100))))

    answers = asyncio.run(main())

    votes = [msgspec.json.decode(answer, type=Vote) for answer in answers]
    assert len(votes) == 100
    assert {vote.choice for vote in votes} <= {"red", "green", "blue"}
    assert all(0 <= vote.confidence <= 1 for vote in votes)
    assert len(set(answers)) > 5  # the runs differ


def test_an_unbounded_schema_still_ends(tiny_model: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "number"}, "ok": {"type": "boolean"}},
        "required": ["n", "ok"],
    }

    async def main() -> None:
        async with local_engine(tiny_model) as engine:
            completion = await engine.generate(ask("Write 9 digits of pi.", max_tokens=60, schema=schema))
            assert completion.finish_reason == "stop"
            assert abs(json.loads(completion.text)["n"]) <= 1e9

    asyncio.run(main())


def test_a_grammar_and_the_logprobs_before_it_make_a_judge(tiny_model: Path) -> None:
    async def main() -> None:
        async with local_engine(tiny_model) as engine:
            request = ask("Is water wet? Answer yes or no.", grammar='root ::= "yes" | "no"', logprobs=50, max_tokens=4)
            completion = await engine.generate(request)
            assert completion.text in {"yes", "no"}
            first = completion.logprobs[0]
            assert len(first) >= 50
            assert {"Yes", "No"} <= first.keys()  # not in the grammar, so these stand before its mask
            assert all(value <= 0 for value in first.values())

    asyncio.run(main())


def test_a_prompt_longer_than_the_context_is_never_sent(tiny_model: Path) -> None:
    async def main() -> None:
        async with local_engine(tiny_model, context_size=128) as engine:
            with pytest.raises(ContextOverflow) as caught:
                await engine.generate(ask("word " * 200, max_tokens=10))
            assert caught.value.prompt_tokens > 200
            assert (caught.value.max_tokens, caught.value.context_size) == (10, 128)
            with pytest.raises(ContextOverflow):
                await engine.generate(ask("short", max_tokens=127))
            assert (await engine.metrics())["n_decode_total"] == 0

    asyncio.run(main())


def test_the_context_is_no_larger_than_the_model_knows(tiny_model: Path) -> None:
    async def main() -> None:
        async with local_engine(tiny_model, context_size=9000) as engine:
            await engine.start()
            assert engine.context_size == 8192

    asyncio.run(main())


@pytest.mark.parametrize("prompt", [STORY, "cat " * 1500], ids=["while it answers", "while it reads the prompt"])
def test_cancelling_frees_the_slot(tiny_model: Path, prompt: str) -> None:
    async def main() -> None:
        async with local_engine(tiny_model) as engine:
            await engine.start()
            task = asyncio.create_task(engine.generate(ask(prompt, max_tokens=400)))
            await until_working_on(engine, 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until_working_on(engine, 0)
            counters = await engine.metrics()
            assert counters["tokens_predicted_total"] < 200
            assert counters["prompt_tokens_total"] < 1000  # the long prompt was not read to its end
            assert (await engine.generate(ask("Hello", max_tokens=2))).usage.completion_tokens == 2

    asyncio.run(main())


def test_leaving_a_stream_early_frees_the_slot(tiny_model: Path) -> None:
    async def main() -> None:
        async with local_engine(tiny_model) as engine:
            async with aclosing(engine.stream(ask(STORY, max_tokens=400))) as chunks:
                await anext(chunks)
            await until_working_on(engine, 0)
            assert (await engine.metrics())["tokens_predicted_total"] < 200

    asyncio.run(main())


def test_a_cancelled_waiter_never_reaches_the_engine(tiny_model: Path) -> None:
    async def main() -> None:
        async with local_engine(tiny_model) as engine:
            running = asyncio.create_task(engine.generate(ask(STORY, max_tokens=24)))
            waiting = asyncio.create_task(engine.generate(ask("another " * 300, max_tokens=8)))
            await engine.start()
            waiting.cancel()
            answer = await running
            await until_working_on(engine, 0)
            assert (await engine.metrics())["prompt_tokens_total"] == answer.usage.prompt_tokens

    asyncio.run(main())


def test_a_deadline_is_a_typed_error_and_frees_the_slot(tiny_model: Path) -> None:
    class Hurried:
        """A clock on which the deadline is always a hundredth of a second away."""

        def now(self) -> float:
            return 0.99

    async def main() -> None:
        async with local_engine(tiny_model, clock=Hurried()) as engine:
            await engine.start()
            with pytest.raises(EngineTimeout):
                await engine.generate(ask("cat " * 1500, max_tokens=400, deadline=1.0))
            await until_working_on(engine, 0)

    asyncio.run(main())


@pytest.mark.parametrize(
    "options",
    [
        {"schema": {"type": "nonsense"}},
        {"schema": {}},
        {"max_tokens": -3},
        {"tools": ({"type": "function"},)},
        {"schema": {"type": "null"}, "grammar": 'root ::= "a"'},
    ],
    ids=["unknown type", "no type", "negative tokens", "tools", "schema and grammar"],
)
def test_a_request_that_makes_no_sense_is_refused(tiny_model: Path, options: dict[str, Any]) -> None:
    async def main() -> None:
        async with local_engine(tiny_model) as engine:
            with pytest.raises(EngineRejected):
                await engine.generate(ask("x", **options))
            assert (await engine.generate(ask("Hello", max_tokens=2))).text

    asyncio.run(main())


def test_closing_ends_the_requests_under_way(tiny_model: Path) -> None:
    async def main() -> None:
        engine = LocalEngine(tiny_model, threads=1, context_size=1024)
        chunks = engine.stream(ask(STORY, max_tokens=400))
        await anext(chunks)
        waiting = asyncio.create_task(engine.generate(ask("later", max_tokens=400)))
        await asyncio.sleep(0)
        await engine.close()
        with pytest.raises(EngineUnavailable, match="closed"):
            async for _ in chunks:
                pass
        with pytest.raises(EngineUnavailable, match="closed"):
            await waiting
        with pytest.raises(EngineUnavailable, match="closed"):
            await engine.generate(ask("x"))
        await engine.close()

    asyncio.run(main())


def test_closing_frees_the_model(tiny_model: Path) -> None:
    async def main() -> None:
        async with local_engine(tiny_model, context_size=256) as engine:
            pid = (await engine.process()).pid
            os.kill(pid, 0)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    asyncio.run(main())


def test_an_engine_may_outlive_an_event_loop(tiny_model: Path) -> None:
    engine = LocalEngine(tiny_model, threads=1, context_size=256)
    for _ in range(2):
        assert asyncio.run(engine.generate(ask("Hello", max_tokens=2))).text
    asyncio.run(engine.close())


@pytest.mark.parametrize("body", [b"GGUF" + bytes(100), b"<html>", None], ids=["damaged", "not a model", "missing"])
def test_a_file_that_is_no_model_is_said_so(tmp_path: Path, body: bytes | None) -> None:
    path = tmp_path / "model.gguf"
    if body is not None:
        path.write_bytes(body)

    async def main() -> None:
        engine = LocalEngine(path)
        with pytest.raises(ModelUnavailable, match=r"model\.gguf"):
            await engine.start()
        await engine.close()

    asyncio.run(main())


def test_signals_still_reach_python_after_the_model_is_loaded(tiny_model: Path) -> None:
    received: list[int] = []

    async def main() -> None:
        async with local_engine(tiny_model, context_size=256) as engine:
            await engine.start()
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)

    before = {number: signal.signal(number, lambda number, _: received.append(number)) for number in (2, 15)}
    try:
        asyncio.run(main())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

    assert sorted(received) == [2, 15]


def test_nothing_is_printed_on_the_terminal(tiny_model: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from moot.engine.base import ChatMessage, EngineRequest, SamplingParams\n"
        "from moot.engine.local import LocalEngine\n"
        "async def main():\n"
        "    engine = LocalEngine(sys.argv[1], context_size=256, threads=1)\n"
        "    prompt = (ChatMessage('user', 'Hello'),)\n"
        "    schema = {'type': 'boolean'}\n"
        "    sampling = SamplingParams(max_tokens=4)\n"
        "    await engine.generate(EngineRequest(messages=prompt, schema=schema, sampling=sampling))\n"
        "    await engine.close()\n"
        "asyncio.run(main())\n"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tiny_model)], capture_output=True, text=True, check=True)

    assert (result.stdout, result.stderr) == ("", "")
