"""`moot demo saga`: a trip is booked, with a different misfortune each time, and a table shows what was undone."""

from __future__ import annotations

import asyncio
from typing import Any

from rich.console import Console
from rich.table import Table

from moot import Agent, AgentManager, Backoff, Request, handles
from moot.cli.demos import SEED, play
from moot.patterns.saga import RunSaga, SagaAgent, SagaPolicy, SagaResult, Step

__all__ = ["saga"]

DESKS = ("flight", "hotel", "car", "payment", "tickets")
MISFORTUNES = [
    {},
    {"hotel": "full"},
    {"car": "silent"},
    {"payment": "full"},
    {"payment": "silent", "hotel": "stubborn"},
    {"tickets": "busy"},
]
POLICY = SagaPolicy(undo_attempts=3, backoff=Backoff(0.5, 4.0), undo_timeout=5.0)


class Book(Request[str]):
    trip: int


class Cancel(Request[bool]):
    trip: int


class Desk(Agent):
    """Books for trips, and cancels; ``trouble`` says how it treats the present one."""

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.trouble = ""
        self.asked = 0

    @handles
    async def book(self, message: Book) -> str:
        self.asked += 1
        await asyncio.sleep(0.5)
        if self.trouble == "full" or (self.trouble == "busy" and self.asked < 4):
            raise ValueError("no room")
        if self.trouble == "silent":
            await asyncio.sleep(5)
        return f"{self.id} {message.trip}"

    @handles
    async def cancel(self, message: Cancel) -> bool:
        await asyncio.sleep(0.5)
        if self.trouble == "stubborn":
            raise ValueError("cannot be cancelled")
        return True


def steps(trip: int) -> list[Step]:
    undos = {"flight": Cancel(trip), "hotel": Cancel(trip), "car": Cancel(trip), "payment": Cancel(trip)}
    return [Step(desk, Book(trip), undos.get(desk), timeout=2.0, pivot=desk == "payment") for desk in DESKS]


def row(misfortune: dict[str, str], result: SagaResult, seconds: float) -> list[str]:
    """How a trip went: a cell for each desk, then the end."""
    cells = []
    abort = result.abort
    for desk in DESKS:
        if abort is None:
            cells.append("done")
        elif desk in abort.undone:
            number = abort.undone.index(desk) + 1
            cells.append(f"{'no answer, ' if desk == abort.failed else ''}undone ({number})")
        elif desk in abort.not_undone:
            cells.append("NOT UNDONE")
        else:
            cells.append("failed" if desk == abort.failed else "")
    end = "all done" if abort is None else ("left over" if abort.not_undone else "all undone")
    trouble = ", ".join(f"{desk} {what}" for desk, what in misfortune.items()) or "none"
    return [trouble, *cells, end, f"{seconds:.1f} s"]


async def main(seed: int) -> None:
    desks: dict[str, Any] = {name: Desk(name) for name in DESKS}
    table = Table("misfortune", *DESKS, "end", "took", title="A trip in five steps; the payment is the pivot")
    now = asyncio.get_running_loop().time
    async with AgentManager(seed=seed) as manager:
        for desk in desks.values():
            await manager.register(desk)
        await manager.register(SagaAgent("agency", steps, POLICY))
        for trip, misfortune in enumerate(MISFORTUNES, 1):
            for name, desk in desks.items():
                desk.trouble, desk.asked = misfortune.get(name, ""), 0
            began = now()
            result = await manager.ask("agency", RunSaga(trip), timeout=120)
            table.add_row(*row(misfortune, result, now() - began))
            await asyncio.sleep(10)
    Console(width=120).print(table)
    print(
        "A desk that is silent may have booked, so it is undone, too; past the pivot a step is tried until it is done."
    )


def saga(seed: SEED = 1) -> None:
    """Book a trip in five steps, and see what is undone when one of them fails."""
    play(main(seed))  # the table tells of the failures
