"""What a handler of a `Tree` may do. Each deed is drawn from the message, so a second run of the turn does the same."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from moot import AgentContext, AskGroup, MootError, Stream
from tests.promises.programs.messages import (
    Chain,
    Flood,
    Item,
    Later,
    Leaf,
    Lines,
    Note,
    Onward,
    Plain,
    PlainLater,
    Tree,
)
from tests.promises.programs.oddities import ODD
from tests.promises.programs.seen import describe, mark

if TYPE_CHECKING:
    from tests.promises.programs.agents import Node

__all__ = ["CALM", "DEEDS", "LEAVES", "LEVELS", "Act"]

CALM = 60.0
"""Seconds after which nothing that a step has left behind is under way."""
LEVELS = (("top",), ("mid1",), ("mid2", "mid3"))
LEAVES = ("leaf1", "leaf2", "leaf3", "leaf4")


class Act:
    """The deeds of one run of a handler of `Tree`."""

    def __init__(self, node: Node, ctx: AgentContext[Any], message: Tree, dice: random.Random) -> None:
        self.node, self.ctx, self.message, self.dice = node, ctx, message, dice
        self.lines: Lines = []
        self.count = 0
        self.label = message.label

    def begin(self, number: int, name: str) -> None:
        self.label = f"{self.message.label}.{number}"
        self.count = 0
        self.lines.append(f"-- {name}")

    def say(self, *lines: str) -> None:
        self.lines += lines

    def next_label(self) -> str:
        self.count += 1
        return f"{self.label}/{self.count}"

    def name(self, name: str) -> str:
        return f"{self.node.group}.{name}"

    def leaves(self, count: int) -> Lines:
        return [self.name(leaf) for leaf in self.dice.sample(LEAVES, count)]

    def seconds(self, least: float = 0.01, most: float = 0.5) -> float:
        return self.dice.uniform(least, most)

    def note(self) -> Note:
        error = self.dice.choice(("", "", "os", "value", "retry"))
        sleep = self.dice.choice((0.0, 0.0, self.seconds()))
        return Note(self.next_label(), sleep, error, self.dice.randint(1, 3))

    def leaf(self, *, sleeps: bool = False) -> Leaf:
        error = self.dice.choice(("", "", "", "os", "value", "retry", "after", "group", "cancelled", "generator"))
        sleep = self.seconds() if sleeps else self.dice.choice((0.0, 0.0, 0.0, self.seconds()))
        first = self.dice.choice((*("",) * len(ODD), *ODD))
        return Leaf(self.next_label(), sleep, error, self.dice.randint(1, 4), first=first)

    async def ask_a_tree(self) -> None:
        level = self.message.level + 1
        if level >= len(LEVELS):
            return await self.ask_a_leaf()
        to = self.name(self.dice.choice(LEVELS[level]))
        step = Tree(self.next_label(), self.dice.getrandbits(32), level)
        self.say(*await self.ctx.ask(to, step, timeout=500))
        return None

    async def ask_a_leaf(self) -> None:
        self.say(*await self.ctx.ask(self.leaves(1)[0], self.leaf()))

    async def ask_leaves(self) -> None:
        for _ in range(self.dice.randint(2, 4)):
            self.say(*await self.ctx.ask(self.leaves(1)[0], Leaf(self.next_label())))

    async def ask_plainly(self) -> None:
        for _ in range(2):
            kind = self.dice.choice((Plain, PlainLater))
            error = self.dice.choice(("", "", "key"))
            self.say(*await self.ctx.ask(self.leaves(1)[0], kind(self.next_label(), error=error)))

    async def ask_from_a_cleanup(self) -> None:
        try:
            self.say(*await self.ctx.ask("nobody", Leaf(self.next_label())))
        except MootError:
            self.say(*await self.ctx.ask(self.leaves(1)[0], self.leaf()))
        finally:
            self.say(*await self.ctx.ask(self.leaves(1)[0], Plain(self.next_label(), error="key")))

    async def ask_the_manager(self) -> None:
        self.say(*await self.node.world.manager.ask(self.leaves(1)[0], self.leaf()))

    async def ask_in_vain(self) -> None:
        wait = self.dice.randrange(4)
        leaf = Leaf(self.next_label(), sleep=self.seconds(3, 6))
        ask = self.ctx.ask(self.leaves(1)[0], leaf, timeout=self.seconds(0.5, 2) if wait == 0 else 100)
        if wait == 1:
            async with asyncio.timeout(self.seconds(0.5, 2)):
                await ask
        elif wait == 2:
            await asyncio.wait_for(ask, self.seconds(0.5, 2))
        else:
            self.say(*await ask)

    async def chain_in_vain(self) -> None:
        if self.message.level:
            return
        chain = Chain(self.next_label(), (self.name("mid2"), *self.leaves(1)), sleep=self.seconds(1, 2))
        limit = self.dice.choice((0.5, 2.6, 4.1, 300.0)) + self.seconds(0, 0.1)
        try:
            async with asyncio.timeout(limit):
                self.say(*await self.ctx.ask(self.name("mid1"), chain, timeout=200))
        finally:
            await asyncio.sleep(CALM)

    async def gather(self) -> None:
        asks = [self.ctx.ask(leaf, self.leaf(sleeps=True)) for leaf in self.leaves(3)]
        if self.dice.random() < 0.5:
            for answer in await self.ctx.gather(asks, return_exceptions=True):
                self.say(*(answer if isinstance(answer, list) else [describe(answer)]))
        else:
            for lines in await self.ctx.gather(asks, self.dice.choice((None, 1, 2))):
                self.say(*lines)

    async def group(self) -> None:
        async def ask(leaf: str, content: Leaf, pause: float) -> Lines:
            await asyncio.sleep(pause)  # else an ask that is refused would race with the beginning of the others
            with self.ctx.branch(leaf):
                return await self.ctx.ask(leaf, content)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(leaf, self.leaf(), self.seconds())) for leaf in self.leaves(3)]
        for task in tasks:
            self.say(*task.result())

    async def quick_group(self) -> None:
        async def ask(leaf: str) -> Lines:
            with self.ctx.branch(leaf), contextlib.suppress(MootError, RuntimeError):
                return await self.ctx.ask(leaf, Leaf(f"{label} {leaf}"))
            return ["refused"]

        label = self.next_label()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(leaf)) for leaf in self.leaves(3)]
        for task in tasks:
            self.say(*task.result())

    async def stream(self) -> None:
        leaf = Leaf(self.next_label(), self.seconds(), self.dice.choice(("", "os")), 1, pieces=self.dice.randint(1, 3))
        async with Stream(self.ctx.ask(self.leaves(1)[0], leaf)) as stream:
            with contextlib.suppress(StopAsyncIteration):
                while True:
                    piece = await stream.next_piece()
                    self.say(f"{piece.content} {piece.attempt}")
            self.say(*await stream.reply())

    async def send(self) -> None:
        for _ in range(self.dice.randint(1, 3)):
            self.ctx.send(self.dice.choice([*self.leaves(2), self.node.id]), self.note())

    async def send_and_ask(self) -> None:
        (to,) = self.leaves(1)
        self.ctx.send(to, self.note())
        self.say(*await self.ctx.ask(to, self.leaf()))

    async def progress_and_ask(self) -> None:
        (to,) = self.leaves(1)
        self.ctx.progress(to, self.note())
        self.say(*await self.ctx.ask(to, self.leaf()))

    async def schedule(self) -> None:
        self.ctx.schedule(self.seconds(), self.note(), to=self.dice.choice([*self.leaves(1), self.node.id]))
        if self.dice.random() < 0.3:
            self.ctx.schedule(1, self.note(), name="named")
            self.ctx.unschedule("named") if self.dice.random() < 0.5 else None

    async def publish(self) -> None:
        self.ctx.publish(self.name("news"), self.note())

    async def flood(self) -> None:
        await asyncio.sleep(CALM)
        notes = tuple(Note(self.next_label(), self.dice.choice((0.0, 0.01))) for _ in range(6))
        to, is_last = self.name(self.dice.choice(("narrow", "strict"))), self.dice.random() < 0.5
        self.say(*await self.ctx.ask(self.name("flooder"), Flood(to, notes, is_last)))

    async def effect(self) -> None:
        label, sleep = self.next_label(), self.dice.choice((0.0, self.seconds()))

        async def pay(key: str) -> str:
            self.node.world.effects[label] += 1
            await asyncio.sleep(sleep) if sleep else None
            lines = await self.ctx.ask(self.leaves(1)[0], Leaf(f"{label} inside"))
            return f"paid {lines}"

        self.say(await self.ctx.effect("pay", pay))

    async def set_mark(self) -> None:
        before = mark.set(self.message.label)
        try:
            self.say(*await self.ctx.ask(self.leaves(1)[0], self.leaf()))
        finally:
            mark.reset(before)

    async def share(self) -> None:
        key = f"of {self.node.id}"
        await self.ctx.shared_state.set(key, await self.ctx.shared_state.get(key, 0) + 1)

    async def ask_group(self) -> None:
        with AskGroup[Lines]() as group:
            for leaf in self.leaves(3):
                group.add(self.ctx.ask(leaf, self.leaf(sleeps=True)))
            enough = self.dice.randint(1, 3)
            async for ask in group:
                self.say(describe(ask.error)) if ask.error is not None else self.say(*ask.answer)
                enough -= 1
                if not enough:
                    break

    async def stop_waiting(self) -> None:
        """A child task waits for the answer, and is cancelled in the middle."""
        leaf = Leaf(self.next_label(), self.seconds(1, 2), first=self.dice.choice(ODD))
        task = asyncio.ensure_future(self.ctx.ask(self.leaves(1)[0], leaf))
        await asyncio.wait({task}, timeout=self.seconds(0.1, 3))
        task.cancel("enough")
        self.say(*await task)

    async def wait(self) -> None:
        await asyncio.sleep(self.dice.choice((0.0, 0.0, self.seconds())))

    async def ask_for_later(self) -> None:
        timeout = self.dice.choice((30, 30, 0.2))
        self.say(
            *await self.ctx.ask(self.name("late"), Later(self.next_label(), self.seconds(0.5, 1)), timeout=timeout)
        )

    async def ask_onward(self) -> None:
        sleep = self.dice.choice((0.0, self.seconds()))
        self.say(*await self.ctx.ask(self.name("late"), Onward(self.next_label(), self.leaves(1)[0], sleep)))

    async def ask_in_a_circle(self) -> None:
        sleep = self.dice.choice((0.0, 0.0, self.seconds()))
        path = (*self.leaves(2), self.node.id)[self.dice.randrange(3) :]
        chain = Chain(self.next_label(), path[1:], sleep, catches=self.dice.random() < 0.5)
        self.say(*await self.ctx.ask(path[0], chain, timeout=50))

    async def ask_nobody(self) -> None:
        self.say(*await self.ctx.ask("nobody", Leaf(self.next_label())))

    async def ask_a_packer(self) -> None:
        count = self.dice.randint(1, 4)
        asks = [self.ctx.ask(self.name("packer"), Item(self.next_label())) for _ in range(count)]
        self.say(*(str(lines) for lines in await self.ctx.gather(asks)))

    async def ask_a_slow_one(self) -> None:
        for _ in range(3):
            self.say(*await self.ctx.ask(self.name(self.dice.choice(("paced", "choosy"))), Plain(self.next_label())))

    async def ask_a_hasty_one(self) -> None:
        sleep = self.dice.choice((0.0, 0.3, 4.0))
        self.say(*await self.ctx.ask(self.name("hasty"), Leaf(self.next_label(), sleep)))

    async def ask_a_host(self) -> None:
        self.say(*await self.ctx.ask(f"{self.node.group}_room/{self.dice.randrange(2)}", self.leaf()))

    async def fail_again_and_again(self) -> None:
        for _ in range(self.dice.randint(1, 4)):
            with contextlib.suppress(MootError):
                self.say(*await self.ctx.ask(self.leaves(1)[0], Leaf(self.next_label(), 0, "value", 9)))
            await asyncio.sleep(self.dice.choice((0.0, 3.0)))

    async def cancel_itself(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel("of its own will")
        try:
            await asyncio.sleep(self.dice.choice((0.0, self.seconds())))
        except asyncio.CancelledError as cancelled:
            self.say(describe(cancelled))
            if self.dice.random() < 0.3:
                raise
            task.uncancel()

    async def be_overtaken(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        timer = asyncio.get_running_loop().call_later(self.seconds(1, 2), task.cancel, "from a timer")
        try:
            await self.ctx.ask(self.leaves(1)[0], Leaf(self.next_label(), self.seconds(3, 4)))
        except asyncio.CancelledError as cancelled:
            self.say(describe(cancelled), str(task.uncancel()))
        finally:
            timer.cancel()


DEEDS: tuple[Callable[[Act], Coroutine[Any, Any, None]], ...] = (
    *(Act.ask_a_tree,) * 8,
    *(Act.ask_a_leaf, Act.ask_leaves, Act.ask_plainly, Act.ask_from_a_cleanup, Act.ask_the_manager),
    *(Act.ask_in_vain, Act.chain_in_vain, Act.gather, Act.group, Act.quick_group, Act.stream),
    *(Act.send, Act.send_and_ask, Act.progress_and_ask, Act.schedule, Act.publish, Act.flood),
    *(
        Act.ask_group,
        Act.stop_waiting,
        Act.effect,
        Act.set_mark,
        Act.share,
        Act.wait,
        Act.ask_for_later,
        Act.ask_onward,
    ),
    *(Act.ask_in_a_circle, Act.ask_nobody, Act.ask_a_packer, Act.ask_a_slow_one, Act.ask_a_hasty_one, Act.ask_a_host),
    *(Act.fail_again_and_again, Act.cancel_itself, Act.be_overtaken),
)
