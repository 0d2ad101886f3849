"""The scripted engine answers from its script and from nothing else."""

from __future__ import annotations

import asyncio

import pytest

from moot.engine.base import Completion, EngineRequest, Usage
from moot.engine.errors import (
    ContextOverflow,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
)
from moot.engine.prompt import build_prompt
from moot.engine.scripted import ScriptedEngine
from moot.testing import VirtualClockLoop, run

from .conftest import ask


def test_answers_come_in_order_and_requests_are_recorded() -> None:
    engine = ScriptedEngine(["one", Completion(text="two")])

    async def main() -> None:
        assert (await engine.generate(ask("a"))).text == "one"
        assert (await engine.generate(ask("b"))).text == "two"

    run(main())

    assert [request.messages[-1].content for request in engine.requests] == ["a", "b"]
    engine.assert_exhausted()


def test_a_rule_is_asked_before_the_series() -> None:
    engine = ScriptedEngine(["other"]).when("weather", "sun").when(lambda request: request.schema is not None, "{}")

    async def main() -> None:
        assert (await engine.generate(ask("the weather?"))).text == "sun"
        assert (await engine.generate(ask("x", schema={"type": "object"}))).text == "{}"
        assert (await engine.generate(ask("x"))).text == "other"

    run(main())
    engine.assert_exhausted()


def test_a_function_answers_every_request_and_may_be_async() -> None:
    async def answer(request: EngineRequest) -> str:
        await asyncio.sleep(1)
        return request.messages[-1].content.upper()

    async def main() -> None:
        engine = ScriptedEngine(answer)
        assert (await engine.generate(ask("a"))).text == "A"
        assert (await engine.generate(ask("b"))).text == "B"

    run(main())


def test_an_exception_in_the_script_is_raised() -> None:
    async def main() -> None:
        with pytest.raises(EngineRejected):
            await ScriptedEngine([EngineRejected("scripted", "no")]).generate(ask("a"))

    run(main())


def test_a_request_without_an_answer_fails_and_names_its_prompt() -> None:
    async def main() -> None:
        with pytest.raises(AssertionError, match="what now"):
            await ScriptedEngine().generate(ask("what now"))

    run(main())


def test_answers_left_over_are_found() -> None:
    with pytest.raises(AssertionError, match="1 scripted"):
        ScriptedEngine(["never"]).assert_exhausted()
    with pytest.raises(AssertionError, match="weather"):
        ScriptedEngine().when("weather", "sun").assert_exhausted()


def test_one_text_instead_of_a_list_is_misuse() -> None:
    with pytest.raises(TypeError, match="list of answers"):
        ScriptedEngine("hello")


def test_a_stream_gives_the_words_and_then_the_whole() -> None:
    async def main() -> None:
        chunks = [chunk async for chunk in ScriptedEngine(["to be  or not"]).stream(ask("x"))]
        assert "".join(chunk.text for chunk in chunks) == "to be  or not"
        assert len(chunks) == 5
        assert chunks[-1].completion is not None
        assert chunks[-1].completion.text == "to be  or not"

    run(main())


def test_a_shared_prefix_counts_as_cached() -> None:
    shared = ["the context " * 50]

    async def main() -> None:
        engine = ScriptedEngine(lambda _: "ok")
        first = EngineRequest(messages=build_prompt(instructions="Be brief.", shared=shared, task="one?"))
        second = EngineRequest(messages=build_prompt(instructions="Be brief.", shared=shared, task="two?"))
        cold, hot = (await engine.generate(first)).usage, (await engine.generate(second)).usage
        assert cold.cached_tokens == 0
        assert hot.fresh_tokens == 2
        again = (await engine.generate(second)).usage
        assert again.fresh_tokens == 1

    run(main())


def test_a_usage_in_the_script_is_kept() -> None:
    usage = Usage(10, 4, 2)

    async def main() -> None:
        assert (await ScriptedEngine([Completion(text="x", usage=usage)]).generate(ask("a"))).usage == usage

    run(main())


def test_a_prompt_that_does_not_fit_is_refused_and_not_recorded() -> None:
    engine = ScriptedEngine(["x"], context_size=20)

    async def main() -> None:
        with pytest.raises(ContextOverflow) as caught:
            await engine.generate(ask("word " * 10, max_tokens=16))
        assert caught.value.prompt_tokens == 11

    run(main())
    assert engine.requests == []


def test_a_deadline_ends_a_slow_answer() -> None:
    async def main() -> None:
        with pytest.raises(EngineTimeout):
            await ScriptedEngine(["late"], seconds=10).generate(ask("a", deadline=VirtualClockLoop.epoch + 3.0))
        assert asyncio.get_running_loop().time() == 3.0

    run(main())


def test_it_counts_what_runs_at_once() -> None:
    engine = ScriptedEngine(lambda _: "x", seconds=1)

    async def main() -> None:
        await asyncio.gather(engine.generate(ask("a")), engine.generate(ask("b")))
        assert (engine.running, engine.most_running) == (0, 2)

    run(main())


def test_a_closed_engine_refuses() -> None:
    async def main() -> None:
        engine = ScriptedEngine(["x"])
        await engine.close()
        await engine.close()
        with pytest.raises(EngineUnavailable):
            await engine.generate(ask("a"))

    run(main())
