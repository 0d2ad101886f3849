"""Contract net: a task is put out to tender, and goes to who offers to do it best.

The protocol of R. G. Smith ("The Contract Net Protocol", 1980) as FIPA has standardised it: call for proposals, then
proposals or refusals by a deadline, acceptance of one, its result or failure (SC00029H); and, iterated, further calls
whose terms are changed (SC00030H). Proposals and results are answers to asks, so a contractor is any agent that answers
a `CallForProposals` and, if it is chosen, an `AcceptProposal`.
"""

from moot.patterns.contract_net.agents import Award, ContractInitiator, Contractor
from moot.patterns.contract_net.messages import AcceptProposal, CallForProposals, Propose, Refuse, RejectProposal
from moot.patterns.contract_net.tender import Inform, NoContractor, Tender, contract_net

__all__ = [
    "AcceptProposal",
    "Award",
    "CallForProposals",
    "ContractInitiator",
    "Contractor",
    "Inform",
    "NoContractor",
    "Propose",
    "Refuse",
    "RejectProposal",
    "Tender",
    "contract_net",
]
