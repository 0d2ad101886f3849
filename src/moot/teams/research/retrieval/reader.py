"""The reader: finds the sentences of the sources that speak of one topic, as notes with their place.

Deterministic: the same index and topic give the same notes, each a verbatim
quote. The researcher starts one for each topic.
"""

from __future__ import annotations

from moot.agent.agent import Agent
from moot.agent.context import AgentContext
from moot.agent.handlers import handles
from moot.teams.research.messages import Reading, ReadTopic, Topic
from moot.teams.research.retrieval.gate import passes
from moot.teams.research.retrieval.question import Query, make_query, other_words
from moot.teams.research.retrieval.rank import rank_sentences
from moot.teams.research.sources.index import Hit, PassageIndex
from moot.teams.research.text.stems import content_stems

__all__ = ["ReaderAgent", "Shelf", "find"]

_PASSAGES = 8
_MORE_PASSAGES = 12
_OWN_WEIGHT = 1.5
_KEYWORD_WEIGHT = 0.7


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
        query, hits = find(self._shelf.index, request.topic, request.words, more=request.limit > _PASSAGES)
        notes = rank_sentences(query, hits, limit=request.limit, topic=request.topic.number)
        return Reading(topic=request.topic, notes=tuple(notes), missing=passes(query, hits).missing)


def find(
    index: PassageIndex, topic: Topic, words: tuple[str, ...] = (), *, more: bool = False
) -> tuple[Query, list[Hit]]:
    """The weighted query for a topic and the passages it finds; ``words`` (stems) are searched for on their own too."""
    others = other_words(topic.question)
    query = make_query(topic.question, index.idf, (*others, *topic.keywords))
    queries: list[tuple[float, tuple[str, ...]]] = [(_OWN_WEIGHT, query.own)]
    queries += [(_KEYWORD_WEIGHT, (*query.own, *content_stems(line))) for line in others]
    queries += [(_KEYWORD_WEIGHT, tuple(content_stems(line))) for line in topic.keywords]
    if words:
        queries.append((_OWN_WEIGHT, words))
    return query, index.search(queries, limit=_MORE_PASSAGES if more else _PASSAGES)
