"""Nobody can tell whether an ask was handled at once or took the queue, but by the clock and the passes of the loop.

The differences that were found, each as the smallest program that shows it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from moot import Agent, AgentManager, Request, handles


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
