"""`moot demo contract_net`: five jobs are put out to tender among six workshops."""

from __future__ import annotations

import asyncio
from typing import Any

from moot import AgentContext, AgentManager
from moot.cli.demos import SEED, play
from moot.patterns.contract_net import (
    AcceptProposal,
    Award,
    CallForProposals,
    ContractInitiator,
    Contractor,
    Inform,
    Propose,
    Refuse,
    Tender,
)

__all__ = ["contract_net"]

JOBS = ["a table", "a chair", "a bed", "a door", "a boat"]


class Workshop(Contractor):
    capabilities = ("joinery",)

    def __init__(self, agent_id: str, rate: int, fails: float, said: dict[tuple[str, str], str]) -> None:
        super().__init__(agent_id)
        self.rate = rate
        self.fails = fails
        self.said = said

    async def propose(self, call: CallForProposals, ctx: AgentContext) -> Any:
        mood = ctx.random.random()
        if mood < 0.15:
            self.said[call.task, self.id] = "refused"
            return Refuse("no wood")
        if mood < 0.3:
            self.said[call.task, self.id] = "late"
            await asyncio.sleep(20)
        cost = self.rate + ctx.random.randrange(40)
        self.said.setdefault((call.task, self.id), str(cost))
        return Propose(cost)

    async def perform(self, accept: AcceptProposal, ctx: AgentContext) -> str:
        await asyncio.sleep(3)
        if ctx.random.random() < self.fails:
            raise ValueError("the saw broke")
        return f"{accept.task}, made by {self.id}"


def row(job: str, shops: list[Workshop], found: Inform, said: dict[tuple[str, str], str]) -> str:
    cells = []
    for shop in shops:
        told = said.get((job, shop.id), "")
        mark = "*" if shop.id == found.contractor else "x" if shop.id in found.tried else ""
        cells.append(f"{told + mark:>10}")
    return f"{job:<9}{''.join(cells)}"


async def main(seed: int) -> None:
    said: dict[tuple[str, str], str] = {}
    fails = [0.0, 0.6, 0.0, 0.2, 0.0, 0.9]
    shops = [Workshop(f"shop_{n}", 60 + 8 * n, fails[n], said) for n in range(6)]
    async with AgentManager(seed=seed) as manager:
        for shop in shops:
            await manager.register(shop)
        await manager.register(ContractInitiator("buyer", "capability:joinery", Tender(deadline=10)))
        found = [await manager.ask("buyer", Award(job), timeout=600) for job in JOBS]
    print(f"{'':<9}{''.join(f'{shop.id:>10}' for shop in shops)}")
    for job, one in zip(JOBS, found, strict=True):
        print(row(job, shops, one, said))
    print("\n* has made it · x was chosen, and failed · late: after the deadline")
    print(f"paid {sum(one.proposal.cost for one in found):.0f} for {len(found)} jobs, each made once")


def contract_net(seed: SEED = 1) -> None:
    """Put five jobs out to tender among workshops that refuse, are late and fail."""
    play(main(seed))  # who failed is shown in the table
