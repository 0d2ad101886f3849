"""Three trips are booked, of four steps each; those who book fail, come late, and answer rubbish.

Of each trip everything is booked, or nothing is, and what was booked was cancelled in reverse order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from moot import Agent, AgentContext, Backoff, Payload, Request, handles
from moot.patterns.saga import RunSaga, SagaAborted, SagaAgent, SagaPolicy, SagaResult, Step, saga
from tests.patterns.suite import CLIENT, Begin, plainly

BOOKERS = ("flight", "hotel", "car", "theatre")
HOW = SagaPolicy(undo_attempts=30, undo_timeout=2.0, backoff=Backoff(0.05, 0.5))


class Book(Request[str]):
    trip: str


class Cancel(Request[bool]):
    trip: str


class Booker(Agent):
    """Keeps what is booked in the shared state; a trip that was cancelled cannot be booked any more."""

    def __init__(self, agent_id: str, place: int) -> None:
        super().__init__(agent_id)
        self.place = place

    @handles
    async def book(self, message: Book, ctx: AgentContext) -> Any:
        mood = ctx.random.random() * (1.5 if self.place else 8)
        if mood < 0.1:
            raise ValueError("no room")
        if mood < 0.2:
            await asyncio.sleep(1.3)  # its asker does not wait so long
        await self._note(ctx, message.trip, "book")
        return ["rubbish"] if 0.2 < mood < 0.25 else f"{self.id} of {message.trip}"

    @handles
    async def cancel(self, message: Cancel, ctx: AgentContext) -> bool:
        if ctx.random.random() < 0.2:
            raise ValueError("not now")
        await self._note(ctx, message.trip, "cancel")
        return True

    async def _note(self, ctx: AgentContext, trip: str, what: str) -> None:
        notes: list[str] = await ctx.shared_state.get(f"trip {trip}", [])
        if f"cancel {self.id}" in notes:
            if what == "book":
                raise ValueError("it was cancelled")
            return
        if f"{what} {self.id}" not in notes:
            await ctx.shared_state.set(f"trip {trip}", [*notes, f"{what} {self.id}"])


def steps(trip: str) -> list[Step]:
    return [Step(name, Book(trip), Cancel(trip), timeout=1.0) for name in BOOKERS]


class Own(Payload):
    trip: str
    others: dict[str, SagaResult]


class OwnSaga(Agent):
    """Runs a saga in a handler of its own."""

    @handles
    async def own(self, message: Own, ctx: AgentContext) -> None:
        if await ctx.shared_state.get("outcome", None) is not None:
            return
        try:
            result = SagaResult(await saga(ctx, steps(message.trip), HOW))
        except SagaAborted as error:
            result = SagaResult(abort=error.abort)
        await ctx.shared_state.set("outcome", plainly({**message.others, message.trip: result}))


class Client(Agent):
    @handles
    async def begin(self, message: Begin, ctx: AgentContext) -> None:
        trips = [f"{number} of run {ctx.attempt}" for number in range(2)]
        results = await ctx.gather([ctx.ask("agency", RunSaga(trip), timeout=100) for trip in trips])
        others = dict(zip(trips, results, strict=True))
        ctx.schedule(0, Own(f"own of run {ctx.attempt}", others), to="own", every=5)  # for messages are lost


def agents() -> Sequence[Agent[Any]]:
    bookers = [Booker(name, place) for place, name in enumerate(BOOKERS)]
    return [*bookers, SagaAgent("agency", steps, HOW), OwnSaga("own"), Client(CLIENT)]


def judge(state: dict[str, Any]) -> list[str]:
    wrong = []
    for trip, result in state["outcome"].items():
        notes = state.get(f"trip {trip}", [])
        booked = [note.removeprefix("book ") for note in notes if note.startswith("book")]
        cancelled = [note.removeprefix("cancel ") for note in notes if note.startswith("cancel")]
        abort = result["abort"] if isinstance(result, dict) else result.abort
        if abort is None:
            if booked != list(BOOKERS) or cancelled:
                wrong.append(f"{trip} is done, but {notes}")
        elif not set(booked) <= set(cancelled) or cancelled != sorted(cancelled, key=BOOKERS.index, reverse=True):
            wrong.append(f"{trip} is undone, but {notes}")
    return wrong if len(state["outcome"]) == 3 else [*wrong, "a trip is missing"]
