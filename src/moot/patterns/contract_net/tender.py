"""The initiator's side: call, decide, award.

What is decided is recorded before it is acted upon: who was called, who is the best after each call, and how each
contractor that was given the contract ended. So an initiator that dies comes back to the same contractor, and only
one that has failed, or not answered in time, is followed by another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import msgspec

from moot import AgentContext, AgentStopped, Backoff, Factual, MailboxFull, MootError, UnknownAgent, retried_while
from moot.patterns.contract_net.messages import AcceptProposal, CallForProposals, Propose, Refuse, RejectProposal
from moot.policies.fields import check_fields

__all__ = ["Inform", "NoContractor", "Tender", "contract_net"]

_PAUSES = Backoff(0.05, 1.0)


class Inform(msgspec.Struct, frozen=True):
    """A contract that was fulfilled: by whom, for what, and the result. ``tried`` failed before, in order."""

    contract: str
    contractor: str
    proposal: Propose
    result: Any
    tried: tuple[str, ...] = ()


class NoContractor(Factual):
    """Nobody could be had who does it: all refused, were late or failed; ``reasons`` by contractor."""

    contract: str
    reasons: dict[str, str]

    def __str__(self) -> str:
        told = "; ".join(f"{name}: {reason}" for name, reason in list(self.reasons.items())[:3])
        return (
            f"nobody fulfils contract {self.contract} ({len(self.reasons)} asked{': ' + told if told else ''}); "
            "ask more contractors, or give them more time"
        )


class Tender(msgspec.Struct, frozen=True):
    """How a contract is given.

    ``deadline``: seconds for proposals; ``timeout``: seconds for the work; ``patience``: seconds in which a contractor
    that is not there, or has no room, is tried again before it counts as failed. ``score`` of a contractor and its
    proposal: the lowest wins, by default the cost; of equal ones, who was asked first. ``revise`` is given the task and
    the proposals of a round and returns the task of the next call, or None when it will choose; after ``rounds`` calls,
    or without proposals, it is not asked.
    """

    deadline: float = 10.0
    timeout: float = 60.0
    patience: float = 5.0
    score: Callable[[str, Propose], float] = lambda contractor, proposal: proposal.cost
    rounds: int = 1
    revise: Callable[[Any, dict[str, Propose]], Any] = lambda task, proposals: None

    def __post_init__(self) -> None:
        check_fields(self)
        if not (0 < self.deadline < math.inf and 0 < self.timeout < math.inf and self.patience >= 0):
            raise ValueError("deadline and timeout are above 0 s and have an end, and patience is 0 s or more")
        if self.rounds < 1:
            raise ValueError(f"there is 1 round or more, not {self.rounds}")


class _Called(msgspec.Struct, frozen=True):
    """Who is called, for which contract."""

    contract: str
    contractors: list[str]


class _Round(msgspec.Struct, frozen=True):
    """What was decided after a call: the next task, or the proposals, best first; who proposed; who is out, and why."""

    again: bool
    task: Any
    ranking: list[tuple[str, Propose]]
    proposed: list[str]
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

    ``contract`` is its id, by default one of its own. Whoever has proposed and is not the one that has done it is sent
    a `RejectProposal`.

    Raises:
        NoContractor: nobody does it.
    """
    find = partial(_call, ctx, contractors, contract)
    called: _Called = await ctx.effect("call for proposals", find, type=_Called)
    return await _Net(ctx, called, tender if tender is not None else Tender()).run(task)


def _call(ctx: AgentContext[Any], contractors: str | Sequence[str], contract: str | None, key: str) -> _Called:
    return _Called(contract if contract is not None else key, ctx.find(contractors))


class _Net:
    """One contract under way."""

    def __init__(self, ctx: AgentContext[Any], called: _Called, tender: Tender) -> None:
        self.ctx = ctx
        self.contract = called.contract
        self.contractors = called.contractors
        self.tender = tender
        self.proposed: dict[str, None] = {}

    async def run(self, task: Any) -> Inform:
        try:
            for number in range(1, self.tender.rounds + 1):
                decide = partial(self._round, task, number)
                decided: _Round = await self.ctx.effect(f"round {number} of {self.contract}", decide, type=_Round)
                self.proposed |= dict.fromkeys(decided.proposed)
                if not decided.again:
                    break
                task = decided.task
            inform = await self._award(decided)
        except BaseException:
            self._reject(self.proposed)
            raise
        self._reject(name for name in self.proposed if name != inform.contractor)
        return inform

    def _reject(self, names: Iterable[str]) -> None:
        """Tell those who may hold something: at once, since what was done stays done whatever becomes of the turn."""
        for name in names:
            self.ctx.progress(name, RejectProposal(self.contract))

    async def _round(self, task: Any, number: int, key: str) -> _Round:
        """Call for proposals, and decide on those that come."""
        call = CallForProposals(self.contract, task, number)
        asks = [self.ctx.ask(name, call, timeout=self.tender.deadline) for name in self.contractors]
        told = await self.ctx.gather(asks, return_exceptions=True)
        proposals: dict[str, Propose] = {}
        reasons: dict[str, str] = {}
        for name, answer in zip(self.contractors, told, strict=True):
            proposal = _read(answer)
            if isinstance(proposal, Propose):
                proposals[name] = proposal
            else:
                reasons[name] = proposal
        proposed = list(proposals)
        self.proposed |= dict.fromkeys(proposed)
        if proposals and number < self.tender.rounds:
            revised = self.tender.revise(task, dict(proposals))
            if revised is not None:
                return _Round(True, revised, [], proposed, reasons)
        return _Round(False, task, self._ranked(proposals, reasons), proposed, reasons)

    def _ranked(self, proposals: dict[str, Propose], reasons: dict[str, str]) -> list[tuple[str, Propose]]:
        scores: dict[str, float] = {}
        for name, proposal in proposals.items():
            try:
                score = self.tender.score(name, proposal)
                if not math.isfinite(score):
                    reasons[name] = f"its proposal was scored {score}"
                else:
                    scores[name] = score
            except Exception as error:  # noqa: BLE001 - what it is given comes from a contractor, and harms only that one
                reasons[name] = f"its proposal could not be scored: {type(error).__name__}: {error}"
        return [(name, proposals[name]) for name in sorted(scores, key=scores.__getitem__)]

    async def _award(self, decided: _Round) -> Inform:
        reasons = dict(decided.reasons)
        tried: list[str] = []
        for name, proposal in decided.ranking:
            perform = partial(self._perform, name, AcceptProposal(self.contract, decided.task, proposal))
            ended: _Ended = await self.ctx.effect(f"{self.contract} with {name}", perform, type=_Ended)
            if ended.error is None:
                return Inform(self.contract, name, proposal, ended.result, tuple(tried))
            self._reject([name])  # if it still works at it, it is to stop
            tried.append(name)
            reasons[name] = ended.error
        raise NoContractor(self.contract, reasons)

    async def _perform(self, name: str, accept: AcceptProposal, key: str) -> _Ended:
        """Have one contractor do it. One that is not there is waited for: it may be about to start again."""
        ask = partial(self.ctx.ask, name, accept, timeout=self.tender.timeout)
        try:
            return _Ended(None, await retried_while(ask, _is_not_there, _PAUSES.pauses(within=self.tender.patience)))
        except MootError as error:
            return _Ended(f"it failed: {error}")


def _is_not_there(error: Exception) -> bool:
    return isinstance(error, (UnknownAgent, AgentStopped, MailboxFull))


def _read(answer: Any) -> Propose | str:
    """The proposal in an answer, or why it is none. What a contractor answers is not to be trusted."""
    if isinstance(answer, BaseException):
        if not isinstance(answer, MootError):
            raise answer
        return str(answer)
    try:
        read: Propose | Refuse = msgspec.convert(msgspec.to_builtins(answer), Propose | Refuse)
    except (msgspec.ValidationError, TypeError, ValueError, RecursionError) as error:
        return f"it answered with neither a proposal nor a refusal: {error}"
    if isinstance(read, Refuse):
        return f"it refused: {read.reason}" if read.reason else "it refused"
    return read if 0 <= read.cost < math.inf else f"its cost of {read.cost} is no cost"
