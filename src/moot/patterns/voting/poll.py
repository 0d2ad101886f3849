"""A poll: every voter is asked for a ballot, and what came in time is counted.

Whom it asks, and what came of it, are recorded before anything follows from them: a turn that is run again finds the
same voters and the same outcome, whoever may answer by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from moot import AgentContext, Request
from moot.patterns.voting.ballots import Ballot, Tally, ballot_of, check_weights
from moot.patterns.voting.methods import Method, Schulze

__all__ = ["BallotPaper", "Poll", "poll_of", "vote"]

CAPABILITY = "capability:"
GROUPS = (CAPABILITY, "topic:")


class BallotPaper(Request[Ballot | Sequence[str | Sequence[str]]]):
    """What a voter is asked with. The answer is a `Ballot`, or names in order of preference, lists for level ones."""

    question: str
    candidates: tuple[str, ...]
    method: str = ""


class Poll(msgspec.Struct, frozen=True):
    """The outcome: ``ballots`` that were counted, ``invalid`` ones with their reasons and, ``absent``, who gave none.

    ``tally`` is of all ballots that could be read, in the order of the voters.
    """

    tally: Tally
    ballots: dict[str, Ballot]
    invalid: dict[str, str] = {}
    absent: dict[str, str] = {}
    quorum: int = 1

    @property
    def is_quorate(self) -> bool:
        """Whether there are as many valid ballots as were needed."""
        return len(self.ballots) >= self.quorum

    @property
    def elected(self) -> str | None:
        """Who has won, by lot if several are tied; None without a quorum."""
        return self.tally.elected if self.is_quorate else None


async def vote(
    ctx: AgentContext[Any],
    voters: str | Sequence[str] | Mapping[str, int],
    paper: BallotPaper,
    method: Method | None = None,
    *,
    quorum: int = 1,
    timeout: float = 30.0,
) -> Poll:
    """Ask each voter for a ballot and count those that come within ``timeout`` seconds, by `Schulze` unless told.

    ``voters`` are ids, a mapping of ids to the weights of their ballots, or ``capability:NAME``: all who have it now;
    any other text is the id of one voter. Each has one ballot. Fewer than ``quorum`` valid ones elect nobody. A turn
    that polls several times does so one after the other.

    Raises:
        ValueError: there is no voter, fewer than the quorum, or a group among several; a weight is below 1; the
            candidates are none or not different.
    """
    method = method or Schulze()
    method.tally((), paper.candidates)  # refuses what nobody could be asked about
    paper = msgspec.structs.replace(paper, method=method.name)
    weights = await _electorate(ctx, voters)
    if not 1 <= quorum <= len(weights):
        raise ValueError(f"a quorum of {quorum} cannot be had from {len(weights)} voters; check whom {voters!r} names")
    seed = ctx.random.getrandbits(63)

    async def hold(_key: str) -> Poll:
        asks = {voter: ctx.ask(voter, paper, timeout=timeout) for voter in weights}
        await ctx.gather(list(asks.values()), return_exceptions=True)
        answers = {voter: ask.answer for voter, ask in asks.items() if ask.error is None}
        absent = {voter: str(ask.error) for voter, ask in asks.items() if ask.error is not None}
        counted = poll_of(answers, paper.candidates, method, weights, seed)
        return msgspec.structs.replace(counted, absent=absent, quorum=quorum)

    return await ctx.effect("vote", hold, type=Poll)


def poll_of(
    answers: Mapping[str, Any], candidates: Sequence[str], method: Method, weights: Mapping[str, int], seed: int
) -> Poll:
    """Count what the voters have answered; who has no weight in ``weights`` has one vote."""
    read: dict[str, Ballot] = {}
    invalid: dict[str, str] = {}
    for voter, answer in answers.items():
        try:
            read[voter] = ballot_of(answer)
        except ValueError as error:
            invalid[voter] = str(error)
    shares = [weights.get(voter, 1) for voter in read]
    tally = method.tally(list(read.values()), candidates, weights=shares, seed=seed)
    voters = list(read)
    invalid |= {voters[flawed.index]: flawed.reason for flawed in tally.invalid}
    return Poll(tally, {voter: ballot for voter, ballot in read.items() if voter not in invalid}, invalid)


async def _electorate(ctx: AgentContext[Any], voters: str | Sequence[str] | Mapping[str, int]) -> dict[str, int]:
    """The voters and their weights, each voter once."""
    if isinstance(voters, str) and voters.startswith(CAPABILITY):
        found = await ctx.effect("voters", lambda key: ctx.find(voters), type=list[str])
        return dict.fromkeys(found, 1)
    ids = [voters] if isinstance(voters, str) else voters
    if group := next((voter for voter in ids if voter.startswith(GROUPS)), None):
        raise ValueError(f"{group!r} is no voter, and could have several ballots; pass it alone, or ids")
    weights = dict(ids) if isinstance(ids, Mapping) else dict.fromkeys(ids, 1)
    check_weights(weights.values())
    return weights
