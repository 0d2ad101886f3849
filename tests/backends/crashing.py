"""A system whose process ends in the middle of a turn, once: an agent asks another, which has done its first effect.

Run as a program with the path of the file and of a log of effects; it ends with 3 when it has died, 0 when it is done.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from moot import Agent, AgentContext, AgentManager, Payload, Request, handles


class Go(Payload):
    pass


class Do(Request[str]):
    pass


class Asker(Agent):
    @handles
    async def go(self, message: Go, ctx: AgentContext) -> None:
        await ctx.ask("doer", Do())


class Doer(Agent):
    def __init__(self, agent_id: str, log: str) -> None:
        super().__init__(agent_id)
        self.log = Path(log)

    @handles
    async def do(self, message: Do, ctx: AgentContext) -> str:
        await ctx.effect("first", lambda key: self.note("first"))
        if "second" not in self.log.read_text():
            self.note("second")
            os._exit(3)
        return "done"

    def note(self, line: str) -> bool:
        with self.log.open("a") as file:
            file.write(f"{line}\n")
        return True


async def main(path: str, log: str) -> None:
    async with AgentManager(f"sqlite:///{path}") as manager:
        await manager.register(Doer("doer", log))
        await manager.register(Asker("asker"))
        await manager.tell("asker", Go(), message_id="once")
        await manager.settle()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
