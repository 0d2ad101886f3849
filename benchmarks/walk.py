"""One message walked through the system: how many calls, in how many files; writes WALK.md.

    .venv/bin/python benchmarks/walk.py            # prints the table and writes WALK.md
    .venv/bin/python benchmarks/walk.py --steps    # prints each step: the file, and what is called in it

A profiler is set for one operation, after three of the same for warming up, in the thread of the event loop. Counted
are the calls of Moot's own functions; a coroutine that goes on counts as called again. A *stay* is a row of calls in
one file, a *return* a stay in a file that was left before. The rows that tell or send end with `settle`.
The counts are the same in each run on one version of Python; the table is of 3.11.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import moot
from moot import Agent, AgentContext, AgentManager, Payload, Request, handles

BEFORE = {
    "memory: tell, handled": (27, 9, 6),
    "memory: ask from outside, answered": (18, 8, 5),
    "memory: `ctx.send`, committed, handled": (40, 12, 11),
    "memory: ask in a turn": (57, 15, 22),
    "sqlite: tell, handled": (94, 19, 45),
    "sqlite: ask from outside, answered": (54, 15, 29),
    "sqlite: `ctx.send`, committed, handled": (150, 25, 84),
    "sqlite: ask in a turn": (119, 20, 70),
}
"""The walks of the flat modules that the rooms were made from, in November 2026."""

SOURCE = f"{Path(moot.__file__).parent}/"
TABLE = Path(__file__).with_name("WALK.md")


class Note(Payload):
    number: int = 0


class Hello(Request[str]):
    name: str = ""


class Sink(Agent):
    @handles
    async def note(self, message: Note, ctx: AgentContext) -> None:
        pass

    @handles
    async def hello(self, message: Hello, ctx: AgentContext) -> str:
        return f"hi {message.name}"


class Sender(Agent):
    @handles
    async def note(self, message: Note, ctx: AgentContext) -> None:
        ctx.send("sink", message)

    @handles
    async def hello(self, message: Hello, ctx: AgentContext) -> str:
        return await ctx.ask("sink", message)


class Step(NamedTuple):
    """A call: in which file, and of what."""

    file: str
    function: str


class Walk:
    """The steps of one operation."""

    def __init__(self, title: str, most: tuple[int, int, int] | None = None) -> None:
        self.title = title
        self.most = most
        self.steps: list[Step] = []

    async def take(self, operation: Callable[[], Awaitable[Any]]) -> None:
        for _ in range(3):
            await operation()
        await asyncio.sleep(0.05)
        sys.setprofile(self._called)
        await operation()
        sys.setprofile(None)
        await asyncio.sleep(0.05)

    def _called(self, frame: FrameType, event: str, argument: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(SOURCE):
            self.steps.append(Step(file.removeprefix(SOURCE), frame.f_code.co_qualname))

    @property
    def stays(self) -> list[tuple[str, list[str]]]:
        rows = groupby(self.steps, key=lambda step: step.file)
        return [(file, [step.function for step in steps]) for file, steps in rows]

    @property
    def counts(self) -> tuple[int, int, int]:
        files = len({step.file for step in self.steps})
        return len(self.steps), files, len(self.stays) - files

    @property
    def is_too_long(self) -> bool:
        return self.most is not None and any(count > most for count, most in zip(self.counts, self.most, strict=True))


async def walks(url: str) -> list[Walk]:
    """The walks of a backend. The limits are what must hold: calls, files, returns."""
    on_disk = url.startswith("sqlite")
    name = "sqlite" if on_disk else "memory"
    tell = Walk(f"{name}: tell, handled", None if on_disk else (30, 11, 9))
    ask = Walk(f"{name}: ask from outside, answered", None if on_disk else (18, 10, 5))
    send = Walk(f"{name}: `ctx.send`, committed, handled", (110, 21, 60) if on_disk else (45, 14, 14))
    in_turn = Walk(f"{name}: ask in a turn", None if on_disk else (50, 12, 1000))
    async with AgentManager(url) as manager:
        await manager.register(Sink("sink"))
        await manager.register(Sender("sender"))

        async def told(to: str) -> None:
            await manager.tell(to, Note())
            await manager.settle()

        await tell.take(lambda: told("sink"))
        await ask.take(lambda: manager.ask("sink", Hello(name="Ada"), timeout=5))
        await send.take(lambda: told("sender"))
        await in_turn.take(lambda: manager.ask("sender", Hello(name="Ada"), timeout=5))
    return [tell, ask, send, in_turn]


def table(taken: list[Walk]) -> str:
    lines = ["| walk | calls | files | returns | before the rooms | must |", "|---|--:|--:|--:|---|---|"]
    for walk in taken:
        calls, files, returns = walk.counts
        before = ", ".join(map(str, BEFORE[walk.title]))
        must = "" if walk.most is None else ", ".join(f"≤ {most}" for most in walk.most if most < 1000)
        lines.append(f"| {walk.title} | {calls} | {files} | {returns} | {before} | {must} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", action="store_true", help="print each step")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        taken = [*asyncio.run(walks("memory://")), *asyncio.run(walks(f"sqlite:///{folder}/walk.db"))]
    if options.steps:
        for walk in taken:
            print(f"## {walk.title}")
            for file, functions in walk.stays:
                print(f"    {file:<40} {' > '.join(functions)}")
        return 0
    print(table(taken))
    TABLE.write_text(
        f"# Walks\n\n{__doc__.partition('walk.py --steps')[2].partition(chr(10) * 2)[2]}\n{table(taken)}\n"
    )
    return int(any(walk.is_too_long for walk in taken))


if __name__ == "__main__":
    sys.exit(main())
