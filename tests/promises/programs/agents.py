"""The agents of random programs."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from moot import Agent, AgentContext, Backoff, BatchPolicy, RetryPolicy, Terminated, handles
from tests.promises.programs.deeds import DEEDS, Act
from tests.promises.programs.messages import (
    Bear,
    Book,
    Chain,
    Due,
    Flood,
    Item,
    Later,
    Leaf,
    Lines,
    Note,
    Onward,
    Plain,
    PlainLater,
    Quit,
    Tree,
)
from tests.promises.programs.oddities import odd, raise_inside
from tests.promises.programs.seen import ERRORS, World, describe, mark, surroundings

__all__ = ["Careful", "Node", "Packer", "Wide"]


class Node(Agent[Book]):
    """Handles everything. ``names`` are the agents of its group."""

    retry = RetryPolicy(3, Backoff(0, 0))
    keeps_book = True

    def __init__(self, agent_id: str, world: World) -> None:
        super().__init__(agent_id)
        self.world = world
        self.group = agent_id[0]

    def initial_state(self) -> Any:
        return Book() if self.keeps_book else None

    async def on_start(self, ctx: AgentContext[Any]) -> None:
        self.world.hooks[f"{self.id} started"] += 1
        if "room" in self.id or "child" in self.id:
            lines = await ctx.ask(f"{self.group}.leaf1", Leaf(f"{self.id} begins"))
            self.world.hooks[f"{self.id} {lines}"] += 1

        if self.id.endswith("leaf2"):
            ctx.subscribe(f"{self.group}.news")

    async def on_stop(self, ctx: AgentContext[Any]) -> None:
        self.world.hooks[f"{self.id} stopped"] += 1

    def hear(self, ctx: AgentContext[Any], label: str) -> None:
        if self.keeps_book:
            heard: dict[str, tuple[str, ...]] = ctx.state.heard
            ctx.state = Book(heard | {ctx.sender: (*heard.get(ctx.sender, ()), label)})

    async def one(self, message: Leaf | Note, ctx: AgentContext[Any]) -> Lines:
        before = asyncio.current_task()
        lines = [surroundings(ctx)]
        if before is not None and ".leaf" in self.id:  # (of the others a turn before may have left some)
            lines.append(f"cancelled {before.cancelling()}")
        self.hear(ctx, message.label)
        if isinstance(message, Leaf) and message.first:
            try:
                lines.append(str(await odd(message.first, message.sleep or 0.1)))
            except (*ERRORS, asyncio.CancelledError) as error:
                lines.append(describe(error))
                if isinstance(error, asyncio.CancelledError) and message.error:
                    raise
        for piece in range(getattr(message, "pieces", 0)):
            ctx.progress(None, f"{message.label} {piece}")
            await asyncio.sleep(message.sleep)
        if message.sleep:
            await asyncio.sleep(message.sleep)
        if message.error and ctx.attempt <= message.fails:
            raise_inside(message.error)
        lines.append(f"{asyncio.current_task() is before} {surroundings()}")
        return lines

    @handles
    async def leaf(self, message: Leaf, ctx: AgentContext[Any]) -> Lines:
        return await self.one(message, ctx)

    @handles
    async def note(self, message: Note, ctx: AgentContext[Any]) -> None:
        await self.one(message, ctx)

    @handles
    def plain(self, message: Plain) -> Lines:
        if message.error:
            raise_inside(message.error)
        return [message.label, surroundings()]

    @handles
    async def plain_later(self, message: PlainLater) -> Lines:
        lines = [surroundings()]
        if message.sleep:
            await asyncio.sleep(message.sleep)
        if message.error:
            raise_inside(message.error)
        return [*lines, surroundings()]

    @handles
    async def chain(self, message: Chain, ctx: AgentContext[Any]) -> Lines:
        await asyncio.sleep(message.sleep) if message.sleep else None
        if not message.path:
            return [surroundings(ctx)]
        onward = Chain(f"{message.label}>", message.path[1:], message.sleep, message.catches)
        try:
            lines = await ctx.ask(message.path[0], onward, timeout=400)
        except ERRORS as error:
            if not message.catches:
                raise
            lines = [describe(error)]
        await asyncio.sleep(message.sleep) if message.sleep else None
        return [*lines, surroundings(ctx)]

    @handles
    async def later(self, message: Later, ctx: AgentContext[Any]) -> None:
        ctx.schedule(message.delay, Due(ctx.defer(), message.label))

    @handles
    async def due(self, message: Due, ctx: AgentContext[Any]) -> None:
        ctx.send(message.to, [message.label, "late", surroundings()])

    @handles
    async def onward(self, message: Onward, ctx: AgentContext[Any]) -> Lines:
        if message.to == self.id:
            return [surroundings(ctx)]
        if message.sleep:
            await asyncio.sleep(message.sleep)
        ctx.forward(message.to)
        return []

    @handles
    async def flood(self, message: Flood, ctx: AgentContext[Any]) -> Lines:
        for note in message.notes:
            ctx.send(message.to, note)
        mark.set("left behind")
        task = asyncio.current_task()
        if task is not None and message.is_last:
            task.cancel("left behind")
        return []

    @handles
    async def bear(self, message: Bear, ctx: AgentContext[Any]) -> Lines:
        child = await ctx.spawn(Node(message.name, self.world))
        ctx.watch(child)
        lines = await ctx.ask(child, Leaf(f"{message.label}.born"))
        return [child, *lines]

    @handles
    async def quit(self, message: Quit, ctx: AgentContext[Any]) -> Lines:
        ctx.stop()
        return ["bye"]

    @handles
    async def terminated(self, message: Terminated, ctx: AgentContext[Any]) -> None:
        self.hear(ctx, f"{message.agent_id} {message.reason} {message.error}")

    @handles
    async def tree(self, message: Tree, ctx: AgentContext[Any]) -> Lines:
        dice = random.Random(message.seed)
        act = Act(self, ctx, message, dice)
        for number in range(dice.randint(2, 4)):
            deed = dice.choice(DEEDS)
            act.begin(number, deed.__name__)
            try:
                await deed(act)
            except ERRORS as error:
                act.say(describe(error))
            act.say(surroundings())
        self.hear(ctx, message.label)
        fails = dice.choice((0, 0, 0, 0, 0, 0, 1, 2, 3))
        if ctx.attempt <= fails:
            raise_inside(dice.choice(("os", "value", "retry", "fresh", "after", "group", "cancelled")))
        return act.lines


class Careful(Node):
    cancel_with_asker = True


class Wide(Node):
    concurrency = 3
    keeps_book = False


class Packer(Agent):
    """Handles items in batches."""

    @handles(batch=BatchPolicy(max_size=3, max_wait=0.25))
    async def items(self, messages: list[Item]) -> list[Lines]:
        return [[message.label] for message in messages]
