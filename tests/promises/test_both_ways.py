"""Nobody can tell whether an ask was handled at once or took the queue, but by the clock and the passes of the loop.

Random programs, whose outcome does not depend on scheduling, are run both ways: what callers, handlers, observers and
stores see of the two runs is the same. Most run in memory, some on SQLite and, where Python has it, with an eager task
factory. ``MOOT_BOTH_WAYS`` sets how many programs are run (by default 300). Then the differences that were found, each
as the smallest program that shows it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from moot import Agent, AgentManager, Request, handles
from moot.runtime.dispatch import at_once
from moot.runtime.dispatch.at_once import AtOnce
from tests.promises.programs.program import told

PROGRAMS = int(os.environ.get("MOOT_BOTH_WAYS", "300"))
PARTS = 10


def differences(seed: int, folder: Path | None = None, *, eager: bool = False) -> dict[str, Any]:
    """What two runs of a program tell differently, with both sides of it."""
    folders = [folder / "at_once", folder / "queued"] if folder is not None else [None, None]
    for one in folders:
        if one is not None:
            one.mkdir(parents=True)
    handled, queued = (
        told(seed, one, eager=eager, at_once=way) for one, way in zip(folders, (True, False), strict=True)
    )
    assert (handled["open"], handled["left"]) == ((0, 0), (0, 0, 0, 0)), seed
    return {name: (what, queued[name]) for name, what in handled.items() if what != queued[name]}


def found(programs: int = 100) -> bool:
    """Whether so many programs show a difference."""
    return any(differences(seed) for seed in range(programs))


@pytest.mark.parametrize(
    "part", [pytest.param(part, marks=[pytest.mark.slow] if part > 1 else []) for part in range(PARTS)]
)
def test_a_random_program_tells_the_same_both_ways(part: int, tmp_path: Path) -> None:
    for seed in range(part, PROGRAMS, PARTS):
        round_of_seeds = seed // PARTS
        folder = tmp_path / str(seed) if round_of_seeds % 6 == 0 else None
        eager = round_of_seeds % 3 == 1 and sys.version_info >= (3, 12)
        assert differences(seed, folder, eager=eager) == {}, seed


def test_the_programs_ask_at_once_in_one_way_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = {True: 0, False: 0}
    handle = AtOnce.handle

    def counted(self: AtOnce, *words: Any) -> bool:
        is_handled = handle(self, *words)
        begun[is_handled] += 1
        return is_handled

    monkeypatch.setattr(AtOnce, "handle", counted)
    for seed in range(10):
        told(seed, at_once=True)
    assert begun[True] > begun[False] > 0

    begun.update({True: 0, False: 0})
    told(0, at_once=False)
    assert begun == {True: 0, False: 0}


def test_a_handler_in_the_task_of_its_asker_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_once, "_can_swap_tasks", lambda loop: True)
    for name in ("_enter_task", "_leave_task"):
        monkeypatch.setattr(at_once, name, lambda loop, task: None)

    assert found()


def test_a_handler_that_sees_the_error_of_its_asker_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_once, "sys", SimpleNamespace(exception=lambda: None))

    assert found()


def test_a_handler_in_the_context_of_its_asker_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    handle = AtOnce.handle

    def here(self: AtOnce, *words: Any) -> bool:
        runner = self._pool.lend()
        if runner is not None:
            runner.context = SimpleNamespace(run=lambda send, value: send(value))  # type: ignore[assignment]
            self._pool._parked.append(runner)
        return handle(self, *words)

    monkeypatch.setattr(AtOnce, "handle", here)

    assert found()


def test_a_second_turn_of_an_agent_that_handles_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    handle = AtOnce.handle

    def beside(self: AtOnce, ask: Any, cell: Any, message: Any) -> bool:
        running, cell.running = cell.running, 0
        try:
            return handle(self, ask, cell, message)
        finally:
            cell.running += running

    monkeypatch.setattr(AtOnce, "handle", beside)

    assert found()


class Look(Request[Any]):
    """What the handler is to look at."""

    what: str = ""


class Witness(Agent):
    """Tells what its handler sees."""

    @handles
    def look(self, message: Look) -> str:
        return repr(sys.exception())


async def both_ways(program: Callable[[AgentManager], Coroutine[Any, Any, Any]], agent: Agent) -> list[Any]:
    """What a program tells at once and through the queue, after the pool has a runner to lend."""
    outcomes = []
    for way in (True, False):
        async with AgentManager(at_once=way) as manager:
            await manager.register(Witness("warm"))
            await manager.ask("warm", Look())
            await asyncio.sleep(1)
            await manager.register(agent)
            outcomes.append(await program(manager))
    return outcomes


async def test_a_handler_sees_no_error_that_its_asker_handles() -> None:
    async def program(manager: AgentManager) -> Any:
        try:
            raise ValueError("the asker's")
        except ValueError:
            return await manager.ask("witness", Look())

    assert await both_ways(program, Witness("witness")) == ["None", "None"]


async def test_an_error_of_a_handler_has_no_context_from_its_asker() -> None:
    class Failing(Agent):
        @handles
        def look(self, message: Look) -> str:
            try:
                raise KeyError("the handler's")
            except KeyError as error:
                return repr(error.__context__)

    async def program(manager: AgentManager) -> Any:
        try:
            raise ValueError("the asker's")
        except ValueError:
            return await manager.ask("failing", Look())

    assert await both_ways(program, Failing("failing")) == ["None", "None"]


async def test_a_cancelled_task_learns_of_it_where_it_asks() -> None:
    async def program(manager: AgentManager) -> Any:
        async def ask() -> str:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            try:
                return str(await manager.ask("witness", Look()))
            except asyncio.CancelledError:
                return "cancelled"

        return await asyncio.create_task(ask())

    assert await both_ways(program, Witness("witness")) == ["cancelled", "cancelled"]


class Cancelled(Agent):
    """Cancels its own task, and waits."""

    @handles
    async def look(self, message: Look) -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel("of its own will")
        if message.what == "taken back":
            task.uncancel()
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError as cancelled:
            task.uncancel()
            return repr(cancelled)
        return "not cancelled"


async def test_a_handler_that_cancels_its_task_finds_its_message_in_the_cancellation() -> None:
    async def program(manager: AgentManager) -> Any:
        return await manager.ask("cancelled", Look())

    assert await both_ways(program, Cancelled("cancelled")) == ["CancelledError('of its own will')"] * 2


async def test_a_handler_can_take_a_cancellation_back_where_python_lets_it() -> None:
    async def program(manager: AgentManager) -> Any:
        return await manager.ask("cancelled", Look("taken back"))

    expected = "not cancelled" if sys.version_info >= (3, 13) else "CancelledError('of its own will')"
    assert await both_ways(program, Cancelled("cancelled")) == [expected] * 2


class Nonsense:
    """Waits for what no task can wait for."""

    def __await__(self) -> Generator[int, None, None]:
        yield 42


async def test_a_cancellation_comes_before_nonsense_that_the_handler_waits_for() -> None:
    class Absurd(Agent):
        @handles
        async def look(self, message: Look) -> str:
            task = asyncio.current_task()
            assert task is not None
            task.cancel("of its own will")
            try:
                await Nonsense()
            except asyncio.CancelledError as cancelled:
                task.uncancel()
                return repr(cancelled)
            return "nothing happened"

    async def program(manager: AgentManager) -> Any:
        return await manager.ask("absurd", Look())

    assert await both_ways(program, Absurd("absurd")) == ["CancelledError('of its own will')"] * 2
