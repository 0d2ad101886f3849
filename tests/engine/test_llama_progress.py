"""Who is silent and who is only slow: what the child tells of its progress, and how its parent takes it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from moot.engine.errors import EngineCrashed, EngineRejected
from moot.engine.llama import ear, process
from moot.engine.llama.beats import Beats
from moot.engine.llama.child import Child
from moot.engine.local import ProcessPolicy

from .conftest import ask
from .processes import engine_on, planted


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def hands() -> Hands:
    return Hands()


def quiet(beats: Beats) -> float:
    return beats.beat(1000.0)["quiet"]


def test_a_child_is_quiet_only_while_a_request_waits(hands: Hands) -> None:
    beats = Beats(hands)
    hands.time += 50
    assert quiet(beats) == 0

    beats.begun()
    hands.time += 7
    assert quiet(beats) == 7

    beats.ended()
    hands.time += 60  # the asker does not read: llama.cpp is not waited for
    assert quiet(beats) == 0


def test_any_request_that_gets_on_is_progress_of_the_child(hands: Hands) -> None:
    beats = Beats(hands)
    beats.begun()
    hands.time += 20
    beats.begun()
    assert quiet(beats) == 20  # a new request is no progress

    beats.ended()
    beats.begun()
    hands.time += 3

    assert quiet(beats) == 3
    assert beats.beat(1000.0)["longest"] == 20


def test_a_request_that_gives_up_is_no_progress(hands: Hands) -> None:
    beats = Beats(hands)
    beats.begun()
    beats.begun()
    hands.time += 9
    beats.ended(progress=False)

    assert quiet(beats) == 9


def test_a_child_that_was_suspended_has_not_been_quiet(hands: Hands) -> None:
    beats = Beats(hands)
    beats.begun()
    for _ in range(3):
        hands.time += 1
        beats.beat(1.0)
    hands.time += 3600

    assert 3 <= beats.beat(1.0)["quiet"] <= 6


def test_a_child_notes_what_llama_cpp_gives_it_and_waits_for_no_slow_reader(hands: Hands) -> None:
    class Llama:
        """As llama.cpp's server: each chunk takes 5 s, and its callback says whether to stop."""

        def handle_chat_completions(self, _: bytes, on_chunk: Callable[[bytes], bool]) -> None:
            for chunk in (b'{"prompt_progress":{}}', b'{"choices":[]}'):
                hands.time += 5
                seen.append(quiet(child._beats))
                assert not on_chunk(chunk)
                seen.append(quiet(child._beats))

    seen: list[float] = []
    child = Child({"slots": 1, "context_size": 64, "beat": 1.0, "address": ""})
    child._beats = Beats(hands)
    child._server = Llama()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child._complete({}, theirs)
        assert ours.recv(1000) == b'{"choices":[]}\n'

    assert seen == [5, 0, 5, 0]
    assert quiet(child._beats) == 0


def test_a_parent_that_was_suspended_does_not_blame_its_child(monkeypatch: pytest.MonkeyPatch, hands: Hands) -> None:
    monkeypatch.setattr("moot.engine.llama.ear.time.monotonic", hands)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        listening = ear.Ear(ours, None)
        theirs.sendall(b"{}\n")
        hands.time += 3600
        assert listening.listen() == b"{}"
        assert listening.waited <= 2 * ear.TICK
        listening.close()


@pytest.mark.parametrize(("longest", "is_sick"), [(0.1, True), (1.0, False)])
def test_a_pause_may_be_twenty_times_longer_than_any_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, longest: float, *, is_sick: bool
) -> None:
    monkeypatch.setattr(process, "_PATIENCE", 5.0)
    body = f"""
    ready(); taken = connection()
    say(quiet=9.0, longest={longest})
    say(quiet=0.0, longest={longest})
    if not {is_sick}: answer(taken)
    connection()
    """

    async def main(model: Path) -> None:
        engine = engine_on(model)
        if is_sick:
            with pytest.raises(EngineCrashed, match="made no progress for 9 s"):
                await engine.generate(ask("Hello"))
        else:
            assert (await engine.generate(ask("Hello"))).text == "yes"
        await engine.close()

    with planted(monkeypatch, tmp_path, body) as model:
        asyncio.run(main(model))


def test_a_child_that_never_gets_ready_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process, "_PATIENCE", 0.5)

    async def main(model: Path) -> None:
        engine = engine_on(model)
        with pytest.raises(EngineCrashed, match="did not load its model within"):
            await engine.start()
        await engine.close()

    with planted(monkeypatch, tmp_path, "time.sleep(600)") as model:
        asyncio.run(main(model))


def test_a_request_that_is_too_large_to_be_taken_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def main(model: Path) -> None:
        engine = engine_on(model)
        with pytest.raises(EngineRejected, match="at most"):
            await engine.generate(ask("x" * 70_000_000))
        await engine.close()

    with planted(monkeypatch, tmp_path, "ready(); beats(); connection()") as model:
        asyncio.run(main(model))


@pytest.mark.parametrize("silence", [0, -1.0, float("inf"), float("nan"), "3"])
def test_a_silence_that_is_no_time_is_refused(silence: float) -> None:
    with pytest.raises(ValueError, match="seconds above 0"):
        ProcessPolicy(silence=silence)


def test_a_setting_for_sharing_that_says_nothing_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MOOT_ENGINE_SHARED", "yes")
    with pytest.raises(ValueError, match="MOOT_ENGINE_SHARED must be 0 or 1"):
        engine_on(tmp_path / "model.gguf")
