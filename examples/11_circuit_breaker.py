"""A circuit breaker: what keeps failing is left alone for a while, and tried again.

The desk asks a translator that has lost its dictionary. After three failures it is not asked any more; the desk falls
back at once. When the dictionary is back, one probe finds out.
Prints: 3 failures, 5 asks stopped, 3 reached the translator; then: the breaker is open; then: moot = käräjät
"""

import asyncio

from moot import (
    Agent,
    AgentContext,
    AgentManager,
    BreakerOpen,
    BreakerPolicy,
    Request,
    RetryPolicy,
    TurnError,
    handles,
)


class Translate(Request[str]):
    word: str


class Translator(Agent):
    retry = RetryPolicy(max_attempts=1)

    def __init__(self, agent_id: str) -> None:
        super().__init__(agent_id)
        self.dictionary: dict[str, str] | None = None
        self.asked = 0

    @handles
    async def translate(self, message: Translate) -> str:
        self.asked += 1
        if self.dictionary is None:
            raise ConnectionError("the dictionary is gone")
        return self.dictionary[message.word]


class Desk(Agent):
    breaker = BreakerPolicy(failures=3, reset_after=0.2)
    failures = stopped = 0

    @handles
    async def translate(self, message: Translate, ctx: AgentContext) -> str:
        try:
            return await ctx.ask("translator", message, timeout=5)
        except TurnError:
            self.failures += 1
        except BreakerOpen:
            self.stopped += 1
        return "?"


async def main() -> None:
    async with AgentManager() as manager:
        translator, desk = Translator("translator"), Desk("desk")
        await manager.register(translator)
        await manager.register(desk)
        for _ in range(8):
            await manager.ask("desk", Translate(word="moot"))
        print(f"{desk.failures} failures, {desk.stopped} asks stopped, {translator.asked} reached the translator")
        print(f"the breaker is {manager.breakers()[0].state}")

        translator.dictionary = {"moot": "käräjät"}
        await asyncio.sleep(0.25)
        print(f"moot = {await manager.ask('desk', Translate(word='moot'))}")
        print(f"breakers that know of a failure: {len(manager.breakers())}")


if __name__ == "__main__":
    asyncio.run(main())
