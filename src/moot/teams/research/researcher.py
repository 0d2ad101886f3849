"""The researcher: leads a run from the question to the report.

It indexes the sources, judges whether they speak of the question at all
(before any model is called), plans topics and other words for them, starts a
reader for each topic, and hands their notes to the analyst and the writer,
whom it finds by capability.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from moot.agent.agent import Agent
from moot.agent.context import AgentContext
from moot.agent.handlers import handles
from moot.teams.research.assembly import Found, assemble
from moot.teams.research.messages import (
    Analyse,
    Progress,
    Reading,
    ReadTopic,
    ResearchRequest,
    Topic,
    Write,
)
from moot.teams.research.profile import Profile
from moot.teams.research.prompts import keyword_lines, keywords_request
from moot.teams.research.retrieval.coverage import CoveredParts, covered_parts
from moot.teams.research.retrieval.reader import ReaderAgent, Shelf
from moot.teams.research.sources.extracts import save_extracts
from moot.teams.research.sources.index import PassageIndex
from moot.teams.research.sources.ingest import SourceError
from moot.teams.research.thinking import Thinking
from moot.teams.research.values import Report

__all__ = ["REPORTS", "ResearcherAgent"]

REPORTS = "research_reports"
"""The topic on which every report is published."""

_WAIT = 24 * 3600.0
_BOARDS = {"brief": 2, "standard": 3, "comprehensive": 6}
_NOTES = {"brief": 6, "standard": 9, "comprehensive": 14}


class Crew(msgspec.Struct, frozen=True):
    """The readers that a researcher has started."""

    readers: tuple[str, ...] = ()


class ResearcherAgent(Agent[Crew]):
    """Answers `ResearchRequest` with a `Report`, which is also published on `REPORTS`.

    ``sources`` are files and folders; a request may bring its own. ``profile`` overrides what the
    engine's name says about the size of its model.
    """

    capabilities = ("research",)
    cancel_with_asker = True

    def __init__(self, agent_id: str, sources: Sequence[str] = (), profile: Profile | None = None) -> None:
        super().__init__(agent_id)
        self._sources = tuple(str(source) for source in sources)
        self._profile = profile
        self._shelf = Shelf()

    @handles
    async def research(self, request: ResearchRequest, ctx: AgentContext[Crew]) -> Report:
        """Answer one question from the sources.

        Raises:
            SourceError: no sources, one that does not exist, or nothing to read. ValueError: no question.
        """
        if not request.text:
            raise ValueError("the request has neither a question nor a topic")
        index = await self._ready(request.sources or self._sources, ctx)
        covered = covered_parts(index, request.text)
        for part in covered.refused:
            text = f"the sources do not speak of this: {part} (coverage {covered.coverage:.2f})"
            await ctx.progress(None, Progress(agent=self.id, text=text))
        if covered.parts:
            text = f"{len(covered.notes)} first quotes"
            await ctx.progress(None, Progress(agent=self.id, text=text, notes=covered.notes))
        found = await self._find(request, index, covered, ctx) if covered.parts else None
        report = assemble(request, index, covered, found)
        await ctx.publish(REPORTS, report)
        return report

    async def _ready(self, sources: tuple[str, ...], ctx: AgentContext[Crew]) -> PassageIndex:
        if not sources:
            raise SourceError("no sources: name files or folders to read")
        if self._shelf.sources != sources:
            await ctx.progress(None, Progress(agent=self.id, text="reads the sources"))
            index = PassageIndex()  # made here and not in the thread, whose result nobody takes after a cancellation
            try:
                await ctx.run_sync(index.fill, sources)
            except BaseException:
                index.close()
                raise
            self._shelf.put(index, sources)
            text = f"{len(index.indexed)} files, {index.size} passages, {len(index.skipped)} files skipped"
            await ctx.progress(None, Progress(agent=self.id, text=text))
        return self._shelf.index

    async def on_start(self, ctx: AgentContext[Crew]) -> None:
        """Begin without readers: those of an earlier life are gone."""
        if ctx.state.readers:
            ctx.state = Crew()

    async def on_stop(self, ctx: AgentContext[Crew]) -> None:
        """Close the index."""
        self._shelf.clear()

    async def _find(
        self, request: ResearchRequest, index: PassageIndex, covered: CoveredParts, ctx: AgentContext[Crew]
    ) -> Found | None:
        thinking = Thinking(ctx, self._profile)
        topics = await self._plan(covered.parts, thinking, ctx)
        watcher = ctx.message.reply_to
        readers, readings = await self._read(topics, request, ctx)
        analysis = await ctx.ask(
            "capability:analysis",
            Analyse(readings=tuple(readings), readers=readers, boards=_BOARDS[request.depth], watcher=watcher),
            timeout=_WAIT,
        )
        if not analysis.boards:
            return None
        write = Write(
            boards=analysis.boards, is_extractive=bool(thinking.failure), depth=request.depth, watcher=watcher
        )
        draft = await ctx.ask("capability:writing", write, timeout=_WAIT)
        found = Found(analysis, draft, thinking)
        extracted = await ctx.run_sync(save_extracts, index, {note.path for note in found.notes()})
        return found._replace(extracted=extracted)

    async def _plan(self, parts: Sequence[str], thinking: Thinking, ctx: AgentContext[Crew]) -> list[Topic]:
        topics = []
        for number, part in enumerate(parts):
            keywords: tuple[str, ...] = ()
            if thinking.profile.keywords:
                answer = await thinking.complete(keywords_request(part, has_grammar=thinking.has_grammar))
                keywords = keyword_lines(answer.text) if answer is not None else ()
            topics.append(Topic(number, part, keywords))
            words = f"; also: {', '.join(keywords)}" if keywords else ""
            await ctx.progress(None, Progress(agent=self.id, text=f"looks for: {part}{words}"))
        return topics

    async def _read(
        self, topics: Sequence[Topic], request: ResearchRequest, ctx: AgentContext[Crew]
    ) -> tuple[tuple[str, ...], list[Reading]]:
        readers = ctx.state.readers
        for number in range(len(readers) + 1, len(topics) + 1):
            readers += (await ctx.spawn(ReaderAgent(f"{self.id}.reader_{number}", self._shelf)),)
        ctx.state = Crew(readers)
        readings = await ctx.gather(
            [
                ctx.ask(reader, ReadTopic(topic=topic, limit=_NOTES[request.depth]), timeout=_WAIT)
                for reader, topic in zip(readers, topics, strict=False)
            ]
        )
        return readers, readings
