"""Typed ask: a request names the type of its reply, and the type checker knows it.

Prints: the sum is 42.0
        converted from a plain dict: 3.0
        refused: …
"""

import asyncio

from moot import Agent, AgentManager, InvalidPayload, Request, handles


class Add(Request[float]):  # message_type "add"; expects a float back
    left: float
    right: float


class Calculator(Agent):
    @handles
    async def add(self, message: Add) -> float:  # the context is optional
        return message.left + message.right


async def main() -> None:
    async with AgentManager() as manager:
        await manager.register(Calculator("calculator"))

        total = await manager.ask("calculator", Add(left=40.0, right=2.0), timeout=1)
        print("the sum is", total)  # mypy and pyright both know: total is a float

        untyped = await manager.ask("calculator", {"left": 1, "right": 2}, message_type="add", timeout=1)
        print("converted from a plain dict:", untyped)

        try:
            await manager.ask("calculator", {"left": 1, "right": "two"}, message_type="add", timeout=1)
        except InvalidPayload as error:
            print("refused:", error)


if __name__ == "__main__":
    asyncio.run(main())
