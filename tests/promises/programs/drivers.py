"""Drivers: they call the agents of a program from outside, one call after the other."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from moot import Backoff, BreakerPolicy, MailboxPolicy, RateLimit, Supervision, TimeoutPolicy
from tests.promises.programs.agents import Careful, Node, Packer, Wide
from tests.promises.programs.deeds import CALM, LEAVES
from tests.promises.programs.messages import Bear, Chain, Leaf, Lines, Note, Plain, Quit, Tree
from tests.promises.programs.seen import ERRORS, World, describe, moment

__all__ = ["Driver"]


class Driver:
    """Calls the agents of one group from outside, one call after the other."""

    def __init__(self, group: str, world: World, dice: random.Random) -> None:
        self.group, self.world, self.dice = group, world, dice
        self.count = 0
        self.children = 0

    def name(self, name: str) -> str:
        return f"{self.group}.{name}"

    def label(self) -> str:
        self.count += 1
        return f"{self.group}{self.count}"

    async def populate(self) -> None:
        dice, world, register = self.dice, self.world, self.world.manager.register
        breaker = BreakerPolicy(failures=2, reset_after=5)
        for name in ("top", "mid1", "mid2", "mid3", *LEAVES, "late", "flooder", "boss", "frail"):
            kinds = (Node, Node, Careful) if name not in LEAVES else (Node, Node, Careful, Wide)
            await register(
                dice.choice(kinds)(self.name(name), world),
                breaker=breaker if name.startswith(dice.choice(("mid", "top", "-"))) else None,
                supervision=Supervision(
                    directives=((KeyError, "restart"), (ZeroDivisionError, "stop"), (OverflowError, "escalate")),
                    strategy=dice.choice(("one_for_one", "one_for_all", "rest_for_one")),
                    max_restarts=2,
                    backoff=Backoff(0, 0),
                ),
            )
        await register(Node(self.name("narrow"), world), mailbox=MailboxPolicy(2, "block"))
        await register(Node(self.name("strict"), world), mailbox=MailboxPolicy(2, "fail"))
        await register(Node(self.name("hasty"), world), timeouts=TimeoutPolicy(run_timeout=1.0))
        await register(Node(self.name("paced"), world), rate_limit=RateLimit(1, burst=1))
        await register(Node(self.name("choosy"), world), rate_limit=RateLimit(1, burst=2, excess="refuse"))
        await register(Packer(self.name("packer")))
        world.manager.host(lambda agent_id: Node(agent_id, world), domain=f"{self.group}_room")

    async def call(self, what: str, begin: Callable[..., Awaitable[Any]], *words: Any, **options: Any) -> None:
        """Note what comes of a call."""
        try:
            came = str(await begin(*words, **options))
        except (*ERRORS, asyncio.CancelledError) as error:
            came = describe(error)
        self.world.calls[self.group].append(f"{moment()} {what}: {came}")

    async def go(self, calls: int) -> None:
        for _ in range(calls):
            await self.dice.choice(CALLS)(self)
            await asyncio.sleep(self.dice.choice((0.0, 0.0, CALM)))

    def tree(self) -> Tree:
        return Tree(self.label(), self.dice.getrandbits(32), 0)

    async def ask(self) -> None:
        await self.call("ask", self.world.manager.ask, self.name("top"), self.tree(), timeout=1000)

    async def ask_leaves(self) -> None:
        for leaf in LEAVES:
            await self.call(
                "leaf",
                self.world.manager.ask,
                self.name(leaf),
                Leaf(self.label(), 0, self.dice.choice(("", "value")), 9),
            )

    async def ask_twice(self) -> None:
        label = self.label()
        for _ in range(2):
            leaf = Leaf(label, 0, "value", self.dice.randrange(2))
            await self.call("twice", self.world.manager.ask, self.name("leaf1"), leaf, message_id=label)

    async def tell(self) -> None:
        label = self.label()
        for _ in range(2):
            note = Note(label, 0, self.dice.choice(("", "os")), 1)
            message_id = self.dice.choice((None, label))
            await self.call("tell", self.world.manager.tell, self.name("leaf2"), note, message_id=message_id)

    async def cancel(self) -> None:
        for _ in range(2):
            chain = Chain(self.label(), (self.name("mid2"), self.name("leaf1")), self.dice.uniform(0.5, 1))
            ask = self.world.manager.ask(self.name("mid1"), chain, timeout=self.dice.choice((0.7, 100)))
            task = asyncio.ensure_future(ask)
            await asyncio.wait({task}, timeout=self.dice.uniform(0.1, 4))
            task.cancel()
            await self.call("cancel", asyncio.gather, task)
            await asyncio.sleep(CALM)

    async def stream(self) -> None:
        leaf = Leaf(self.label(), self.dice.uniform(0.1, 0.3), self.dice.choice(("", "os")), 1, pieces=3)

        async def read() -> Lines:
            async with self.world.manager.stream(self.world.manager.ask(self.name("leaf3"), leaf)) as stream:
                return [*[piece async for piece in stream], *await stream.reply()]

        await self.call("stream", read)

    async def side_by_side(self) -> None:
        asks = [self.world.manager.ask(self.name(leaf), Leaf(self.label())) for leaf in LEAVES]
        await self.call("side by side", asyncio.gather, *asks)

    async def publish(self) -> None:
        await self.call("publish", self.world.manager.publish, f"{self.group}.news", Note(self.label()))

    async def have_children(self) -> None:
        """A parent with children that fail and stop. After each call is a pause, in which that takes its course."""
        ask, boss = self.world.manager.ask, self.name("boss")
        names = [f"{self.group}.child{self.children + number}" for number in range(3)]
        self.children += 3
        await asyncio.sleep(CALM)
        for name in names:
            await self.call("bear", ask, boss, Bear(self.label(), name))
        for _ in range(4):
            error = self.dice.choice(("key", "key", "zero", "arithmetic", "assertion", "cancelled"))
            sleep = self.dice.choice((0.0, 0.5))
            await self.call("child", ask, self.dice.choice(names), Leaf(self.label(), sleep, error, 1))
            await asyncio.sleep(self.dice.choice((1, CALM)))
        await self.call("quit", ask, self.dice.choice(names), Quit(self.label()))
        await asyncio.sleep(CALM)
        await self.call("boss", ask, boss, Leaf(self.label()))

    async def break_the_frail(self) -> None:
        """An agent that is restarted, taken out, or stops; it is registered anew."""
        ask, frail = self.world.manager.ask, self.name("frail")
        error = self.dice.choice(("key", "zero"))
        await self.call("frail", ask, frail, Leaf(self.label(), 0, error, 1))
        await asyncio.sleep(CALM)
        await self.call("frail", ask, frail, self.dice.choice((Quit, Plain))(self.label()))
        await asyncio.sleep(CALM)
        if frail in self.world.manager.directory:
            await self.call("unregister", self.world.manager.unregister, frail)
        await self.call("register", self.world.manager.register, Node(frail, self.world))


CALLS: tuple[Callable[[Driver], Coroutine[Any, Any, None]], ...] = (
    *(Driver.ask,) * 8,
    *(Driver.ask_leaves, Driver.ask_twice, Driver.tell, Driver.cancel, Driver.stream, Driver.side_by_side),
    *(Driver.publish, Driver.have_children, Driver.break_the_frail),
)
