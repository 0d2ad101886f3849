"""Debate: three solve a riddle, read each other's reasons, and one changes its mind; of another a judge must decide.

All are asked at once in each round, with the last position of each other.
Prints: round 1: 5 cents, 10 cents, 5 cents; round 2: 5 cents, 5 cents, 5 cents -> agreed: 5 cents
"""

import asyncio

from moot import Agent, AgentManager, handles
from moot.patterns.debate import Argue, DebateAgent, DebateRules, Judge, OpenDebate, Position

RIDDLE = "A bat and a ball cost 110 cents; the bat costs 100 more than the ball. What is the ball?"
TASTE = "Tea or coffee?"


class Thinker(Agent):
    first = {"ann": "5 cents", "ben": "10 cents", "cem": "5 cents"}
    likes = {"ann": "tea", "ben": "coffee", "cem": "tea"}

    @handles
    async def argue(self, message: Argue) -> Position:
        if message.question == TASTE:
            return Position(self.likes[self.id], "I like it")
        proofs = [other for other in message.others.values() if "105 + 5" in other.reasoning]
        if message.own is not None and proofs:
            return Position(proofs[0].answer, "I have checked it: 105 + 5 = 110")
        return Position(self.first[self.id], "105 + 5 = 110" if self.id != "ben" else "it is plain to see")


class Host(Agent):
    @handles
    async def judge(self, message: Judge) -> Position:
        return Position("water", "so that nobody is cross")


async def main() -> None:
    async with AgentManager() as manager:
        for name in Thinker.first:
            await manager.register(Thinker(name))
        await manager.register(Host("host"))
        await manager.register(DebateAgent("table", list(Thinker.first), "host", DebateRules(rounds=3)))

        for question in (RIDDLE, TASTE):
            outcome = await manager.ask("table", OpenDebate(question))
            for number, held in enumerate(outcome.rounds, 1):
                print(f"round {number}:", ", ".join(position.answer for position in held.positions.values()))
            print(f"-> {outcome.stop}: {outcome.answer}")


if __name__ == "__main__":
    asyncio.run(main())
