"""Assembly: the report from what coverage, analyst and writer brought back.

Shown are the notes that claims and differences name, and the best of each board,
whatever the model wrote.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from moot.teams.research.messages import Analysis, Draft, ResearchRequest
from moot.teams.research.retrieval.coverage import CoveredParts
from moot.teams.research.retrieval.question import question_words
from moot.teams.research.sources.index import PassageIndex
from moot.teams.research.thinking import Thinking
from moot.teams.research.values import AgentUse, Note, Report, Statistics, Status

__all__ = ["Found", "assemble"]

_SHOWN = 4
_WORTH = 0.45


class Found(NamedTuple):
    """What analyst and writer brought back, the researcher's own use of the engine, and where extracted text lies."""

    analysis: Analysis
    draft: Draft
    thinking: Thinking
    extracted: dict[str, str] = {}

    def failure(self) -> str:
        """Why the engine was given up; empty when it was not."""
        return self.thinking.failure or self.draft.failure

    def failure_kind(self) -> str:
        """The class of the error for which it was given up."""
        return self.thinking.failure_kind or self.draft.failure_kind

    def notes(self) -> tuple[Note, ...]:
        """The notes to show, best first."""
        named = {note_id for claim in self.draft.claims for note_id in (*claim.notes, *claim.disputed_by)}
        named |= {note_id for difference in self.analysis.differences for note_id in difference.notes}
        for board in self.analysis.boards:
            worth = _WORTH * board.notes[0].score
            named |= {note.id for note in board.notes[:_SHOWN] if note.score >= worth}
        return tuple(note for note in self.analysis.notes if note.id in named)

    def status(self) -> Status:
        """Partial after a failure; answered when a sentence of the model holds; extracts otherwise."""
        if self.failure():
            return "partial"
        return "answered" if any(not claim.is_quote for claim in self.draft.claims) else "extracts"

    def statistics(self) -> Statistics:
        """Tokens by agent, and sentences kept and dropped; times and messages are the team's to add."""
        uses: tuple[AgentUse | None, ...] = (self.thinking.use, self.draft.use)
        return Statistics(
            agents=tuple(use for use in uses if use is not None and use.calls),
            kept=sum(not claim.is_quote for claim in self.draft.claims),
            dropped=self.draft.dropped,
        )


def assemble(request: ResearchRequest, index: PassageIndex, covered: CoveredParts, found: Found | None) -> Report:
    """The report; without anything found it says so."""
    words = question_words(request.text)
    common = Report(
        question=request.text,
        status="not_found",
        depth=request.depth,
        coverage=covered.coverage,
        missing=tuple(words.get(word, word) for word in covered.missing),
        indexed=tuple(index.indexed),
        skipped=tuple(index.skipped),
    )
    if found is None:
        return common
    missing = tuple(words.get(word, word) for word in found.analysis.missing)
    return msgspec.structs.replace(
        common,
        status=found.status(),
        model=found.draft.model or found.thinking.model,
        mode=found.thinking.profile.mode,
        claims=found.draft.claims,
        notes=found.notes(),
        differences=found.analysis.differences,
        missing=(*covered.refused, *missing),
        notices=tuple(_notices(covered, found)),
        extracted=found.extracted,
        statistics=found.statistics(),
        failure=found.failure_kind(),
    )


def _notices(covered: CoveredParts, found: Found) -> list[str]:
    notices = []
    if covered.is_overview:
        notices.append(
            "Overview: the question is broad, so this gathers what the sources say; ask for one fact at a time."
        )
    if found.failure():
        notices.append(f"The engine failed, so the rest is quotes: {found.failure()}")
    return notices
