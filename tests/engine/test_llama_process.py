"""A sick child is found, ended and replaced, whatever it does: children planted for it, and no model."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from moot.engine.errors import (
    EngineCrashed,
    EngineError,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
    ModelUnavailable,
)
from moot.engine.llama import supervisor
from moot.engine.llama.ear import Over
from moot.engine.llama.process import LlamaProcess
from moot.engine.local import LocalEngine
from moot.engine.queue import AdmissionQueue

from .conftest import ask
from .processes import engine_on, planted, played, wait_until_gone

BEGUN = b'{"choices": [{"delta": {"content": "once"}}]}\n'


def changed(model: Path) -> None:
    model.write_bytes(b"GGUF, another")


async def crash_of(model: Path, *, silence: float | None = None) -> EngineCrashed:
    engine = engine_on(model, silence=silence)
    try:
        with pytest.raises(EngineCrashed) as caught:
            await engine.generate(ask("Hello"))
    finally:
        await engine.close()
    return caught.value


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("os._exit(3)", "ended with exit code 3"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"was killed by signal 11 \(SIGSEGV\)"),
        ("control.sendall(b'I am no child of yours' * 9 + b'\\n'); time.sleep(60)", "sent what no child of ours sends"),
        ("control.sendall(b'x' * 1_000_000); time.sleep(60)", "sent what no child of ours sends"),
        ("ready(); taken = connection(); control.sendall(b'[]\\n'); connection()", "sent what no child of ours sends"),
        ("ready(); connection(); os._exit(0)", "ended with exit code 0"),
        ("ready(); connection(); control.close(); os.close(0); os.close(1); time.sleep(60)", "hung up and was killed"),
    ],
    ids=["exit", "fault", "rubbish", "endless rubbish", "rubbish later", "exit at a request", "hangs up"],
)
def test_a_child_that_does_not_do_its_work_is_a_retryable_error_that_says_how_it_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str, how: str
) -> None:
    with planted(monkeypatch, tmp_path, body) as model:
        error = asyncio.run(crash_of(model))

    assert error.retryable
    assert re.search(how, error.how)


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("ready(); taken = connection(); time.sleep(60)", "gave no sign of life"),
        ("ready(); taken = connection(); beat(quiet=9.0)", "made no progress for 9 s"),
        ("ready(); beats(); taken = connection(); os.kill(os.getpid(), signal.SIGSTOP)", "gave no sign of life"),
    ],
    ids=["no beat", "no progress", "stopped"],
)
def test_a_child_that_is_silent_for_too_long_is_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str, how: str
) -> None:
    with planted(monkeypatch, tmp_path, body) as model:
        error = asyncio.run(crash_of(model, silence=0.5))

    assert error.how.startswith(how)
    assert error.how.endswith("was killed")


def test_each_request_under_way_gets_its_error_and_those_that_wait_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    body = f"""
    ready(); beats()
    marker = {str(tmp_path / "second life")!r}
    if os.path.exists(marker):
        while True: answer(connection())
    open(marker, "w").close()
    for _ in range(2): connection().sendall({BEGUN!r})
    os._exit(7)
    """

    async def main(model: Path) -> list[object]:
        engine = engine_on(model, slots=2)
        requests = [ask(f"question {number}", program=f"team {number}") for number in range(4)]
        try:
            return list(await asyncio.gather(*map(engine.generate, requests), return_exceptions=True))
        finally:
            await engine.close()

    with planted(monkeypatch, tmp_path, body) as model, caplog.at_level(logging.ERROR, "moot.engine"):
        first, second, *waited = asyncio.run(main(model))

    lost = ("request 1 of team 0", "request 2 of team 1")
    assert isinstance(first, EngineCrashed)
    assert isinstance(second, EngineCrashed)
    assert (first.request, second.request) == lost
    assert first.lost == second.lost == lost
    assert [getattr(answer, "text", answer) for answer in waited] == ["yes", "yes"]
    under_way = ", ".join(lost)
    assert caplog.messages == [
        f"the process of engine 'planted' ended with exit code 7; requests under way: {under_way}"
    ]


def test_one_crash_is_one_failure_to_the_breaker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    body = f"""
    ready(); beats()
    marker = {str(tmp_path / "second life")!r}
    if os.path.exists(marker):
        while True: answer(connection())
    open(marker, "w").close()
    for _ in range(8): connection().sendall({BEGUN!r})
    os._exit(7)
    """

    async def main(model: Path) -> None:
        queue = AdmissionQueue(engine_on(model, slots=8))
        try:
            answers = (queue.generate(ask(f"question {number}")) for number in range(8))
            errors = await asyncio.gather(*answers, return_exceptions=True)
            assert all(isinstance(error, EngineCrashed) for error in errors)
            assert len({getattr(error, "request", None) for error in errors}) == 8
            assert (await queue.generate(ask("once more"))).text == "yes"
        finally:
            await queue.close()

    played(monkeypatch, tmp_path, body, main)


def test_a_model_that_ends_its_process_three_times_in_a_row_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lives = tmp_path / "lives"
    body = f"""
    open({str(lives)!r}, "a").write("x")
    ready(); connection(); os._exit(9)
    """

    async def main(model: Path) -> None:
        engine = engine_on(model)
        for kind in (EngineCrashed, EngineCrashed, ModelUnavailable, ModelUnavailable):
            with pytest.raises(EngineError) as caught:
                await engine.generate(ask("Hello"))
            assert type(caught.value) is kind
        assert model.name in str(caught.value)
        assert "3 times in a row" in str(caught.value)
        assert not caught.value.retryable
        assert lives.read_text() == "xxx"  # the fourth was refused without a process

        changed(model)
        with pytest.raises(ModelUnavailable):  # tried again, since it may be mended; it is not
            await engine.generate(ask("Hello"))
        assert lives.read_text() == "xxxx"
        monkeypatch.setattr(supervisor, "_REST", 0.0)
        await engine.close()

    played(monkeypatch, tmp_path, body, main)


def test_crashes_between_answers_are_never_in_a_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def main(model: Path) -> None:
        engine = engine_on(model)
        for _ in range(5):
            assert (await engine.generate(ask("Hello"))).text == "yes"
            with pytest.raises(EngineCrashed):
                await engine.generate(ask("Hello"))
        await engine.close()

    played(monkeypatch, tmp_path, "ready(); beats(); answer(connection()); connection(); os._exit(9)", main)


def test_a_refused_model_is_tried_again_after_a_while(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(supervisor, "_REST", 0.0)
    lives = tmp_path / "lives"

    async def main(model: Path) -> None:
        engine = engine_on(model)
        for _ in range(2):
            with pytest.raises(ModelUnavailable, match="damaged"):
                await engine.start()
        assert lives.read_text() == "xx"
        await engine.close()

    with planted(
        monkeypatch, tmp_path, f"open({str(lives)!r}, 'a').write('x'); say(failed='no', is_model=True); os._exit(1)"
    ) as model:
        asyncio.run(main(model))


@pytest.mark.parametrize("line", [b"<html>\n", b"[1]\n", b"x" * 20_000_000], ids=["no JSON", "no object", "endless"])
def test_an_answer_that_is_rubbish_is_an_error_and_ends_the_child(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: bytes
) -> None:
    answer = f"{line[:1]!r} * {len(line)}" if len(line) > 100 else repr(line)

    async def main(model: Path) -> None:
        engine = engine_on(model)
        await engine.start()
        pid = (await engine.process()).pid
        with pytest.raises(EngineUnavailable, match="no answer"):
            await engine.generate(ask("Hello"))
        assert (await engine.process()).pid != pid
        await engine.close()

    played(monkeypatch, tmp_path, f"ready(); beats(); connection().sendall({answer}); time.sleep(60)", main)


def test_closing_waits_for_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    body = """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
    if settings["slots"] == 2: ready(); beats(); connection()
    time.sleep(600)
    """

    async def main(model: Path, slots: int) -> None:
        engine = engine_on(model, slots=slots)
        asked = asyncio.create_task(engine.generate(ask("Hello")))
        if slots == 2:
            await engine.start()
        else:
            await asyncio.sleep(0)
        await engine.close(grace=5)
        with pytest.raises(EngineUnavailable, match="closed"):
            await asked
        with pytest.raises(EngineUnavailable, match="closed"):
            await engine.start()

    with planted(monkeypatch, tmp_path, body) as model:
        for slots in (1, 2):
            asyncio.run(main(model, slots))


def test_a_deadline_holds_while_the_model_loads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Hurried:
        def now(self) -> float:
            return 0.9

    async def main(model: Path) -> None:
        engine = engine_on(model, clock=Hurried())
        with pytest.raises(EngineTimeout):
            await engine.generate(ask("Hello", deadline=1.0))
        await engine.close()

    played(monkeypatch, tmp_path, "time.sleep(600)", main)


def test_a_child_may_print_as_much_as_it_likes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    body = """
    os.write(2, b"noise " * 1_000_000)
    ready(); beats()
    taken = connection()
    os.write(2, b"noise " * 1_000_000)
    answer(taken); connection()
    """

    async def main(model: Path) -> None:
        engine = engine_on(model)
        assert (await engine.generate(ask("Hello"))).text == "yes"
        await engine.close()

    played(monkeypatch, tmp_path, body, main)


def test_a_child_that_cannot_be_started_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def main(model: Path) -> str:
        engine = engine_on(model)
        with pytest.raises(EngineError) as caught:
            await engine.start()
        await engine.close()
        return str(caught.value)

    with planted(monkeypatch, tmp_path, "") as model:
        monkeypatch.setattr("sys.executable", "")
        assert "sys.executable is empty" in asyncio.run(main(model))
        monkeypatch.setattr("sys.executable", str(tmp_path / "nowhere"))
        assert "could not be started" in asyncio.run(main(model))


def test_an_engine_that_nobody_holds_ends_its_child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def main(model: Path) -> int:
        engine = engine_on(model)
        return (await engine.process()).pid

    with planted(monkeypatch, tmp_path, "ready(); beats(); connection()") as model:
        assert wait_until_gone(asyncio.run(main(model)), 10)


def test_a_context_for_which_there_is_no_memory_is_said_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def main(model: Path) -> None:
        engine = engine_on(model)
        with pytest.raises(EngineError, match="no memory for 1 context"):
            await engine.start()
        await engine.close()

    body = "os.write(2, b'0.01 E init: failed to allocate buffer\\n'); say(failed='no', is_model=True); os._exit(1)"
    played(monkeypatch, tmp_path, body, main)


def test_what_a_child_says_just_before_its_end_is_heard() -> None:
    class Ended:
        def poll(self) -> int:
            return 1

    class Late:
        def __init__(self, *lines: bytes) -> None:
            self.lines = [*lines]

        def listen(self) -> bytes:
            return self.lines.pop(0)

    process: Any = LlamaProcess.__new__(LlamaProcess)
    process._popen = Ended()

    assert process._listen(Late(b"", b"said")) == b"said"
    with pytest.raises(Over):
        process._listen(Late(b"", b""))


def test_closing_does_not_wait_for_the_threads_of_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def main(model: Path) -> None:
        engine = engine_on(model)
        await engine.start()
        release = threading.Event()
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        stuck = loop.run_in_executor(None, release.wait)
        async with asyncio.timeout(5):
            await engine.close()
        release.set()
        await stuck

    played(monkeypatch, tmp_path, "ready(); beats(); connection()", main)


def test_a_process_forked_in_a_request_neither_hides_a_crash_nor_keeps_a_request_alive(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    body = f"""
    ready(); beats()
    taken = connection()
    taken.sendall({BEGUN!r})
    assert taken.recv(1) == b""
    taken = connection()
    taken.sendall({BEGUN!r})
    connection()
    os._exit(3)
    """

    async def main(model: Path) -> None:
        engine = engine_on(model, slots=2)
        cancelled = engine.stream(ask("Hello"))
        await anext(cancelled)
        with forked():
            await cancelled.aclose()
            lost = engine.stream(ask("Hello"))
            await anext(lost)
            with forked():
                last = asyncio.create_task(engine.count_tokens(()))
                with pytest.raises(EngineCrashed, match="exit code 3"):
                    await anext(lost)
                with pytest.raises(EngineCrashed):
                    await last
        await engine.close()

    played(monkeypatch, tmp_path, body, main)


@contextmanager
def forked() -> Iterator[None]:
    """A fork of this process that holds what it has inherited, as a worker pool would."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that a process with threads is forked is the point
        pid = os.fork()
    if not pid:
        while True:
            signal.pause()
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.parametrize(
    "line", ["\\xff\\n", '{"error": "x"}\\n', '{"error": {"code": "x"}}\\n', '{"choices": 5}\\n', '{"usage": 1}\\n']
)
def test_an_answer_of_wrong_types_ends_the_child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str) -> None:
    async def main(model: Path) -> None:
        engine = engine_on(model)
        with pytest.raises(EngineCrashed, match="sent what is no answer"):
            await engine.generate(ask("Hello"))
        await engine.close()

    played(monkeypatch, tmp_path, f"ready(); beats(); connection().sendall(b'{line}'); time.sleep(60)", main)


def test_what_fails_in_this_process_is_no_crash_of_the_child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def main(model: Path) -> None:
        engine = engine_on(model)
        with monkeypatch.context() as patch:
            patch.setattr("subprocess.Popen", none_left)
            for _ in range(4):  # more than the crashes that a model may have
                with pytest.raises(EngineUnavailable, match="Too many open files") as caught:
                    await engine.start()
                assert not isinstance(caught.value, EngineCrashed)
        await engine.start()
        with monkeypatch.context() as patch:
            patch.setattr("socket.socketpair", none_left)
            with pytest.raises(EngineUnavailable, match="Too many open files"):
                await engine.generate(ask("Hello"))
        await engine.close()

    def none_left(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    played(monkeypatch, tmp_path, "ready(); beats(); connection()", main)


def test_a_thread_that_cannot_start_is_an_error_and_no_wait(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main(model: Path) -> None:
        engine = engine_on(model)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", none_left)
            with pytest.raises(EngineUnavailable, match="can't start new thread"):
                await engine.start()
        await engine.start()
        await engine.close()

    played(monkeypatch, tmp_path, "ready(); beats(); connection()", main)


def test_a_library_that_cannot_be_imported_is_no_fault_of_the_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def main(model: Path) -> None:
        engine = engine_on(model)
        with pytest.raises(EngineError, match="ModuleNotFoundError: No module named 'needed'") as caught:
            await engine.start()
        assert not isinstance(caught.value, ModelUnavailable)
        await engine.close()

    body = """say(failed="ModuleNotFoundError: No module named 'needed'"); os._exit(1)"""
    played(monkeypatch, tmp_path, body, main)


@pytest.mark.parametrize(
    "options",
    [{"slots": 0}, {"slots": True}, {"slots": "2"}, {"context_size": 100.0}, {"threads": 0}, {"threads": -1}],
    ids=str,
)
def test_a_setting_that_is_no_number_is_refused_at_once(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be a whole number above 0"):
        LocalEngine(tmp_path / "model.gguf", **options)


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize(
    "options",
    [
        {"schema": deep(3000)},
        {"schema": {"enum": {1, 2}}},
        {"schema": {"type": "array", "items": {"type": "string"}, "minItems": 10**9}},
        {"schema": {"type": "string", "minLength": 10**6}},
        {"logprobs": 200_000},
    ],
    ids=["deep", "a set", "many items", "long", "logprobs"],
)
def test_a_request_that_no_engine_should_get_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF")

    async def main() -> None:
        engine = engine_on(model)
        with pytest.raises(EngineRejected):
            await engine.generate(ask("Hello", **options))
        await engine.close()

    asyncio.run(main())
