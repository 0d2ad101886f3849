"""An election: it is open for a time, voters send their ballots when they like, and a timer closes it.

An `ElectionAgent` keeps it in its own state, so on a durable backend it outlives the process with all its ballots. A
sender has one vote: of several ballots the last counts, as in a vote that can be changed until the polls close. Who is
not entitled, comes late or casts what is not valid is told so at once, and nothing else changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from moot import Agent, AgentContext, Payload, ReplyTo, Request, handles
from moot.patterns.voting.ballots import Ballot, ballot_of, check_weights, flaw
from moot.patterns.voting.methods import METHODS
from moot.patterns.voting.poll import Poll, poll_of

__all__ = ["AwaitPoll", "CastBallot", "CloseElection", "ElectionAgent", "ElectionClosed", "OpenElection", "Receipt"]

V = TypeVar("V", bound=msgspec.Struct)

OUTSIDE = "outside"
"""The sender of what is not sent by an agent: there is no telling who."""
MAX_OPEN = 100
MAX_KEPT = 100
"""Elections whose outcome is still known; of more, those that closed first are forgotten."""
MAX_CANDIDATES = 50
"""Comparing all pairs of them on a thousand ballots takes about a second, in which nobody else has a turn."""
MAX_BALLOTS = 1_000
"""Voters in an election. The agent's state is written with each ballot."""
MAX_SECONDS = 366 * 86400.0
MAX_WAITING = 100
"""Asks that may wait for one election."""


class OpenElection(Request[Poll]):
    """Hold an election for ``seconds``; the answer, when it has closed, is the outcome.

    ``electorate`` are those who may vote and the weights of their ballots; nobody named: any agent, with one vote. To
    open the same once more is to wait for it, too; the ``name`` is not free for another.
    """

    name: str
    question: str
    candidates: tuple[str, ...]
    seconds: float
    method: str = "schulze"
    electorate: dict[str, int] = {}
    quorum: int = 1


class Receipt(msgspec.Struct, frozen=True):
    """Whether a ballot will be counted, and if not, why."""

    is_accepted: bool
    reason: str = ""


class CastBallot(Request[Receipt]):
    """Vote in the election of that name, in place of what the sender has cast before. It may be told, too."""

    election: str
    ballot: Ballot | Sequence[str | Sequence[str]]


class AwaitPoll(Request[Poll]):
    """The outcome of an election, as soon as it has closed."""

    election: str


class CloseElection(Payload):
    """The timer of an election; from anybody else it does nothing."""

    election: str


class ElectionClosed(Payload):
    """Told to whoever opened an election without asking for its outcome."""

    election: str
    poll: Poll


class Waiting(msgspec.Struct, frozen=True):
    """An ask that waits for the outcome, and until when."""

    reply_to: ReplyTo
    until: float | None = None


class Election(msgspec.Struct, frozen=True):
    """An open election: its terms, the ballots so far, who cast an invalid one and none since, and who waits.

    ``opener`` is who is to be told the outcome, because they did not ask for it; if they did, nobody is.
    """

    terms: OpenElection
    opener: str
    seed: int
    ballots: dict[str, Ballot] = {}
    invalid: dict[str, str] = {}
    waiting: tuple[Waiting, ...] = ()

    def cast(self, voter: str, answer: Any) -> tuple[Election, Receipt]:
        """The election after ``voter`` has cast this, and what they are told."""
        if voter == OUTSIDE or (self.terms.electorate and voter not in self.terms.electorate):
            return self, Receipt(False, f"{voter!r} may not vote in this election")
        if voter not in self.ballots and not self.terms.electorate and len(self.ballots) >= MAX_BALLOTS:
            return self, Receipt(False, f"the election has its {MAX_BALLOTS} voters")
        try:
            ballot = ballot_of(answer)
            reason = flaw(ballot, self.terms.candidates) or METHODS[self.terms.method].flaw(ballot)
        except ValueError as error:
            reason = str(error)
        if reason is not None:
            known = voter in self.ballots or len(self.invalid) >= MAX_BALLOTS
            noted = self if known else _with(self, invalid={**self.invalid, voter: reason})
            return noted, Receipt(False, reason)
        invalid = {other: reason for other, reason in self.invalid.items() if other != voter}
        return _with(self, ballots={**self.ballots, voter: ballot}, invalid=invalid), Receipt(True)

    def outcome(self) -> Poll:
        """What the count says. The order in which the ballots came does not matter."""
        ballots = dict(sorted(self.ballots.items()))
        terms = self.terms
        poll = poll_of(ballots, terms.candidates, METHODS[terms.method], terms.electorate, self.seed)
        absent = {voter: "cast no ballot" for voter in terms.electorate if voter not in ballots | self.invalid}
        return _with(poll, invalid=poll.invalid | self.invalid, absent=absent, quorum=terms.quorum)


class Elections(msgspec.Struct, frozen=True):
    """The state of an `ElectionAgent`: what is open, and the outcomes of what has closed, with the terms."""

    open: dict[str, Election] = {}
    closed: dict[str, tuple[OpenElection, Poll]] = {}


class ElectionAgent(Agent[Elections]):
    """Holds elections, several at once: opens them, takes ballots, closes them in time, and tells who waits."""

    @handles
    async def hold(self, message: OpenElection, ctx: AgentContext[Elections]) -> Poll | None:
        _check(message)
        state = ctx.state
        closed = state.closed.get(message.name)
        election = state.open.get(message.name)
        known = closed[0] if closed else election.terms if election else message
        if known != message:
            raise ValueError(f"there is another election named {message.name!r}; give this one another name")
        if closed:
            return closed[1]
        if election is None:
            if len(state.open) >= MAX_OPEN:
                raise ValueError(f"{MAX_OPEN} elections are open; wait until one closes")
            opener = ctx.sender if ctx.reply_to is None else OUTSIDE
            election = Election(message, opener, ctx.random.getrandbits(63))
            ctx.schedule(message.seconds, CloseElection(message.name), name=f"close {message.name}")
        self._wait(election, ctx)
        return None

    @handles
    async def cast(self, message: CastBallot, ctx: AgentContext[Elections]) -> Receipt:
        election = ctx.state.open.get(message.election)
        if election is None:
            return Receipt(False, f"no election named {message.election[:100]!r} is open")
        election, receipt = election.cast(ctx.sender, message.ballot)
        ctx.state = _with(ctx.state, open={**ctx.state.open, message.election: election})
        return receipt

    @handles
    async def tell(self, message: AwaitPoll, ctx: AgentContext[Elections]) -> Poll | None:
        if closed := ctx.state.closed.get(message.election):
            return closed[1]
        if message.election not in ctx.state.open:
            raise ValueError(f"there is no election named {message.election[:100]!r}; open it with OpenElection")
        self._wait(ctx.state.open[message.election], ctx)
        return None

    @handles
    async def close(self, message: CloseElection, ctx: AgentContext[Elections]) -> None:
        name = message.election
        if ctx.sender != ctx.agent_id or (election := ctx.state.open.get(name)) is None:
            return
        poll = election.outcome()
        closed = {**ctx.state.closed, name: (election.terms, poll)}
        kept = dict(list(closed.items())[-MAX_KEPT:])
        ctx.state = Elections({other: it for other, it in ctx.state.open.items() if other != name}, kept)
        for one in election.waiting:
            ctx.send(one.reply_to, poll)
        if election.opener != OUTSIDE:
            ctx.send(election.opener, ElectionClosed(name, poll))

    def _wait(self, election: Election, ctx: AgentContext[Elections]) -> None:
        """Whoever asked is answered when it closes."""
        if ctx.reply_to is not None:
            now, own = ctx.now(), Waiting(ctx.defer(), ctx.deadline)
            waiting = [one for one in election.waiting if one.reply_to != own.reply_to and not _is_over(one, now)]
            if len(waiting) >= MAX_WAITING:
                raise ValueError(f"{MAX_WAITING} wait for this election; ask again when it has closed")
            election = _with(election, waiting=(*waiting, own))
        ctx.state = _with(ctx.state, open={**ctx.state.open, election.terms.name: election})


def _is_over(one: Waiting, now: float) -> bool:
    """Whether nobody waits for the answer any more."""
    return one.until is not None and one.until <= now


def _check(terms: OpenElection) -> None:
    """Refuse terms that no election can be held by."""
    if terms.method not in METHODS:
        raise ValueError(f"there is no method {terms.method!r}; there are: {', '.join(METHODS)}")
    if not 0 < terms.seconds <= MAX_SECONDS:
        raise ValueError(f"an election is open for more than 0 and up to {MAX_SECONDS:g} s, not {terms.seconds:g}")
    if not 1 <= terms.quorum <= (len(terms.electorate) or MAX_BALLOTS):
        raise ValueError(f"a quorum of {terms.quorum} cannot be had from this electorate")
    if len(terms.candidates) > MAX_CANDIDATES:
        raise ValueError(f"an election has up to {MAX_CANDIDATES} candidates, not {len(terms.candidates)}")
    METHODS[terms.method].tally((), terms.candidates)
    if len(terms.electorate) > MAX_BALLOTS:
        raise ValueError(f"an electorate has up to {MAX_BALLOTS} voters, not {len(terms.electorate)}")
    check_weights(terms.electorate.values())


def _with(value: V, **changes: Any) -> V:
    return msgspec.structs.replace(value, **changes)
