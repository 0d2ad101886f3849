"""Three tasks for twelve contractors: some refuse, some are late, some hang, fail, crash, or answer rubbish.

Each task is fulfilled, by a contractor that did it, and nobody who was not given it has done it. A contractor that
has done a contract does not do it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from moot import Agent, AgentContext, handles
from moot.patterns.contract_net import (
    AcceptProposal,
    Award,
    CallForProposals,
    ContractInitiator,
    Contractor,
    Propose,
    Refuse,
    Tender,
)
from tests.patterns.suite import CLIENT, Begin, plainly

TASKS = 3


class Builder(Contractor):
    capabilities = ("building",)

    async def propose(self, call: CallForProposals, ctx: AgentContext) -> Any:
        mood = ctx.random.random()
        if mood < 0.15:
            return Refuse("no time")
        if mood < 0.25:
            await asyncio.sleep(1000)
        return Propose(ctx.random.randint(1, 20))

    async def perform(self, accept: AcceptProposal, ctx: AgentContext) -> Any:
        mood = ctx.random.random()
        if mood < 0.2:
            raise ValueError("it fell down")
        if mood < 0.3:
            await asyncio.sleep(1000)
        key = f"did/{accept.task}/{self.id}/{accept.contract}"
        await ctx.shared_state.set(key, await ctx.shared_state.get(key, 0) + 1)
        return [accept.task, self.id]


class Rubbish(Agent):
    capabilities = ("building",)

    @handles
    async def on_call(self, call: CallForProposals) -> Any:
        return {"type": "propose", "cost": "cheap"}


class Client(Agent):
    @handles
    async def begin(self, message: Begin, ctx: AgentContext) -> None:
        asks = [ctx.ask("initiator", Award(number), timeout=400) for number in range(TASKS)]
        found = await ctx.gather(asks)
        await ctx.shared_state.set("outcome", plainly(found))


def agents() -> Sequence[Agent[Any]]:
    return [
        *(Builder(f"builder_{n}") for n in range(10)),
        *(Rubbish(f"rubbish_{n}") for n in range(2)),
        ContractInitiator("initiator", "capability:building", Tender(deadline=3, timeout=8)),
        Client(CLIENT),
    ]


def judge(state: dict[str, Any]) -> list[str]:
    wrong = []
    for number, found in enumerate(state["outcome"]):
        by = found["contractor"]
        if found["result"] != [number, by] or state.get(f"did/{number}/{by}/{found['contract']}") is None:
            wrong.append(f"task {number} is said to be done by {by}: {found['result']}")
    return wrong + [f"{key} {times} times" for key, times in state.items() if key.startswith("did/") and times != 1]
