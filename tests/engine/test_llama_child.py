"""Real children of llama.cpp under real kills: they end with their parent, are replaced, and take nobody along."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from moot.engine.base import Completion
from moot.engine.errors import EngineCrashed, EngineError, EngineUnavailable
from moot.engine.local import LocalEngine, ProcessPolicy
from moot.engine.queue import AdmissionQueue
from moot.engine.slots import Slots

from .conftest import ask, local_engine
from .processes import command_line, open_files, program, said, told_by_proc, wait_until_gone, working_folder

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")

STARTS = int(os.environ.get("MOOT_STARTS", "10"))
"""How often an engine is started and closed at once, half of them on a busy machine; a soak sets more."""

STORY = "Tell me a long story about a king who had three sons."

PARENT = """
import asyncio, os, sys
from moot.engine.base import ChatMessage, EngineRequest, SamplingParams
from moot.engine.local import LocalEngine

async def main():
    engine = LocalEngine(sys.argv[1], threads=1, context_size=1024)
    prompt = (ChatMessage("user", "Tell me a long story."),)
    if sys.argv[2] == "loading":
        task = asyncio.create_task(engine.start())
        while (process := engine._supervisor._process) is None or process._popen is None:
            await asyncio.sleep(0)
        print(process._popen.pid, flush=True)
        await task
        await asyncio.Event().wait()
    print((await engine.process()).pid, flush=True)
    async for _ in engine.stream(EngineRequest(messages=prompt, sampling=SamplingParams(max_tokens=900))):
        if sys.argv[2] == "leaving":
            return
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def loading(engine: LocalEngine) -> int:
    """The child as soon as there is one; it has hardly begun to load."""
    while (process := engine._supervisor._process) is None or process._popen is None:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0)
    return process._popen.pid


async def started(engine: LocalEngine) -> int:
    return (await engine.process()).pid


def test_a_child_that_is_killed_in_the_middle_of_eight_answers_costs_each_asker_one_error(tiny_model: Path) -> None:
    async def main() -> None:
        async with local_engine(tiny_model, slots=8, context_size=256) as engine:
            queue = AdmissionQueue(engine)
            streams = [queue.stream(ask(f"{STORY} Number {number}.", max_tokens=200)) for number in range(8)]
            for stream in streams:
                await anext(stream)  # each has begun to answer
            os.kill(await started(engine), signal.SIGKILL)

            async def rest(stream: object) -> EngineError:
                with pytest.raises(EngineCrashed) as caught:
                    async for _ in stream:  # type: ignore[attr-defined]
                        pass
                return caught.value

            async with asyncio.timeout(1):
                errors = await asyncio.gather(*map(rest, streams))

            assert all(error.retryable for error in errors)
            assert len({error.request for error in errors if isinstance(error, EngineCrashed)}) == 8
            assert "SIGKILL" in str(errors[0])
            assert (await queue.generate(ask("Hello", max_tokens=2))).usage.completion_tokens == 2
            assert queue.stats().breaker == "closed"

    asyncio.run(main())


def test_a_child_that_is_killed_while_nobody_asks_is_replaced_without_a_word(tiny_model: Path) -> None:
    async def main() -> None:
        async with local_engine(tiny_model, context_size=256) as engine:
            for _ in range(2):
                pid = await started(engine)
                os.kill(pid, signal.SIGKILL)
                assert (await engine.generate(ask("Hello", max_tokens=1))).text
                assert await started(engine) != pid

    asyncio.run(main())


def test_crashes_with_any_answer_between_are_not_in_a_row(tiny_model: Path) -> None:
    async def main() -> None:
        async with local_engine(tiny_model, context_size=256) as engine:
            for _ in range(4):
                assert await engine.count_tokens(ask("Hello").messages)
                os.kill(await started(engine), signal.SIGKILL)

    asyncio.run(main())


def test_what_was_cancelled_while_it_waited_in_the_child_is_not_begun(tiny_model: Path) -> None:
    async def main() -> None:
        async with local_engine(tiny_model) as engine:
            await engine.start()
            first = asyncio.create_task(engine.generate(ask(STORY, max_tokens=60)))
            async with asyncio.timeout(60):
                while not (await engine.metrics())["requests_processing"]:
                    pass
            before = await engine.metrics()
            engine._inside = Slots(100)  # so that they wait there, and not here
            late = [asyncio.create_task(engine.generate(ask(f"{number} cat " * 300))) for number in range(10)]
            await engine.count_tokens(ask("x").messages)
            for task in late:
                task.cancel()
            await asyncio.gather(first, *late, return_exceptions=True)
            assert (await engine.generate(ask("Hello", max_tokens=2))).text
            after = await engine.metrics()
            assert after["prompt_tokens_total"] - before["prompt_tokens_total"] < 100

    asyncio.run(main())


def test_a_child_that_is_stopped_in_an_answer_is_replaced(tiny_model: Path) -> None:
    async def main() -> None:
        engine = LocalEngine(tiny_model, threads=1, context_size=512, process=ProcessPolicy(silence=3))
        chunks = engine.stream(ask(STORY, max_tokens=400))
        await anext(chunks)
        pid = await started(engine)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(EngineCrashed, match="no sign of life"):
            async for _ in chunks:
                pass
        assert wait_until_gone(pid, 5)
        assert (await engine.generate(ask("Hello", max_tokens=1))).text
        await engine.close()

    asyncio.run(main())


@pytest.mark.parametrize("phase", ["loading", "answering"] * 10)
def test_no_child_outlives_a_parent_that_is_killed(tiny_model: Path, phase: str) -> None:
    with program(PARENT, str(tiny_model), phase) as parent:
        child = int(said(parent))
        assert "llama/entry" in command_line(child)
        parent.kill()
        parent.wait()

        assert wait_until_gone(child, 2)


def test_a_child_that_does_not_read_its_input_ends_with_its_parent_all_the_same(tiny_model: Path) -> None:
    with program(PARENT, str(tiny_model), "answering") as parent:
        child = int(said(parent))
        os.kill(child, signal.SIGSTOP)  # as deaf as while llama.cpp holds the interpreter's lock
        parent.kill()
        parent.wait()

        assert wait_until_gone(child, 2)


def test_no_child_outlives_a_program_that_forgets_to_close_its_engine(tiny_model: Path) -> None:
    with program(PARENT, str(tiny_model), "leaving") as parent:
        child = int(said(parent))

        assert parent.wait(30) == 0
        assert wait_until_gone(child, 2)


@contextmanager
def both_cores_busy() -> Iterator[None]:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


@pytest.mark.timeout(180 + 10 * STARTS)
@pytest.mark.parametrize("is_busy", [False, True], ids=["quiet", "busy"])
def test_starting_and_closing_at_once_leaves_nothing_behind(tiny_model: Path, *, is_busy: bool) -> None:
    children: list[int] = []

    async def life(phase: int) -> None:
        engine = LocalEngine(tiny_model, threads=1, context_size=256)
        asked = asyncio.create_task(engine.generate(ask(STORY, max_tokens=100)))
        await asyncio.sleep(0)
        if phase == 1:
            children.append(await loading(engine))
        elif phase == 2:
            children.append(await started(engine))
        elif phase == 3:
            children.append(await started(engine))
            await anext(engine.stream(ask(STORY, max_tokens=100)), None)  # waits until the first is answered, or lost
        await engine.close()
        (outcome,) = await asyncio.gather(asked, return_exceptions=True)
        assert isinstance(outcome, EngineError | Completion)

    def lives() -> None:
        for number in range(STARTS // 2):
            asyncio.run(life(number % 4))

    if is_busy:
        with both_cores_busy():
            lives()
    else:
        lives()

    assert children
    assert all(wait_until_gone(pid, 0) for pid in children)
    for thread in threading.enumerate():
        if thread.name == "moot engine local":  # it has told of the end, and is about to end itself
            thread.join(10)
            assert not thread.is_alive()


def test_the_child_has_neither_our_files_nor_our_signals(tiny_model: Path, tmp_path: Path) -> None:
    async def main() -> None:
        with (tmp_path / "ours").open("w") as file:
            os.set_inheritable(file.fileno(), True)
            async with local_engine(tiny_model, context_size=256) as engine:
                pid = await started(engine)
                assert not [path for path in open_files(pid) if "ours" in path]
                assert os.getsid(pid) == os.getpgid(pid) == pid
                assert working_folder(pid) == Path("/")
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    os.kill(pid, number)
                assert (await engine.generate(ask("Hello", max_tokens=1))).text
                assert await started(engine) == pid
                assert told_by_proc(pid, "oom_score_adj") == "1000"

    asyncio.run(main())


def test_the_port_that_llama_cpp_opens_is_on_loopback_and_closed_to_those_without_its_key(tiny_model: Path) -> None:
    import http.client

    async def main() -> None:
        async with local_engine(tiny_model, context_size=256) as engine:
            listening = listening_ports(await started(engine))
            assert len(listening) == 1
            assert listening[0][0] == "127.0.0.1"
            for path in ("/props", "/slots", "/metrics"):
                connection = http.client.HTTPConnection(*listening[0], timeout=10)
                connection.request("GET", path)
                assert connection.getresponse().status == 401
                connection.close()

    asyncio.run(main())


def listening_ports(pid: int) -> list[tuple[str, int]]:
    """The TCP addresses at which a process listens, from what Linux tells of its sockets."""
    sockets = open_files(pid)
    found = []
    for line in told_by_proc(pid, "net/tcp").splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
            address, port = fields[1].split(":")
            found.append((".".join(str(byte) for byte in reversed(bytes.fromhex(address))), int(port, 16)))
    return found


def test_two_event_loops_and_two_queues_share_one_engine(tiny_model: Path) -> None:
    engine = LocalEngine(tiny_model, threads=1, slots=2, context_size=256)
    answers: list[str] = []

    async def some() -> None:
        queue = AdmissionQueue(engine)
        completions = await asyncio.gather(*(queue.generate(ask("Hello", max_tokens=4)) for _ in range(4)))
        answers.extend(completion.text for completion in completions)

    threads = [threading.Thread(target=lambda: asyncio.run(some())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(engine.close())

    assert len(answers) == 8
    assert all(answers)


def test_two_engines_with_the_same_settings_have_one_child_that_ends_with_the_last(tiny_model: Path) -> None:
    async def main() -> None:
        async with local_engine(tiny_model) as another, local_engine(tiny_model, slots=2) as first:
            async with local_engine(tiny_model, slots=2) as second:
                pid = await started(first)
                assert await started(second) == pid
                assert await started(another) != pid
                # The second is closed in the middle of its answer, however fast the model is.
                going, closed = first.stream(ask(STORY, max_tokens=60)), second.stream(ask(STORY, max_tokens=600))
                await anext(going)
                await anext(closed)

            with pytest.raises(EngineUnavailable, match="closed"):
                async for _ in closed:
                    pass
            with pytest.raises(EngineUnavailable, match="closed"):
                await second.start()
            assert [chunk async for chunk in going][-1].completion
            assert await started(first) == pid
        assert wait_until_gone(pid, 0)

    asyncio.run(main())


def test_a_forked_process_gets_a_child_of_its_own(tiny_model: Path) -> None:
    code = """
        import asyncio, os, sys
        from moot.engine.base import ChatMessage, EngineRequest, SamplingParams
        from moot.engine.local import LocalEngine

        engine = LocalEngine(sys.argv[1], threads=1, context_size=256)
        request = EngineRequest(messages=(ChatMessage("user", "Hello"),), sampling=SamplingParams(max_tokens=2))

        async def life():
            text = (await engine.generate(request)).text
            print((await engine.process()).pid, flush=True)
            return text

        async def end():
            text = await life()
            await engine.close()
            return text

        async def fork_in_an_answer():
            chunks = engine.stream(request)  # which holds the only slot
            await anext(chunks)
            forked = os.fork()
            if forked:
                await chunks.aclose()
            return forked

        before = asyncio.run(life())
        if not (fork := asyncio.run(fork_in_an_answer())):
            os._exit(asyncio.run(end()) != before)
        assert os.waitpid(fork, 0)[1] == 0
        assert asyncio.run(end()) == before
    """
    with program(code, str(tiny_model)) as parent:
        first, forked, again = said(parent), said(parent), said(parent)

        assert parent.wait(60) == 0
    assert forked != first
    assert again == first


def test_what_a_slot_has_read_can_be_written_and_given_to_another_process(tiny_model: Path, tmp_path: Path) -> None:
    question = ask("Fact: the lighthouse of Alexandria stood for sixteen centuries. " * 10, max_tokens=1)

    async def main() -> None:
        async with local_engine(tiny_model, process=ProcessPolicy(slot_folder=str(tmp_path))) as engine:
            await engine.generate(question)
            written = await engine.save_slot(0, "lighthouse.slot")
            os.kill(await started(engine), signal.SIGKILL)
            assert await engine.restore_slot(0, "lighthouse.slot") == written
            usage = (await engine.generate(question)).usage
            assert usage.cached_tokens >= usage.prompt_tokens - 1
            for name in ("../escaped", "nowhere.slot"):
                with pytest.raises(EngineError):
                    await engine.restore_slot(0, name)
        async with local_engine(tiny_model) as engine:
            with pytest.raises(EngineError, match="slot_folder"):
                await engine.save_slot(0, "x")
            for slot in (-1, 1, 99):
                with pytest.raises(EngineError, match="it has no slot"):
                    await engine.save_slot(slot, "x")

    asyncio.run(main())


def test_a_context_for_which_there_is_no_memory_is_one_clear_error(tiny_model: Path) -> None:
    async def main() -> None:
        async with local_engine(tiny_model, context_size=8192, slots=100_000) as engine:
            with pytest.raises(EngineError, match=r"no memory for 100000 context\(s\)") as caught:
                await engine.start()
            assert not caught.value.retryable

    asyncio.run(main())
    with pytest.raises(ValueError, match="context_size"):
        LocalEngine(tiny_model, context_size=2**31)
