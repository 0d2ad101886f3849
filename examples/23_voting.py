"""Voting: nine friends rank where to go, one too late and one on the moon, and two methods of counting disagree.

Plurality looks at first places only; Schulze finds who beats all others one by one.
Prints: by schulze: hills > town > sea; by plurality: sea
"""

import asyncio

from moot import Agent, AgentContext, AgentManager, Payload, handles
from moot.patterns.voting import BallotPaper, Plurality, Schulze, vote

PLACES = ("sea", "hills", "town")
SEA, HILLS, TOWN = ["sea", "hills", "town"], ["hills", "town", "sea"], ["town", "hills", "sea"]
ORDERS = {
    "ann": SEA,
    "ben": SEA,
    "cem": SEA,
    "dee": HILLS,
    "gus": HILLS,
    "hal": TOWN,
    "ida": TOWN,
    "eve": SEA,
    "fay": ["moon"],
}


class Friend(Agent):
    capabilities = ("travelling",)

    @handles
    async def fill_in(self, message: BallotPaper) -> list[str]:
        if self.id == "eve":
            await asyncio.sleep(10)
        return ORDERS[self.id]


class Plan(Payload):
    pass


class Planner(Agent):
    @handles
    async def plan(self, message: Plan, ctx: AgentContext) -> None:
        paper = BallotPaper("Where to?", PLACES)
        poll = await vote(ctx, "capability:travelling", paper, Schulze(), quorum=3, timeout=0.1)
        first = Plurality().tally(list(poll.ballots.values()), PLACES)
        print("by schulze:", " > ".join(" = ".join(place) for place in poll.tally.ranking), end="; ")
        print("by plurality:", " = ".join(first.winners))
        print("invalid:", poll.invalid)
        print("absent:", list(poll.absent))


async def main() -> None:
    async with AgentManager() as manager:
        for name in ORDERS:
            await manager.register(Friend(name))
        await manager.register(Planner("planner"))
        await manager.tell("planner", Plan())
        await manager.settle()


if __name__ == "__main__":
    asyncio.run(main())
