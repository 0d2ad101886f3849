"""The initiator's side: call, decide, award.

What is decided is recorded before it is acted upon: who was called, who is the best after each call, and how each
contractor that was given the contract ended. So an initiator that dies comes back to the same contractor, and only
one that has failed, or not answered in time, is followed by another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from moot import AgentContext, MootError
from moot.patterns.contract_net.messages import AcceptProposal, CallForProposals, Propose, Refuse, RejectProposal

__all__ = ["Inform", "NoContractor", "Tender", "contract_net"]

CAPABILITY = "capability:"


class Inform(msgspec.Struct, frozen=True):
    """A contract that was fulfilled: by whom, for what, and the result. ``tried`` failed before, in order."""

    contract: str
    contractor: str
    proposal: Propose
    result: Any
    tried: tuple[str, ...] = ()


class NoContractor(MootError):
    """Nobody could be had who does it: all refused, were late or failed; ``reasons`` by contractor."""

    def __init__(self, contract: str, reasons: dict[str, str]) -> None:
        self.contract = contract
        self.reasons = reasons
        told = "; ".join(f"{name}: {reason}" for name, reason in list(reasons.items())[:3])
        super().__init__(
            f"nobody fulfils contract {contract} ({len(reasons)} asked{': ' + told if told else ''}); "
            "ask more contractors, or give them more time"
        )


class Tender(msgspec.Struct, frozen=True):
    """How a contract is given.

    ``deadline``: seconds for proposals; ``timeout``: seconds for the work. ``score`` of a contractor and its proposal:
    the lowest wins, by default the cost; of equal ones, who was asked first. ``revise`` is given the task and the
    proposals of a round and returns the task of the next call, or None when it will choose; after ``rounds`` calls it
    must.
    """

    deadline: float = 10.0
    timeout: float = 60.0
    score: Callable[[str, Propose], float] = lambda contractor, proposal: proposal.cost
    rounds: int = 1
    revise: Callable[[Any, dict[str, Propose]], Any] = lambda task, proposals: None

    def __post_init__(self) -> None:
        if not (self.deadline > 0 and self.timeout > 0 and self.rounds >= 1):
            raise ValueError("deadline and timeout are above 0 s, and there is 1 round or more")


class _Round(msgspec.Struct, frozen=True):
    """What was decided after a call: the next task, or the proposals, best first; and who is out, and why."""

    again: bool
    task: Any
    ranking: list[tuple[str, Propose]]
    reasons: dict[str, str]


class _Ended(msgspec.Struct, frozen=True):
    """How a contract ended."""

    error: str | None
    result: Any = None


async def contract_net(
    ctx: AgentContext[Any],
    task: Any,
    contractors: str | Sequence[str],
    tender: Tender | None = None,
    *,
    contract: str | None = None,
) -> Inform:
    """Have ``task`` done by the best of ``contractors``: agents, or all who can if that is ``capability:NAME``.

    ``contract`` is its id, by default that of the message that is handled; two in one turn need two. Proposals that
    were not accepted are rejected when the turn commits.

    Raises:
        NoContractor: nobody does it.
    """
    tender = tender if tender is not None else Tender()
    contract = contract if contract is not None else ctx.message.id
    found = await ctx.effect(f"contractors of {contract}", lambda key: _found(ctx, contractors), type=list[str])
    for number in range(1, tender.rounds + 1):
        call = CallForProposals(contract, task, number)
        asks = [ctx.ask(name, call, timeout=tender.deadline) for name in found]
        told = await ctx.gather(asks, return_exceptions=True)
        answers = dict(zip(found, told, strict=True))
        decide = partial(_decide, tender, task, answers, number)
        decided: _Round = await ctx.effect(f"round {number} of {contract}", decide, type=_Round)
        if not decided.again:
            return await _award(ctx, contract, tender, decided)
        task = decided.task
    raise AssertionError("the last round decides")


def _found(ctx: AgentContext[Any], contractors: str | Sequence[str]) -> list[str]:
    named = ctx.find(contractors.removeprefix(CAPABILITY)) if isinstance(contractors, str) else contractors
    return list(dict.fromkeys(named))


def _decide(tender: Tender, task: Any, answers: dict[str, Any], number: int, _key: str) -> _Round:
    proposals: dict[str, Propose] = {}
    reasons: dict[str, str] = {}
    for name, answer in answers.items():
        proposal = _read(answer)
        if isinstance(proposal, Propose):
            proposals[name] = proposal
        else:
            reasons[name] = proposal
    revised = None if number == tender.rounds else tender.revise(task, dict(proposals))
    if revised is not None:
        return _Round(True, revised, [], reasons)
    scores = {name: tender.score(name, proposal) for name, proposal in proposals.items()}
    ranking = sorted(proposals.items(), key=lambda one: scores[one[0]])
    return _Round(False, task, ranking, reasons)


def _read(answer: Any) -> Propose | str:
    """The proposal in an answer, or why it is none. What a contractor answers is not to be trusted."""
    if isinstance(answer, BaseException):
        if not isinstance(answer, MootError):
            raise answer
        return str(answer)
    try:
        read: Propose | Refuse = msgspec.convert(answer, Propose | Refuse)
    except msgspec.ValidationError as error:
        return f"it answered with neither a proposal nor a refusal: {error}"
    if isinstance(read, Refuse):
        return f"it refused: {read.reason}" if read.reason else "it refused"
    return read if 0 <= read.cost < math.inf else f"its cost of {read.cost} is no cost"


async def _award(ctx: AgentContext[Any], contract: str, tender: Tender, decided: _Round) -> Inform:
    reasons = dict(decided.reasons)
    tried: list[str] = []
    for name, proposal in decided.ranking:
        accept = AcceptProposal(contract, decided.task, proposal)
        perform = partial(_perform, ctx, name, accept, tender.timeout)
        ended: _Ended = await ctx.effect(f"{contract} with {name}", perform, type=_Ended)
        if ended.error is None:
            for other, _ in decided.ranking:
                if other != name and other not in tried:
                    ctx.send(other, RejectProposal(contract))
            return Inform(contract, name, proposal, ended.result, tuple(tried))
        tried.append(name)
        reasons[name] = ended.error
    raise NoContractor(contract, reasons)


async def _perform(ctx: AgentContext[Any], name: str, accept: AcceptProposal, timeout: float, _key: str) -> _Ended:
    try:
        return _Ended(None, await ctx.ask(name, accept, timeout=timeout))
    except MootError as error:
        return _Ended(f"it failed: {error}")
