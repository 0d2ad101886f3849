"""What the agents of a research team say to each other.

One request from outside, `ResearchRequest`; then read, analyse and write. The
notes and claims that travel are the frozen values of `values`. A `Progress` is
sent while a turn runs and carries what was found so far, so that an interrupted
run still has something to show.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from moot.messaging.message import Payload, ReplyTo, Request
from moot.teams.research.values import AgentUse, Claim, Depth, Difference, Note, Report

__all__ = [
    "Analyse",
    "Analysis",
    "Board",
    "Draft",
    "Progress",
    "ReadTopic",
    "Reading",
    "ResearchRequest",
    "Topic",
    "Write",
]


class ResearchRequest(Request[Report]):
    """A question (or a ``topic`` to survey) for the team. ``sources`` replaces those that the researcher has."""

    message_type: ClassVar[str] = "research_request"

    topic: str = ""
    question: str = ""
    depth: Depth = "standard"
    sources: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What is asked."""
        return (self.question or self.topic).strip()


class Topic(msgspec.Struct, frozen=True):
    """One thing to find out: a part of the question, with other words for it."""

    number: int
    question: str
    keywords: tuple[str, ...] = ()


class ReadTopic(Request["Reading"]):
    """Find the sentences that speak of a topic. ``words`` narrows it to what is still missing."""

    topic: Topic
    words: tuple[str, ...] = ()
    limit: int = 6


class Reading(Payload):
    """Notes on one topic, best first, and the topic's stems that the passages read do not have."""

    topic: Topic
    notes: tuple[Note, ...] = ()
    missing: tuple[str, ...] = ()


class Analyse(Request["Analysis"]):
    """Merge readings; gaps may be read again, once, by the readers named."""

    readings: tuple[Reading, ...]
    readers: tuple[str, ...] = ()
    boards: int = 1
    watcher: ReplyTo | None = None


class Board(msgspec.Struct, frozen=True):
    """The evidence for one answer: a topic, its few best notes, and notes of other files that repeat those."""

    topic: Topic
    notes: tuple[Note, ...]
    echoes: tuple[Note, ...] = ()


class Analysis(Payload):
    """All notes without repetitions, boards to write from, differences, and words of the question without evidence."""

    notes: tuple[Note, ...] = ()
    boards: tuple[Board, ...] = ()
    differences: tuple[Difference, ...] = ()
    missing: tuple[str, ...] = ()


class Write(Request["Draft"]):
    """Write and check an answer for each board; ``is_extractive`` leaves the engine alone."""

    boards: tuple[Board, ...]
    is_extractive: bool = False
    depth: Depth = "standard"
    watcher: ReplyTo | None = None


class Draft(Payload):
    """Checked claims, what was dropped and why, and what it took; ``failure`` says why the engine was given up.

    ``failure_kind`` is the class of that error.
    """

    claims: tuple[Claim, ...] = ()
    dropped: dict[str, int] = {}
    use: AgentUse | None = None
    failure: str = ""
    failure_kind: str = ""
    model: str = ""


class Progress(Payload):
    """What an agent is doing, in words, with what it has found."""

    agent: str
    text: str
    notes: tuple[Note, ...] = ()
    claims: tuple[Claim, ...] = ()
    differences: tuple[Difference, ...] = ()
