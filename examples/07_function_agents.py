"""Function agents: one typed function is enough to be an agent.

Prints: HELLO, MOOT!
"""

import asyncio

from moot import AgentContext, AgentManager, Request


class Shout(Request[str]):
    text: str


class Emphasise(Request[str]):
    text: str


def shout(message: Shout) -> str:  # plain functions may be agents, too
    return message.text.upper()


async def emphasise(message: Emphasise, ctx: AgentContext) -> str:
    return await ctx.ask("shout", Shout(text=message.text), timeout=1) + "!"


async def main() -> None:
    async with AgentManager() as manager:
        await manager.register(shout)  # its name is its id
        await manager.register(emphasise)
        print(await manager.ask("emphasise", Emphasise(text="hello, moot"), timeout=1))


if __name__ == "__main__":
    asyncio.run(main())
