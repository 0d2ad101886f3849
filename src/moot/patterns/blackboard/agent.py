"""The agent that holds a board.

Each message changes the board by its rules, and what follows is done in the same turn: claims are given out, timers
set, the end told. A timer that repeats while a problem is open finds what a lost message would have told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from moot import Agent, AgentContext, CoordinationError, Factual, Payload, Terminated, TimeoutPolicy, handles
from moot.patterns.blackboard.board import Board, Control, Goal, by_priority
from moot.patterns.blackboard.limits import Limits
from moot.patterns.blackboard.messages import (
    Activation,
    Entry,
    GiveBack,
    Interest,
    Post,
    Posted,
    ReadBoard,
    Refusal,
    Renew,
    Solution,
    Solve,
    Subscribe,
)

__all__ = ["BlackboardAgent", "BoardBusy"]

_MOST_INTERESTS = 64
_MOST_ACTIVATIONS = 10_000


class BoardBusy(Factual, CoordinationError):
    """The board is busy with another problem."""

    board: str
    problem: str
    template = "the board {board!r} is busy with {problem!r}; ask again when that is over, or ask another"


class Tick(Payload):
    """Time to look: something may have been lost, or be over. ``waited`` seconds after the last, if it repeats."""

    waited: float = 0.0


class BlackboardAgent(Agent[Board]):
    """Solves one problem at a time with whatever sources there are.

    ``levels`` are those of its entries, the lowest first. It is solved when an entry of the last level has a confidence
    of ``sure`` or more, or when ``goal`` finds the entry that solves it. ``control`` rates what may be done next. Goal
    and control are called with the same board again, and must say the same. It waits for no source: a claim given to
    one whose mailbox is full lapses.
    """

    timeouts = TimeoutPolicy(send_timeout=0)

    def __init__(
        self,
        agent_id: str,
        levels: Sequence[str],
        *,
        sure: float = 0.0,
        goal: Goal | None = None,
        control: Control = by_priority,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(agent_id)
        if not levels or len(set(levels)) < len(levels):
            raise ValueError(f"a board has 1 level or more, each once, not {list(levels)}")
        self.levels = tuple(levels)
        self.sure = sure
        self.goal = goal or self._at_the_top
        self.control = control
        self.limits = limits or Limits()
        self._every = max(0.05, min(self.limits.lease, self.limits.quiet or 1.0, 1.0))

    def _at_the_top(self, entries: Mapping[str, Entry]) -> Entry | None:
        top = (entry for entry in entries.values() if entry.level == self.levels[-1] and entry.confidence >= self.sure)
        return max(top, key=lambda entry: entry.confidence, default=None)

    @handles
    async def on_solve(self, message: Solve, ctx: AgentContext[Board]) -> Solution | None:
        board = ctx.state
        if not message.problem or not 0 <= message.budget <= _MOST_ACTIVATIONS or not 0 < message.seconds < math.inf:
            raise ValueError(
                f"a problem has a name, a budget from 0 to {_MOST_ACTIVATIONS:,}, and a finite time above 0 s"
            )
        if board.problem != message.problem:
            if board.is_open:
                raise BoardBusy(self.id, board.problem)
            now = ctx.now()
            board = board.begun(message.problem, now + message.seconds, message.budget)
            if (refusal := board.refusal(message.hypotheses, self.levels, self.limits)) is not None:
                raise ValueError(f"the hypotheses of {message.problem!r} are refused: {refusal}")
            board = board.with_entries(message.hypotheses, ctx.sender)
            ctx.schedule(self._every, Tick(self._every), every=self._every, name="tick")
        if board.reason is not None:
            return board.solution
        if ctx.reply_to is not None:
            now = ctx.now()
            still = tuple(one for one in board.waiting if one.deadline is None or one.deadline > now)
            board = replace(board, waiting=(*still, ctx.defer()))
        self._go_on(ctx, board)
        return None

    @handles
    async def on_subscribe(self, message: Subscribe, ctx: AgentContext[Board]) -> None:
        if len(message.interests) > _MOST_INTERESTS or not all(isinstance(one, Interest) for one in message.interests):
            return
        board = ctx.state.subscribed(ctx.sender, message, self.limits)
        if board is not ctx.state:
            ctx.watch(ctx.sender)
            self._go_on(ctx, board)

    @handles
    async def on_post(self, message: Post, ctx: AgentContext[Board]) -> Posted:
        board, now = ctx.state, ctx.now()
        claim = board.held(message.token, ctx.sender, now)
        if claim is None:
            if board.done.get(ctx.sender) == message.token:
                return Posted(accepted=True)  # it comes again; it was taken
            return Posted(accepted=False, refusal=Refusal.LAPSED if board.is_open else Refusal.OVER)
        refusal = board.refusal(message.hypotheses, self.levels, self.limits)
        if refusal is None:
            board = board.with_entries(message.hypotheses, ctx.sender)
        if refusal is Refusal.INVALID:
            board = board.given_back(claim.token, claim.owner, self.limits)
        elif message.more:
            board = board.renewed(claim, now + self.limits.lease)
        else:
            board = board.finished(claim)
        self._go_on(ctx, board)
        return Posted(refusal is None, refusal)

    @handles
    async def on_renew(self, message: Renew, ctx: AgentContext[Board]) -> bool:
        claim = ctx.state.held(message.token, ctx.sender, ctx.now())
        if claim is not None:
            self._go_on(ctx, ctx.state.renewed(claim, ctx.now() + self.limits.lease))
        return claim is not None

    @handles
    async def on_give_back(self, message: GiveBack, ctx: AgentContext[Board]) -> None:
        self._go_on(ctx, ctx.state.given_back(message.token, ctx.sender, self.limits))

    @handles
    async def on_terminated(self, message: Terminated, ctx: AgentContext[Board]) -> None:
        self._go_on(ctx, ctx.state.without_source(message.agent_id, self.limits))

    @handles
    async def on_read(self, message: ReadBoard, ctx: AgentContext[Board]) -> tuple[Entry, ...]:
        return tuple(one for one in ctx.state.entries.values() if message.level in ("", one.level))

    @handles
    async def on_tick(self, message: Tick, ctx: AgentContext[Board]) -> None:
        if ctx.state.is_open:
            self._go_on(ctx, ctx.state, message.waited)
        else:
            ctx.unschedule("tick")

    def _go_on(self, ctx: AgentContext[Board], board: Board, waited: float = 0.0) -> None:
        """What follows from the board as it is now."""
        before, now = ctx.state, ctx.now()
        if board.is_open:
            board = board.lapsed(now, self.limits).ended(now, self.goal)
        if board.is_open:
            board, claims = board.granted(now, self.control, self.limits)
            for claim in claims:
                entry = board.entries[claim.trigger.entry]
                ctx.send(claim.owner, Activation(entry, claim.token, claim.expires, board.problem))
            board = board.exhausted(self.limits, waited)
        for owner, claim in board.claims.items():
            if before.claims.get(owner) != claim:
                ctx.schedule(max(0.0, claim.expires - now), Tick(), name=f"lease of {owner}")
        for owner in before.claims.keys() - board.claims.keys():
            ctx.unschedule(f"lease of {owner}")
        if board.reason is not None and board.waiting:
            for reply_to in board.waiting:
                ctx.send(reply_to, board.solution)
            board = replace(board, waiting=())
            ctx.unschedule("tick")
        if board is not before:
            ctx.state = board
