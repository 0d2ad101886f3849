"""A life that ended in the middle of everything, and what its agents do in the next one.

Run as a program with the path of a new file, it lives the first life and kills itself. ``data/earlier_life.db`` was
written so, by a version of Moot whose modules, classes and fields had other names: what is on a disk outlives them.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from typing import Any, ClassVar

import msgspec

from moot import Agent, AgentContext, AgentManager, Payload, ReplyTo, Request, handles


class Add(Payload):
    payload_version: ClassVar[int] = 2
    amount: int


class Count(Request[int]):
    """How much there is."""


class Hold(Request[str]):
    """Answered by a later turn."""

    label: str = ""


class Release(Payload):
    """Answer all that are held."""


class Work(Payload):
    name: str


class Wrong(Payload):
    text: str = "unreadable"


class Say(Request[str]):
    text: str


class Total(msgspec.Struct, frozen=True):
    amount: int = 0


class Held(msgspec.Struct, frozen=True):
    askers: tuple[tuple[ReplyTo, str], ...] = ()


class Ledger(Agent[Total]):
    def __init__(self, agent_id: str = "ledger") -> None:
        super().__init__(agent_id)
        self.counted = 0

    @handles
    async def add(self, message: Add, ctx: AgentContext[Total]) -> None:
        ctx.state = Total(ctx.state.amount + message.amount)

    @handles
    async def count(self, message: Count, ctx: AgentContext[Total]) -> int:
        self.counted += 1
        return ctx.state.amount

    @handles
    async def wrong(self, message: Wrong, ctx: AgentContext[Total]) -> None:
        raise ValueError(f"cannot enter {message.text!r}")


class Keeper(Agent[Held]):
    @handles
    async def hold(self, message: Hold, ctx: AgentContext[Held]) -> None:
        ctx.state = Held((*ctx.state.askers, (ctx.defer(), message.label)))

    @handles
    async def release(self, message: Release, ctx: AgentContext[Held]) -> None:
        for reply_to, label in ctx.state.askers:
            ctx.send(reply_to, f"{label}, at last")
        ctx.state = Held()


class Clerk(Agent):
    """Asks, has an effect, sets timers, writes shared keys; ``dies`` says whether its life ends in the middle."""

    def __init__(self, agent_id: str, *, dies: bool = False) -> None:
        super().__init__(agent_id)
        self.dies = dies
        self.stamped: list[str] = []
        self.done: list[Any] = []

    @handles
    async def work(self, message: Work, ctx: AgentContext) -> None:
        match message.name:
            case "prepare":
                ctx.send("absent", Add(amount=7))
                ctx.schedule(0.5, Add(amount=1000), to="ledger", name="soon")
                ctx.schedule(1e9, Add(amount=1), to="ledger", name="in thirty years", every=60.0)
                await ctx.shared_state.set("colour", {"name": "blue"})
                await ctx.shared_state.set("gone", 1)
            case "write again":
                await ctx.shared_state.get("colour")
                await ctx.shared_state.set("colour", {"name": "green"})
                await ctx.shared_state.delete("gone")
            case "wait for the keeper":
                self.done.append(await ctx.ask("keeper", Hold(label="clerk")))
            case "die":
                counted = await ctx.ask("ledger", Count())
                await ctx.effect("stamp", lambda key: self.stamp(key))
                if self.dies:
                    await asyncio.Event().wait()
                self.done.append(counted)
            case name:
                self.done.append(name)

    @handles
    async def say(self, message: Say, ctx: AgentContext) -> str:
        self.done.append(message.text)
        return f"{message.text}!"

    def stamp(self, key: str) -> str:
        self.stamped.append(key)
        return "stamped"


async def live(path: str) -> None:
    manager = AgentManager(f"sqlite:///{path}")
    await manager.start()
    clerk, waiting = Clerk("clerk", dies=True), Clerk("waiting")
    for agent in (Ledger(), Keeper("keeper"), clerk, waiting):
        await manager.register(agent)
    for amount in (1, 2):
        await manager.tell("ledger", Add(amount=amount), message_id=f"add {amount}")
    await manager.ask("ledger", Count(), message_id="counted")
    await manager.tell("ledger", Wrong())
    for name in ("prepare", "write again"):
        await manager.tell("clerk", Work(name=name))
    await manager.settle()
    asking = asyncio.ensure_future(_ask(manager, "keeper", Hold(label="outside"), "held"))
    await manager.tell("waiting", Work(name="wait for the keeper"))
    for name in ("die", "left in the mailbox", "left there, too"):
        await manager.tell("clerk", Work(name=name))
    await manager.tell("clerk", Work(name="with an id"), message_id="left")
    saying = asyncio.ensure_future(_ask(manager, "clerk", Say(text="hello"), "said"))
    while not clerk.stamped:  # noqa: ASYNC110 - what it waits for is the end of this process
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)  # all is on the disk
    assert not asking.done()
    assert not saying.done()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    os._exit(9)


async def _ask(manager: AgentManager, to: str, request: Request[str], message_id: str) -> str:
    return await manager.ask(to, request, message_id=message_id)


if __name__ == "__main__":
    asyncio.run(live(sys.argv[1]))
