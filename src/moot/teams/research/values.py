"""What the research team finds and says: sentences, passages, notes, claims, differences and the report.

All of it is frozen and refers to its source by path, line and character span:
a note is a verbatim quote, and a claim carries the ids of the notes that it
rests on, so that every printed sentence can be opened where it came from.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from moot.messaging.message import Payload

__all__ = [
    "AgentUse",
    "Claim",
    "Depth",
    "Difference",
    "Document",
    "DocumentKind",
    "IndexedFile",
    "Note",
    "Passage",
    "Report",
    "Sentence",
    "SkippedFile",
    "Statistics",
    "Status",
    "Verdict",
]

Depth = Literal["brief", "standard", "comprehensive"]
DocumentKind = Literal["markdown", "text", "html", "pdf"]
Status = Literal["answered", "extracts", "not_found", "partial"]
Verdict = Literal["supported", "weak", "unsupported"]


class Sentence(msgspec.Struct, frozen=True, array_like=True):
    """The citable unit. ``start``/``end`` are character offsets in the document's text, lines count from 1."""

    text: str
    start: int
    end: int
    line: int
    end_line: int


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """About 130 words under one heading; ``id`` is made from the text, so it is the same in every run."""

    id: str
    path: str
    title: str
    headings: tuple[str, ...] = ()
    sentences: tuple[Sentence, ...] = ()

    @property
    def text(self) -> str:
        """All of its sentences."""
        return " ".join(sentence.text for sentence in self.sentences)

    @property
    def frame(self) -> str:
        """The words around the passage: title, file name, headings."""
        name = self.path.replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0].replace("-", " ").replace("_", " ")
        return " ".join((self.title, name, *self.headings))


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One source after reading. ``text`` is the file itself, or what was extracted from HTML or PDF."""

    path: str
    kind: DocumentKind
    title: str
    text: str
    passages: tuple[Passage, ...] = ()


class IndexedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was read, and anything odd about it (``remark``)."""

    path: str
    kind: DocumentKind
    passages: int
    words: int
    remark: str = ""


class SkippedFile(msgspec.Struct, frozen=True):
    """A file that was not read, and why."""

    path: str
    reason: str


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A verbatim quote with its place and its score for the question."""

    id: str
    quote: str
    path: str
    title: str
    line: int
    end_line: int
    start: int
    end: int
    headings: tuple[str, ...] = ()
    score: float = 0.0
    topic: int = 0

    @property
    def frame(self) -> str:
        """Title and headings: the words that the quote may leave out."""
        return " ".join((self.title, *self.headings))

    @property
    def place(self) -> str:
        """``title > last heading``, as shown to a model and a reader."""
        last = self.headings[-1] if self.headings else ""
        return f"{self.title} > {last}" if last and last != self.title else self.title


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence of the answer with the notes that carry it and what the checker says of it.

    ``cov`` is the share of its words found in them; ``margin`` the judge's log-odds, when there was a judge.
    """

    text: str
    verdict: Verdict
    cov: float
    notes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    margin: float | None = None
    disputed_by: tuple[str, ...] = ()
    topic: int = 0
    is_quote: bool = False


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Two notes that say different things: other ``figures`` for one thing, or one the ``negation`` of the other."""

    kind: Literal["figures", "negation"]
    notes: tuple[str, str]
    values: tuple[str, str] = ("", "")


class AgentUse(msgspec.Struct, frozen=True, kw_only=True):
    """What one agent used: engine calls, their tokens, and the engine's seconds."""

    agent: str
    calls: int = 0
    fresh_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    engine_seconds: float = 0.0

    def __add__(self, other: AgentUse) -> AgentUse:
        return AgentUse(
            agent=self.agent,
            calls=self.calls + other.calls,
            fresh_tokens=self.fresh_tokens + other.fresh_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            engine_seconds=self.engine_seconds + other.engine_seconds,
        )


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """What the run took. ``dropped`` counts model sentences that the checker did not let through, by reason."""

    seconds: float = 0.0
    messages: int = 0
    turns: int = 0
    agents: tuple[AgentUse, ...] = ()
    agent_seconds: dict[str, float] = {}
    kept: int = 0
    dropped: dict[str, int] = {}


class Report(Payload, frozen=True, kw_only=True):
    """The team's answer. Every claim and difference names notes; every note is in ``notes`` with its span.

    ``missing`` are words of the question without evidence; ``extracted`` maps an HTML or PDF source to the
    text file in which its notes' lines are counted; ``failure`` is the class of the error for which the engine
    was given up.
    """

    message_type: ClassVar[str] = "research_report"

    question: str
    status: Status
    model: str = ""
    depth: Depth = "standard"
    mode: str = "full"
    coverage: float = 0.0
    claims: tuple[Claim, ...] = ()
    notes: tuple[Note, ...] = ()
    differences: tuple[Difference, ...] = ()
    missing: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    failure: str = ""
    indexed: tuple[IndexedFile, ...] = ()
    skipped: tuple[SkippedFile, ...] = ()
    extracted: dict[str, str] = {}
    statistics: Statistics = Statistics()

    def note(self, note_id: str) -> Note:
        """The note with this id."""
        return next(note for note in self.notes if note.id == note_id)
