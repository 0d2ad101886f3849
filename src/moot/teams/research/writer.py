"""The writer: one short answer for each board, checked sentence by sentence before anyone sees it.

The direct answer is asked for without citation numbers, the checker binds it,
and a judge with a margin rejects what the rules let through. With a tiny model,
or none, or one that fails on the way, the best quotes are the answer.
"""

from __future__ import annotations

from collections import Counter

from moot.agent.agent import Agent
from moot.agent.context import AgentContext
from moot.agent.handlers import handles
from moot.teams.research.evidence.checker import check, judged, quote_claim
from moot.teams.research.messages import Board, Draft, Progress, Write
from moot.teams.research.profile import EXTRACTIVE, Profile
from moot.teams.research.prompts import (
    details_request,
    direct_request,
    judge_margin,
    judge_request,
    sentences_of,
)
from moot.teams.research.thinking import Thinking
from moot.teams.research.values import Claim, Note

__all__ = ["WriterAgent"]

_MOST_DETAILS = 2


class WriterAgent(Agent):
    """Answers `Write`. Without ``profile`` the engine's name decides how much the model is asked to do."""

    capabilities = ("writing",)
    cancel_with_asker = True

    def __init__(self, agent_id: str, profile: Profile | None = None) -> None:
        super().__init__(agent_id)
        self._profile = profile

    @handles
    async def write(self, request: Write, ctx: AgentContext) -> Draft:
        """Claims for all boards, the main board's first."""
        thinking = Thinking(ctx, EXTRACTIVE if request.is_extractive else self._profile)
        dropped: Counter[str] = Counter()
        claims: list[Claim] = []
        for board in request.boards:
            found = await self._board(board, request, thinking, claims, dropped)
            claims += found
            if found:
                kept = f"{len(found)} sentence(s) hold" if not found[0].is_quote else "quotes the best passage"
                await ctx.progress(request.watcher, Progress(agent=self.id, text=kept, claims=tuple(found)))
        claims = await self._judge(claims, request.boards, thinking, dropped)
        return Draft(
            claims=tuple(claims),
            dropped=dict(dropped),
            use=thinking.use,
            failure=thinking.failure,
            failure_kind=thinking.failure_kind,
            model=thinking.model,
        )

    async def _board(
        self, board: Board, request: Write, thinking: Thinking, known: list[Claim], dropped: Counter[str]
    ) -> list[Claim]:
        profile = thinking.profile
        is_main = not any(claim.topic == board.topic.number for claim in known)
        found: list[Claim] = []
        if profile.direct:
            ask = direct_request(board.topic.question, board.notes, has_grammar=thinking.has_grammar)
            if (answer := await thinking.complete(ask)) is not None:
                found = check(sentences_of(answer.text)[:2], board, known, dropped)
        if profile.details and is_main and request.depth != "brief":
            ask = details_request(board.topic.question, board.notes, has_grammar=thinking.has_grammar)
            if (answer := await thinking.complete(ask)) is not None:
                found += check(sentences_of(answer.text), board, [*known, *found], dropped)[:_MOST_DETAILS]
        return found if found or not is_main else [quote_claim(board)]

    async def _judge(
        self, claims: list[Claim], boards: tuple[Board, ...], thinking: Thinking, dropped: Counter[str]
    ) -> list[Claim]:
        notes = {note.id: note for board in boards for note in (*board.notes, *board.echoes)}
        kept: list[Claim] = []
        is_judging = thinking.profile.judge
        for claim in claims:
            if claim.is_quote or not is_judging:
                kept.append(claim)
                continue
            margin = await self._margin(claim, notes, thinking)
            is_judging = margin is not None
            verdict = judged(claim, margin)
            if verdict is None:
                dropped["the judge says no"] += 1
            else:
                kept.append(verdict)
        answered = {claim.topic for claim in kept}
        for board in boards:
            if board.topic.number not in answered:
                answered.add(board.topic.number)
                kept.append(quote_claim(board))
        return kept

    async def _margin(self, claim: Claim, notes: dict[str, Note], thinking: Thinking) -> float | None:
        cited = [notes[note_id] for note_id in claim.notes]
        answer = await thinking.complete(judge_request(claim.text, cited, has_grammar=thinking.has_grammar))
        return None if answer is None else judge_margin(answer)
