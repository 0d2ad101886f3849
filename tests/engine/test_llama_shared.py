"""One child for several programs of a user: found, not started twice; it ends with its last user, whoever that is."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from moot.engine.errors import EngineError
from moot.engine.llama.settings import Settings
from moot.engine.llama.shared import shared_address

from .processes import program, said, wait_until_gone

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")

USER = """
import asyncio, gc, sys
from moot.engine.base import ChatMessage, EngineRequest, SamplingParams
from moot.engine.errors import EngineError
from moot.engine.local import LocalEngine, ProcessPolicy

async def main():
    engine = LocalEngine(sys.argv[1], threads=1, context_size=256, process=ProcessPolicy(silence=3))
    prompt = (ChatMessage("user", "Hello"),)
    request = EngineRequest(messages=prompt, sampling=SamplingParams(max_tokens=2))
    for line in sys.stdin:  # the loop has nothing else to do
        try:
            if line == "ask\\n":
                answer = await engine.generate(request)
                print((await engine.process()).pid, bool(answer.text), flush=True)
            elif line == "close\\n":
                await engine.close()
                await engine.close()
                print("closed", flush=True)
            elif line == "drop\\n":
                engine = LocalEngine(sys.argv[1], threads=1, context_size=256, process=ProcessPolicy(silence=3))
                gc.collect()
                print("dropped", flush=True)
        except EngineError as error:
            print(type(error).__name__, flush=True)

asyncio.run(main())
"""


class User:
    """A program that shares; asked over its input."""

    def __init__(self, model: Path, folder: Path) -> None:
        self._running = program(USER, str(model), MOOT_ENGINE_SHARED="1", XDG_RUNTIME_DIR=str(folder))
        self.process = self._running.__enter__()

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        return said(self.process)

    def ask(self) -> int:
        """Ask the engine; the child that answered."""
        self.tell("ask")
        pid, answered = self.hear().split()
        assert answered == "True"
        return int(pid)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self._running.__exit__(None, None, None)


@pytest.fixture
def users(tiny_model: Path, tmp_path: Path) -> Iterator[list[User]]:
    group = [User(tiny_model, tmp_path) for _ in range(3)]
    yield group
    for user in group:
        user.close()


def test_the_child_is_one_goes_on_without_who_started_it_and_ends_with_the_last(users: list[User]) -> None:
    starter, second, third = users
    child = starter.ask()
    assert second.ask() == child

    starter.kill()
    assert second.ask() == third.ask() == child

    second.tell("close")
    assert second.hear() == "closed"
    assert third.ask() == child
    third.kill()
    assert wait_until_gone(child, 2)


def test_the_child_goes_on_when_who_started_it_closes_twice_forgets_it_and_ends(users: list[User]) -> None:
    starter, second, _ = users
    child = starter.ask()
    assert second.ask() == child

    for word, answer in (("close", "closed"), ("drop", "dropped")):
        starter.tell(word)
        assert starter.hear() == answer
        assert second.ask() == child
    assert starter.ask() == child  # as a user like others
    starter.kill()
    assert second.ask() == child
    second.kill()
    assert wait_until_gone(child, 2)


def test_a_stopped_child_whose_users_are_gone_bars_nobody(users: list[User]) -> None:
    first, second, _ = users
    child = first.ask()
    os.kill(child, signal.SIGSTOP)
    first.kill()

    assert second.ask() != child
    assert wait_until_gone(child, 0)


def test_programs_that_start_at_once_get_one_child(users: list[User]) -> None:
    for user in users:
        user.tell("ask")

    assert len({user.hear() for user in users}) == 1


def test_a_child_that_is_killed_or_stopped_is_replaced_for_all(users: list[User]) -> None:
    first, second, third = users
    child = first.ask()
    assert second.ask() == child

    os.kill(child, signal.SIGKILL)
    replaced = second.ask()
    assert replaced != child
    assert first.ask() == third.ask() == replaced

    os.kill(replaced, signal.SIGSTOP)
    assert wait_until_gone(replaced, 20)
    assert second.ask() != replaced


def test_a_folder_of_somebody_else_is_refused(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    settings = Settings(model=str(tiny_model), slots=1, context_size=256, threads=1)
    address = Path(shared_address(settings))
    assert address.parent.stat().st_mode & 0o777 == 0o700

    address.parent.chmod(0o755)
    with pytest.raises(EngineError, match="alone"):
        shared_address(settings)
