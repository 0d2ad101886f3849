"""What type checkers must infer from the public API. Checked by mypy and pyright, and not run.

`ask` is typed by its message: a request that declares its reply makes the awaited value that type, from the manager and
in a handler alike.
"""

from __future__ import annotations

from typing import Any, assert_type

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    AgentMessage,
    BatchPolicy,
    Factual,
    Payload,
    RateLimit,
    Request,
    Stream,
    handles,
)


class Measure(Request[float]):
    place: str
    unit: str = "celsius"


class Names(Request[list[str]]):
    prefix: str


class Note(Payload):
    text: str


class Station(Agent):
    @handles
    async def measure(self, message: Measure, ctx: AgentContext) -> float:
        assert_type(message.place, str)
        assert_type(message.unit, str)
        assert_type(ctx.message, AgentMessage)
        return 21.5

    @handles
    def names(self, message: Names) -> list[str]:
        return [message.prefix]


class Desk(Agent):
    @handles
    async def note(self, message: Note, ctx: AgentContext) -> None:
        assert_type(await ctx.ask("station", Measure(place="oslo"), timeout=1), float)
        assert_type(await ctx.ask("station", Names(prefix="o")), list[str])
        readings = [ctx.ask("station", Measure(place=place)) for place in ("oslo", "rome")]
        assert_type(await ctx.gather(readings), list[float])
        assert_type(await ctx.gather(readings, quorum=1), list[float])
        assert_type(await ctx.ask("station", {"place": "oslo"}, message_type="measure"), Any)
        await ctx.send("station", Note(text=message.text))


async def outside() -> None:
    async with AgentManager() as manager:
        assert_type(manager, AgentManager)
        assert_type(await manager.ask("station", Measure(place="oslo"), timeout=1), float)
        assert_type(await manager.ask("station", Names(prefix="o"), timeout=1), list[str])
        assert_type(await manager.ask("station", {"place": "oslo"}, message_type="measure", timeout=1), Any)
        assert_type(manager.stream(manager.ask("station", Measure(place="oslo"))), Stream[float])


class Archive(Agent):
    @handles(batch=BatchPolicy(max_size=8), rate=RateLimit(10))
    async def measures(self, messages: list[Measure], ctx: AgentContext) -> list[float]:
        assert_type(messages[0].place, str)
        assert_type(ctx.messages, tuple[AgentMessage, ...])
        return [21.5 for _ in messages]

    @handles(Note, rate=RateLimit(1, per=60, excess="refuse"))
    def note(self, message: Note) -> None: ...


class OutOfStock(Factual):
    item: str
    left: int = 0
    template = "{left} of {item!r} are left; order less"


assert_type(OutOfStock("tea", left=3).item, str)
assert_type(OutOfStock("tea").left, int)
OutOfStock(3)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
OutOfStock()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
