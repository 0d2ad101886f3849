"""The reader: finds the sentences of the sources that speak of one topic, as notes with their place.

Deterministic: the same index and topic give the same notes, each a verbatim
quote. The researcher starts one for each topic.
"""

from __future__ import annotations

from moot.agent.agent import Agent
from moot.agent.context import AgentContext
from moot.agent.handlers import handles
from moot.teams.research.messages import Reading, ReadTopic
from moot.teams.research.retrieval.coverage import coverage_of
from moot.teams.research.retrieval.find import FEW_PASSAGES, find
from moot.teams.research.retrieval.rank import rank_sentences
from moot.teams.research.sources.index import PassageIndex

__all__ = ["ReaderAgent", "Shelf"]


class Shelf:
    """Where a researcher and its readers find the index of the present sources; it closes what was put up."""

    def __init__(self) -> None:
        self._index: PassageIndex | None = None
        self.sources: tuple[str, ...] = ()

    @property
    def index(self) -> PassageIndex:
        """The index. Raises `LookupError` before there is one."""
        if self._index is None:
            raise LookupError("nothing has been indexed yet; send a research request first")
        return self._index

    def put(self, index: PassageIndex, sources: tuple[str, ...]) -> None:
        """Put a new index up; the old one is closed."""
        self.clear()
        self._index, self.sources = index, sources

    def clear(self) -> None:
        """Take the index down and close it."""
        if self._index is not None:
            self._index.close()
        self._index, self.sources = None, ()


class ReaderAgent(Agent):
    """Reads the index on a shelf that is shared in the process."""

    capabilities = ("reading",)

    def __init__(self, agent_id: str, shelf: Shelf) -> None:
        super().__init__(agent_id)
        self._shelf = shelf

    @handles
    async def read(self, request: ReadTopic, ctx: AgentContext) -> Reading:
        """Notes on the topic, best first."""
        return await ctx.run_sync(self._read, request)

    def _read(self, request: ReadTopic) -> Reading:
        query, hits = find(self._shelf.index, request.topic, request.words, more=request.limit > FEW_PASSAGES)
        notes = rank_sentences(query, hits, limit=request.limit, topic=request.topic.number)
        return Reading(topic=request.topic, notes=tuple(notes), missing=coverage_of(query, hits).missing)
