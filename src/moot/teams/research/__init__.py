"""The research team: answers questions from the user's own documents, and shows where each sentence comes from."""

from __future__ import annotations

from moot.teams.research.analyst import AnalystAgent
from moot.teams.research.messages import Progress, ResearchRequest
from moot.teams.research.render import to_json, to_markdown
from moot.teams.research.researcher import REPORTS, ResearcherAgent
from moot.teams.research.sources.ingest import SourceError
from moot.teams.research.team import ResearchTeam, research
from moot.teams.research.values import Claim, Difference, Note, Report, Statistics
from moot.teams.research.writer import WriterAgent

__all__ = [
    "REPORTS",
    "AnalystAgent",
    "Claim",
    "Difference",
    "Note",
    "Progress",
    "Report",
    "ResearchRequest",
    "ResearchTeam",
    "ResearcherAgent",
    "SourceError",
    "Statistics",
    "WriterAgent",
    "research",
    "to_json",
    "to_markdown",
]
