"""Order: what one agent sends another is handled in the order it was sent, whatever fails or fills up meanwhile.

A state machine over a whole system: three agents with mailboxes of 2 send each other numbered items, some turns fail
and are run again in place, outside callers tell and ask, and the loop is let go any number of steps in between. Numbers
only rise, so what a receiver has handled from one sender rises, too; in the end it is all that was sent, but for the
dead letters of circles that could not be widened further.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Iterator
from itertools import pairwise
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from moot import Agent, AgentContext, AgentManager, MailboxPolicy, Payload, Reason, Request, RetryPolicy, handles
from moot.policies import Backoff
from moot.testing import VirtualClockLoop

NAMES = ("a", "b", "c")

names = st.sampled_from(NAMES)
failures = st.integers(0, 2)


class Burst(Payload):
    """Send these items to ``to``; the turn fails ``failures`` times before it is through."""

    to: str
    numbers: list[int]
    failures: int


class Item(Request[int]):
    sender: str
    number: int
    failures: int
    pauses: int


class Node(Agent):
    mailbox = MailboxPolicy(capacity=2)
    retry = RetryPolicy(max_attempts=3, backoff=Backoff(first=0.5, limit=2))

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.handled: dict[str, list[int]] = defaultdict(list)

    @handles
    async def burst(self, message: Burst, ctx: AgentContext) -> None:
        for number in message.numbers:
            ctx.send(message.to, Item(sender=self.id, number=number, failures=number % 3 % 2, pauses=number % 4))
        if ctx.attempt <= message.failures:
            raise OSError("again")

    @handles
    async def item(self, message: Item, ctx: AgentContext) -> int:
        for _ in range(message.pauses):
            await asyncio.sleep(0)
        if ctx.attempt <= message.failures:
            raise OSError("again")
        self.handled[message.sender].append(message.number)
        return message.number


class OrderMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualClockLoop)
        self.manager = AgentManager(seed=1)
        self.nodes = {name: Node(name) for name in NAMES}
        self.sent: dict[tuple[str, str], list[int]] = defaultdict(list)
        self.callers: list[asyncio.Task[None]] = []
        self.number = 0
        self.runner.run(self.begin())

    async def begin(self) -> None:
        await self.manager.start()
        for node in self.nodes.values():
            await self.manager.register(node)

    def next_numbers(self, count: int) -> list[int]:
        self.number += count
        return list(range(self.number - count, self.number))

    @rule(sender=names, receiver=names, count=st.integers(1, 6), failures=failures)
    def send_a_burst(self, sender: str, receiver: str, count: int, failures: int) -> None:
        # Bursts go to the sender's mailbox from one caller, in order: so do the items to the receiver.
        numbers = self.next_numbers(count)
        self.sent[sender, receiver] += numbers
        self.call(
            "bursts to " + sender, self.manager.tell(sender, Burst(to=receiver, numbers=numbers, failures=failures))
        )

    @rule(receiver=names, failures=failures, pauses=st.integers(0, 3))
    def tell_from_outside(self, receiver: str, failures: int, pauses: int) -> None:
        (number,) = self.next_numbers(1)
        self.sent["teller", receiver].append(number)
        item = Item(sender="teller", number=number, failures=failures, pauses=pauses)
        self.call("teller to " + receiver, self.manager.tell(receiver, item, timeout=9999))

    @rule(receiver=names, failures=failures, pauses=st.integers(0, 3))
    def ask_from_outside(self, receiver: str, failures: int, pauses: int) -> None:
        (number,) = self.next_numbers(1)
        self.sent["asker", receiver].append(number)
        item = Item(sender="asker", number=number, failures=failures, pauses=pauses)

        async def ask() -> None:
            assert await self.manager.ask(receiver, item, timeout=9999) == number

        self.call("asker to " + receiver, ask())

    def call(self, name: str, coroutine: Coroutine[Any, Any, None]) -> None:
        """Start a call from outside; it may have to wait for room."""

        async def begin() -> None:
            task = asyncio.get_running_loop().create_task(coroutine, name=name)
            self.callers.append(task)
            await asyncio.sleep(0)

        self.runner.run(begin())

    @rule(steps=st.integers(1, 20))
    def let_it_run(self, steps: int) -> None:
        async def run() -> None:
            for _ in range(steps):
                await asyncio.sleep(0)

        self.runner.run(run())

    @rule(seconds=st.sampled_from((0.1, 1.0)))
    def let_time_pass(self, seconds: float) -> None:
        self.runner.run(asyncio.sleep(seconds))

    @invariant()
    def what_was_handled_is_in_the_order_of_sending(self) -> None:
        for receiver, node in self.nodes.items():
            for sender, handled in node.handled.items():
                assert all(one < next_one for one, next_one in pairwise(handled)), f"{sender} to {receiver}: {handled}"

    def teardown(self) -> None:
        async def end() -> None:
            if self.callers:
                await asyncio.gather(*self.callers)
            await self.manager.settle()
            await self.manager.stop()

        self.runner.run(end())
        self.runner.close()
        lost = set(self.lost())
        for (sender, receiver), numbers in self.sent.items():
            expected = [number for number in numbers if number not in lost]
            assert self.nodes[receiver].handled[sender] == expected, f"{sender} to {receiver}"

    def lost(self) -> Iterator[int]:
        """The numbers that dead letters account for; only full mailboxes may be their reason."""
        for letter in self.manager.dead_letters:
            assert letter.reason is Reason.OVERFLOW
            content = letter.message.content
            yield from content.numbers if isinstance(content, Burst) else (content.number,)


TestOrder = OrderMachine.TestCase
TestOrder.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
