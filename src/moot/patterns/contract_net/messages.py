"""What initiators and contractors say to each other."""

from __future__ import annotations

from typing import Any

import msgspec

from moot import Payload, Request

__all__ = ["AcceptProposal", "CallForProposals", "Propose", "Refuse", "RejectProposal"]


class Propose(msgspec.Struct, frozen=True, tag="propose"):
    """I would do it for this ``cost``, which lies at or above 0; ``terms`` are the proposer's own."""

    cost: float
    terms: Any = None


class Refuse(msgspec.Struct, frozen=True, tag="refuse"):
    """I will not do it."""

    reason: str = ""


class CallForProposals(Request[Propose | Refuse]):
    """What would you do ``task`` for? ``round`` counts the calls for one contract, from 1."""

    contract: str
    task: Any
    round: int = 1


class AcceptProposal(Request[Any]):
    """Do it, as you proposed; answer with the result, or fail. Asked again for one contract, do it once."""

    contract: str
    task: Any
    proposal: Propose


class RejectProposal(Payload):
    """The contract is not yours, or no longer: another has done it, or nobody is to."""

    contract: str
