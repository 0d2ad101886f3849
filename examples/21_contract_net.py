"""Contract net: a job goes to the cheapest of those who can do it; when it fails, to the next.

Prints: the roof is mended by ann for 40 (bob had failed), dora's proposal is rejected
"""

import asyncio
from typing import Any

from moot import AgentContext, AgentManager, handles
from moot.patterns.contract_net import (
    AcceptProposal,
    Award,
    CallForProposals,
    ContractInitiator,
    Contractor,
    Propose,
    Refuse,
    RejectProposal,
)


class Roofer(Contractor):
    capabilities = ("roofing",)

    def __init__(self, agent_id: str, price: float, *, is_afraid_of_heights: bool = False) -> None:
        super().__init__(agent_id)
        self.price = price
        self.is_afraid_of_heights = is_afraid_of_heights

    def propose(self, call: CallForProposals, ctx: AgentContext) -> Propose | Refuse:
        return Propose(self.price) if self.price else Refuse("on holiday")

    def perform(self, accept: AcceptProposal, ctx: AgentContext) -> Any:
        if self.is_afraid_of_heights:
            raise RuntimeError("it is too high")
        return f"{accept.task} is mended by {self.id} for {accept.proposal.cost:.0f}"

    @handles
    async def on_reject(self, reject: RejectProposal, ctx: AgentContext) -> None:
        print(f"{self.id}'s proposal is rejected")


async def main() -> None:
    async with AgentManager() as manager:
        await manager.register(Roofer("ann", 40))
        await manager.register(Roofer("bob", 20, is_afraid_of_heights=True))
        await manager.register(Roofer("carl", 0))
        await manager.register(Roofer("dora", 60))
        await manager.register(ContractInitiator("owner", "capability:roofing"))

        contract = await manager.ask("owner", Award("the roof"))
        print(f"{contract.result} ({' and '.join(contract.tried)} had failed)")


if __name__ == "__main__":
    asyncio.run(main())
