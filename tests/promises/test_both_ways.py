"""Nobody can tell whether an ask was handled at once or took the queue, but by the clock and the passes of the loop.

The differences that were found, each as the smallest program that shows it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
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
