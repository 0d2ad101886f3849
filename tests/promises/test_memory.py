"""Memory is bounded by what is waiting, not by what has passed: messages, asks and failures leave nothing behind.

On the real event loop, in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

import pytest

PRELUDE = """
    import asyncio, gc, json
    from moot import Agent, AgentContext, AgentManager, Payload, Request, handles

    def rss():
        gc.collect()
        with open("/proc/self/statm") as pages:
            return int(pages.read().split()[1]) * 4096

    class Tell(Payload):
        number: int

    class Work(Request[int]):
        number: int
        fail: bool = False

    class Link(Agent):
        def __init__(self, agent_id: str, following: str | None) -> None:
            super().__init__(agent_id)
            self.following = following

        @handles
        def on_tell(self, message: Tell, ctx: AgentContext) -> None:
            if self.following:
                ctx.send(self.following, message)

        @handles
        async def on_work(self, message: Work, ctx: AgentContext) -> int:
            if message.fail:
                raise ValueError("on purpose")
            if self.following:
                return await ctx.ask(self.following, message)
            return message.number

    class Silent(Agent):
        @handles
        async def on_work(self, message: Work) -> int:
            await asyncio.sleep(1000)
            return 0

    async def chain(manager):
        for number in range(3):
            await manager.register(Link(f"link_{number}", f"link_{number + 1}" if number < 2 else None))
"""


def measure(program: str) -> dict[str, Any]:
    """Run a program that prints its figures as JSON."""
    code = textwrap.dedent(PRELUDE) + textwrap.dedent(program)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_million_messages_take_no_more_memory_than_a_hundred_thousand() -> None:
    figures = measure("""
        async def rounds(manager, count):  # a chain of three: 3 messages for a tell, 3 for an ask
            for number in range(count):
                await manager.tell("link_0", Tell(number))
                if number % 10 == 0:
                    await manager.ask("link_0", Work(number))
            await manager.settle()

        async def main():
            async with AgentManager() as manager:
                await chain(manager)
                await rounds(manager, 100_000 // 33 * 10)
                early = rss()
                await rounds(manager, 900_000 // 33 * 10)
                print(json.dumps({"grown": rss() - early, "messages": manager.stats().messages}))

        asyncio.run(main())
    """)

    assert figures["messages"] >= 1_000_000 * 0.99
    assert figures["grown"] <= 5 * 2**20


def test_an_idle_agent_takes_at_most_560_bytes() -> None:
    figures = measure("""
        async def main():
            async with AgentManager() as manager:
                for number in range(1000):
                    await manager.register(Silent(f"before_{number}"))
                before = rss()
                for number in range(50_000):
                    await manager.register(Silent(f"idle_{number}"))
                print(json.dumps({"bytes": (rss() - before) / 50_000}))

        asyncio.run(main())
    """)

    assert figures["bytes"] <= 560


@pytest.mark.parametrize("how", ["cancelled", "failed", "expired", "gathered"])
def test_asks_that_come_to_nothing_leave_nothing_behind(how: str) -> None:
    figures = measure(f"""
        how = {how!r}

        async def one(manager, number):
            try:
                if how == "cancelled":
                    asking = asyncio.ensure_future(asyncio.wait_for(manager.ask("silent", Work(number)), 100))
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                    asking.cancel()
                    await asking
                elif how == "failed":
                    await manager.ask("link_0", Work(number, fail=True))
                elif how == "expired":
                    await manager.ask("silent", Work(number), timeout=0.001)
                else:
                    await manager.gather([manager.ask("link_0", Work(number, fail=True)) for _ in range(3)])
            except (Exception, asyncio.CancelledError):
                pass

        async def main():
            manager = AgentManager()
            async with manager:
                manager.dead_letters._letters = type(manager.dead_letters._letters)(maxlen=10)
                await chain(manager)
                await manager.register(Silent("silent"))
                await manager.tell("silent", Work(0))

                async def rounds(count):
                    for start in range(0, count, 100):
                        await asyncio.gather(*[one(manager, start + number) for number in range(100)])
                    await asyncio.sleep(0.05)
                    gc.collect()
                    return len(gc.get_objects())

                early = await rounds(1000)
                late = await rounds(10_000)
                system = manager._system
                print(json.dumps({{
                    "objects": late - early,
                    "asks": len(system.asks),
                    "wheel": len(system.wheel),
                    "mail": len(manager.directory.cells["silent"].mailbox),
                    "lanes": len(manager.directory.cells["silent"].queue or ()),
                }}))
                await manager.stop(drain=False)

        import logging
        logging.disable(logging.CRITICAL)
        asyncio.run(main())
    """)

    assert figures.pop("objects") < 1000
    assert figures == {"asks": 0, "wheel": 0, "mail": 0, "lanes": 0}
