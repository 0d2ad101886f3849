"""Debate: several agents answer, read each other's answers, and answer again, until they agree or a judge decides.

All are asked at once in each round, with the last position of each other: nobody speaks first, and one who is slow or
fails costs a round its timeout and itself the round. Each round is recorded as it went, so that in another life of the
process the debate goes on behind it, and a verdict that was given stays.

Source: Y. Du et al., "Improving Factuality and Reasoning in Language Models through Multiagent Debate", 2023.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Any

import msgspec

from moot import Agent, AgentContext, MootError, Payload, Request, handles
from moot.policies.fields import check_fields

__all__ = [
    "Argue",
    "DebateAgent",
    "DebateRules",
    "Judge",
    "OpenDebate",
    "Outcome",
    "Position",
    "Round",
    "RoundHeld",
    "StopReason",
    "debate",
    "normalised",
    "share",
    "unanimous",
]


class Position(msgspec.Struct, frozen=True):
    """What somebody holds to be the answer, and why."""

    answer: str
    reasoning: str = ""


Positions = Mapping[str, Position]


class Argue(Request[Position | str]):
    """Take a position, in round ``number`` of ``rounds``. ``own`` and ``others`` are what was held before."""

    question: str
    number: int
    rounds: int
    own: Position | None = None
    others: dict[str, Position] = {}


class Judge(Request[Position | str]):
    """Decide: these are the last positions of all who took one."""

    question: str
    positions: dict[str, Position]


class Round(msgspec.Struct, frozen=True):
    """The positions of a round, and who took none, and why."""

    positions: dict[str, Position] = {}
    failed: dict[str, str] = {}


class StopReason(StrEnum):
    """Why a debate is over."""

    AGREED = "agreed"
    JUDGED = "judged"
    ROUNDS = "rounds"
    """No agreement after all rounds, and no judge, or one that failed."""
    FAILED_DEBATERS = "failed_debaters"
    """Nobody took a position in the last round."""


class Outcome(msgspec.Struct, frozen=True):
    """How a debate ended. ``answer`` is what was agreed on or judged; None if there is nothing of the kind."""

    stop: StopReason
    answer: str | None
    rounds: tuple[Round, ...]
    verdict: Position | None = None
    judge_error: str = ""

    @property
    def held(self) -> dict[str, Position]:
        """The last position of each who took one."""
        return _held(self.rounds)

    @property
    def leading(self) -> str | None:
        """The answer that most hold at last, the first of several; what to fall back on, and no decision."""
        answers = [position.answer for position in self.held.values()]
        counts = Counter(map(normalised, answers))
        return max(answers, key=lambda answer: counts[normalised(answer)], default=None)


def normalised(answer: str) -> str:
    """An answer without what does not tell answers apart: case, spaces, quotes around it, a mark at its end."""
    words = " ".join(answer.casefold().split())
    return words.strip("\"'“”„ ").rstrip(".!? ") or words


def unanimous(positions: Positions, debaters: int) -> str | None:
    """What all say who took a position this round, if that is more than half of the debaters."""
    answers = {normalised(position.answer) for position in positions.values()}
    is_agreed = len(answers) == 1 and 2 * len(positions) > debaters
    return next(iter(positions.values())).answer if is_agreed else None


def share(needed: float) -> Callable[[Positions, int], str | None]:
    """An agreement of that share of all debaters, such as ``share(2 / 3)``; of more than half, so that there is one."""
    if not 0.5 < needed <= 1:
        raise ValueError(f"an agreement takes a share above 0.5 and up to 1, not {needed:g}")

    def agreed(positions: Positions, debaters: int) -> str | None:
        counts = Counter(normalised(position.answer) for position in positions.values())
        found = [p.answer for p in positions.values() if counts[normalised(p.answer)] >= needed * debaters - 1e-9]
        return found[0] if found else None

    return agreed


class DebateRules(msgspec.Struct, frozen=True):
    """How many rounds at most, when there is agreement, how many seconds an answer may take and characters it may have.

    ``agreed`` is given the positions of a round and the number of debaters, and returns the answer or None.
    """

    rounds: int = 3
    agreed: Callable[[Positions, int], str | None] = unanimous
    timeout: float = 30.0
    longest: int = 8_000

    def __post_init__(self) -> None:
        check_fields(self)
        if self.rounds < 1 or self.longest < 1 or not self.timeout > 0:
            raise ValueError(f"a debate needs a round, a character and some time, not {self!r}")


class OpenDebate(Request[Outcome]):
    """Debate ``question``; the answer is how it ended. Whoever streams is told each round."""

    question: str


class RoundHeld(Payload):
    """Progress: round ``number`` is over."""

    number: int
    round: Round


async def debate(
    ctx: AgentContext[Any],
    question: str,
    debaters: str | Sequence[str],
    *,
    judge: str | None = None,
    rules: DebateRules | None = None,
) -> Outcome:
    """Have ``debaters`` argue until they agree or the rounds are over; then ``judge`` decides, if there is one.

    ``debaters`` are ids, or ``capability:NAME`` for all who can. Whoever answers `Argue` (and `Judge`) can take part,
    with a `Position` or a text. A handler that holds several debates does so one after the other.

    Raises:
        ValueError: there are fewer than two debaters, or the judge is one.
    """
    rules = rules or DebateRules()
    names = tuple(await ctx.effect("debaters", lambda _: ctx.find(debaters), type=list[str]))
    if len(names) < 2 or judge in names:
        raise ValueError(f"a debate needs two debaters or more and another judge, not {names!r} and {judge!r}")
    rounds: tuple[Round, ...] = ()
    while len(rounds) < rules.rounds:
        held = await ctx.effect("a round of a debate", partial(_round, ctx, question, names, rounds, rules), type=Round)
        rounds = (*rounds, held)
        ctx.progress(None, RoundHeld(len(rounds), held))
        if not held.positions:
            return Outcome(StopReason.FAILED_DEBATERS, None, rounds)
        if (answer := rules.agreed(held.positions, len(names))) is not None:
            return Outcome(StopReason.AGREED, answer, rounds)
    if judge is None:
        return Outcome(StopReason.ROUNDS, None, rounds)
    asked = Judge(question, _held(rounds))
    verdict = await ctx.effect("a verdict", partial(_answers, ctx, {judge: asked}, rules), type=Round)
    if judge not in verdict.positions:
        return Outcome(StopReason.ROUNDS, None, rounds, judge_error=verdict.failed[judge])
    decided = verdict.positions[judge]
    return Outcome(StopReason.JUDGED, decided.answer, rounds, decided)


class DebateAgent(Agent):
    """Holds debates of its debaters for whoever asks, several at once."""

    concurrency = 16
    cancel_with_asker = True

    def __init__(
        self, agent_id: str, debaters: str | Sequence[str], judge: str | None = None, rules: DebateRules | None = None
    ) -> None:
        super().__init__(agent_id)
        self.debaters = debaters if isinstance(debaters, str) else tuple(debaters)
        self.judge = judge
        self.rules = rules

    @handles
    async def hold(self, message: OpenDebate, ctx: AgentContext) -> Outcome:
        return await debate(ctx, message.question, self.debaters, judge=self.judge, rules=self.rules)


async def _round(
    ctx: AgentContext[Any], question: str, names: Sequence[str], rounds: Sequence[Round], rules: DebateRules, key: str
) -> Round:
    """Ask all debaters for a position, each with the last of the others."""
    held = _held(rounds)
    requests = {
        name: Argue(
            question,
            len(rounds) + 1,
            rules.rounds,
            held.get(name),
            {other: position for other, position in held.items() if other != name},
        )
        for name in names
    }
    return await _answers(ctx, requests, rules, key)


async def _answers(
    ctx: AgentContext[Any], requests: Mapping[str, Argue | Judge], rules: DebateRules, _key: str
) -> Round:
    """Ask each at once; the positions they take, and why others take none."""
    asks = {name: ctx.ask(name, request, timeout=rules.timeout) for name, request in requests.items()}
    await ctx.gather(list(asks.values()), return_exceptions=True)
    positions: dict[str, Position] = {}
    failed: dict[str, str] = {}
    for name, ask in asks.items():
        try:
            if isinstance(ask.error, MootError):
                failed[name] = str(ask.error)
            else:
                positions[name] = _position(ask.answer, rules.longest)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            failed[name] = f"what it answered is no position: {error}"
    return Round(positions, failed)


def _position(answer: Any, longest: int) -> Position:
    said: Position | str = msgspec.msgpack.decode(msgspec.msgpack.encode(answer), type=Position | str)
    position = Position(said) if isinstance(said, str) else said
    if (length := len(position.answer) + len(position.reasoning)) > longest:
        raise ValueError(f"it has {length} characters, and may have {longest}")
    if not position.answer.strip():
        raise ValueError("its answer is blank")
    return position


def _held(rounds: Sequence[Round]) -> dict[str, Position]:
    """The last position of each who took one."""
    found: dict[str, Position] = {}
    for one in rounds:
        found |= one.positions
    return found
