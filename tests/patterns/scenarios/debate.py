"""Four debate, of whom one crashes, one hangs and one answers rubbish in a round; a judge decides if need be."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from moot import Agent, AgentContext, handles
from moot.patterns.debate import Argue, DebateRules, Judge, Position, debate, share
from tests.patterns.suite import CLIENT, Begin

FIRST = {"ann": "4", "ben": "5", "cem": "4", "dee": "6"}
TROUBLE = {("ann", 2): "crash", ("ben", 1): "hang", ("dee", 2): "rubbish"}


class Debater(Agent):
    """Holds what it held first, and from the third round on what the judge would say."""

    cancel_with_asker = True

    @handles
    async def argue(self, message: Argue) -> Any:
        trouble = TROUBLE.get((self.id, message.number))
        if trouble == "crash":
            raise ValueError("lost the thread")
        if trouble == "hang":
            await asyncio.sleep(1000)
        if trouble == "rubbish":
            return {"answer": 6}
        return Position(FIRST[self.id] if message.number < 3 else "4", f"as {len(message.others)} others")

    @handles
    async def judge(self, message: Judge) -> str:
        return "4"


class Client(Agent):
    @handles
    async def begin(self, message: Begin, ctx: AgentContext) -> None:
        rules = DebateRules(rounds=3, timeout=1.0, agreed=share(1.0))
        outcome = await debate(ctx, "2 + 2?", list(FIRST), judge="judge", rules=rules)
        await ctx.shared_state.set("outcome", outcome)


def agents() -> Sequence[Agent[Any]]:
    return [*(Debater(name) for name in (*FIRST, "judge")), Client(CLIENT)]


def judge(state: dict[str, Any]) -> list[str]:
    found = state["outcome"]
    wrong = []
    for number, one in enumerate(found["rounds"], 1):
        if sorted([*one["positions"], *one["failed"]]) != sorted(FIRST):
            wrong.append(f"round {number}: {one}")
        for name, position in one["positions"].items():
            if (name, number) in TROUBLE or position["answer"] != (FIRST[name] if number < 3 else "4"):
                wrong.append(f"round {number}: {name} holds {position}")
    if found["stop"] in ("agreed", "judged") and found["answer"] != "4":
        wrong.append(f"the answer is {found['answer']}")
    everybody = len(found["rounds"]) == 3 and len(found["rounds"][2]["positions"]) == len(FIRST)
    if (found["stop"] == "agreed") != everybody:
        wrong.append(f"it ended by {found['stop']}")
    return wrong
