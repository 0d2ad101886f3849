"""An agent that puts tasks out to tender, and one that is a contractor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from moot import Agent, AgentContext, Request, handles
from moot.patterns.contract_net.messages import AcceptProposal, CallForProposals, Refuse, RejectProposal
from moot.patterns.contract_net.tender import Inform, Tender, contract_net

__all__ = ["Award", "ContractInitiator", "Contractor"]

LONGEST = 366 * 24 * 3600.0
"""Seconds for a contract whose asker set no deadline."""


class Award(Request[Inform]):
    """Have ``task`` done by the best of the initiator's contractors."""

    task: Any


class ContractInitiator(Agent):
    """Puts out to tender what it is asked for, many contracts at once. Who no longer waits cancels what is done."""

    concurrency = 64
    cancel_with_asker = True

    def __init__(self, agent_id: str, contractors: str | Sequence[str], tender: Tender | None = None) -> None:
        super().__init__(agent_id)
        self.contractors = contractors
        self.tender = tender

    @handles
    async def on_award(self, message: Award, ctx: AgentContext) -> Inform:
        return await contract_net(ctx, message.task, self.contractors, self.tender)


class Contractor(Agent):
    """Override `propose` and `perform`. It does one contract at a time, and proposes while it works.

    A contract that it is given again it answers as before; the results of the last ``remembers`` are kept.
    """

    concurrency = 64
    cancel_with_asker = True
    remembers: ClassVar[int] = 1000

    def propose(self, call: CallForProposals, ctx: AgentContext) -> Any:
        """A `Propose`, or a `Refuse`; may be async."""
        return Refuse(f"{type(self).__name__} makes no proposals; override propose()")

    def perform(self, accept: AcceptProposal, ctx: AgentContext) -> Any:
        """Do the task, and return its result; may be async."""
        raise NotImplementedError(f"{type(self).__name__} does nothing; override perform()")

    async def on_start(self, ctx: AgentContext) -> None:
        await ctx.spawn(Bench(f"{self.id}.bench", self))

    @handles
    async def on_call(self, call: CallForProposals, ctx: AgentContext) -> Any:
        answer = self.propose(call, ctx)
        return await answer if hasattr(answer, "__await__") else answer

    @handles
    async def on_accept(self, accept: AcceptProposal, ctx: AgentContext) -> Any:
        left = LONGEST if ctx.deadline is None else max(0.001, ctx.deadline - ctx.now())
        return await ctx.ask(f"{self.id}.bench", accept, timeout=left)

    @handles
    async def on_reject(self, reject: RejectProposal, ctx: AgentContext) -> None:
        """The contract is not this one's; override to let go what was held for it."""


class Fulfilled(msgspec.Struct, frozen=True):
    """The results of the last contracts, by their ids."""

    results: dict[str, Any] = {}


class Bench(Agent[Fulfilled]):
    """Where a contractor works: one contract after the other."""

    cancel_with_asker = True

    def __init__(self, agent_id: str, contractor: Contractor) -> None:
        super().__init__(agent_id)
        self.contractor = contractor

    @handles
    async def on_accept(self, accept: AcceptProposal, ctx: AgentContext[Fulfilled]) -> Any:
        results = ctx.state.results
        if accept.contract in results:
            return results[accept.contract]
        result = self.contractor.perform(accept, ctx)
        result = await result if hasattr(result, "__await__") else result
        kept = {**results, accept.contract: result}
        ctx.state = Fulfilled(dict(list(kept.items())[-max(1, self.contractor.remembers) :]))
        return result
