"""Patterns at once: in one turn a name is debated, a date is voted on and drafts are handed out.

The turn fails when all is done, and is run again: it finds what each pattern recorded, and nobody is asked twice.
Prints: run 2: the name is Moot, the date is May, the drafts are a page on asks, a page on turns (8 questions in all)
"""

import asyncio

from moot import Agent, AgentContext, AgentManager, Request, handles
from moot.patterns.debate import Argue, debate
from moot.patterns.hierarchy import Task, delegate
from moot.patterns.voting import BallotPaper, vote

FOUNDERS = ("ann", "ben", "cem")


class Plan(Request[str]):
    """Come to a plan: what is it called, when, and who writes about which topic?"""

    topics: list[str]


class Founder(Agent):
    asked = 0

    @handles
    async def argue(self, message: Argue) -> str:
        Founder.asked += 1
        return "Moot"

    @handles
    async def choose(self, message: BallotPaper) -> list[str]:
        Founder.asked += 1
        return ["May", "June"]

    @handles
    async def write(self, message: Task) -> str:
        Founder.asked += 1
        return f"a page on {message.content}"


async def plan(message: Plan, ctx: AgentContext) -> str:
    async with asyncio.TaskGroup() as group:
        with ctx.branch("name"):
            name = group.create_task(debate(ctx, "What is its name?", FOUNDERS))
        with ctx.branch("date"):
            date = group.create_task(vote(ctx, FOUNDERS, BallotPaper("When?", ("May", "June"))))
        with ctx.branch("drafts"):
            drafts = group.create_task(delegate(ctx, message.topics, FOUNDERS))
    if ctx.attempt == 1:
        raise TimeoutError("the line went dead when all was done")
    pages = ", ".join(drafts.result().values())
    return (
        f"run {ctx.attempt}: the name is {name.result().answer}, the date is {date.result().elected}, "
        f"the drafts are {pages} ({Founder.asked} questions in all)"
    )


async def main() -> None:
    async with AgentManager() as manager:
        for founder in FOUNDERS:
            await manager.register(Founder(founder))
        await manager.register(plan)
        print(await manager.ask("plan", Plan(["asks", "turns"])))


if __name__ == "__main__":
    asyncio.run(main())
