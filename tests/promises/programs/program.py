"""Random programs whose outcome does not depend on the order in which the event loop runs what could run.

A program is drawn from its seed: agents of many kinds, and drivers that call them. What a handler does is drawn from
its message. Only agents that no other step of the program uses meanwhile are asked side by side, and a call that may
leave work behind is followed by a pause. So each run of a program must tell the same, however it is scheduled: `told`
is all that can be told of a run from outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from moot import AgentContext, AgentManager, Backoff, MootError, Supervision
from moot.backends import Backend, MemoryBackend
from moot.backends.sqlite import SqliteBackend
from moot.testing import run
from tests.promises.programs.deeds import CALM
from tests.promises.programs.drivers import Driver
from tests.promises.programs.messages import Leaf
from tests.promises.programs.seen import World, describe, label_of, mark, plain

__all__ = ["told"]


class Passing:
    """An interceptor that changes nothing."""

    async def intercept(self, ctx: AgentContext[Any], call: Callable[[], Awaitable[Any]]) -> Any:
        return await call()


async def _program(seed: int, backend: Backend, options: dict[str, Any], *, eager: bool) -> dict[str, Any]:
    if eager:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    dice = random.Random(seed)
    if dice.random() < 0.2:
        options["interceptor"] = Passing()
    if dice.random() < 0.2:
        options["deadlocks"] = dice.choice(("report", "off"))
    supervision = Supervision(
        directives=((KeyError, "restart"), (ZeroDivisionError, "stop"), (FloatingPointError, "escalate")),
        max_restarts=1000,
        backoff=Backoff(0, 0),
    )
    manager = AgentManager(backend, seed=seed, supervision=supervision, **options)
    world = World(manager)
    asyncio.get_running_loop().set_exception_handler(lambda _, context: world.loop_failed(context["message"]))
    if dice.random() < 0.8:
        manager.observe(world)
    mark.set("a driver's")
    await manager.start()
    drivers = [Driver(group, world, random.Random(f"{seed}/{group}")) for group in "ab"[: dice.randint(1, 2)]]
    for driver in drivers:
        await driver.populate()
    async with asyncio.TaskGroup() as group:
        for driver in drivers:
            group.create_task(driver.go(dice.randint(4, 12)))
    if len(drivers) == 1 and dice.random() < 0.2:
        await drivers[0].call("escalate", manager.ask, "a.frail", Leaf("last", 0, "fatal", 1))
        await asyncio.sleep(CALM)
    with contextlib.suppress(MootError):
        await manager.settle()
    await asyncio.sleep(2000)  # every deadline is over
    return await _end(manager, world)


async def _end(manager: AgentManager, world: World) -> dict[str, Any]:
    """Stop the manager, and tell what there is to tell."""
    system = manager._system
    assert system is not None
    at_end = manager.stats()
    told: dict[str, Any] = {
        "calls": dict(world.calls),
        "states": {name: cell.state for name, cell in sorted(system.directory.cells.items())},
        "shared": {key: await manager.shared_state.read(key) for key in await manager.shared_state.keys()},
        "breakers": sorted(map(str, manager.breakers())),
        "counts": (at_end.agents, at_end.dead_letters, at_end.deadlocks),
        # An ask that closes a circle is not even sent, and has no number, if the others are known to wait by then. That
        # depends on the passes of the loop.
        "messages": at_end.messages if not at_end.deadlocks else "any",
        "open": (at_end.open_asks, len(system.wheel)),
    }
    failed = ""
    try:
        async with manager:
            pass
    except MootError as error:
        failed = describe(error)
    await asyncio.sleep(0)
    letters = Counter(
        (one.reason, one.message.sender, one.message.to, label_of(one.message), one.attempts, plain(one.error))
        for one in manager.dead_letters
    )
    return told | {
        "failed": failed,
        "letters": letters,
        "turns": world.turns,
        "pairs": dict(world.pairs),
        "effects": world.effects,
        "hooks": world.hooks,
        "loop errors": world.loop_errors,
        "left": (len(system.asks), len(system.wheel), len(asyncio.all_tasks()) - 1, len(system.pool.runners)),
    }


def told(seed: int, folder: Path | None = None, *, eager: bool = False, **options: Any) -> dict[str, Any]:
    """All that can be told of a run of the program ``seed``; on a durable backend if there is a ``folder`` for it.

    ``eager`` lets tasks begin in the call that makes them, which Python 3.12 can.
    """
    backend: Backend = MemoryBackend() if folder is None else SqliteBackend(folder / "program.db", inline=True)
    return run(_program(seed, backend, options, eager=eager))
