"""Find: the passages of the sources that may speak of one topic, and the weighted query that finds them."""

from __future__ import annotations

from moot.teams.research.messages import Topic
from moot.teams.research.retrieval.question import Query, make_query, other_words
from moot.teams.research.sources.index import Hit, PassageIndex
from moot.teams.research.text.stems import content_stems

__all__ = ["FEW_PASSAGES", "find"]

FEW_PASSAGES = 8
"""How many passages are found unless more are wanted."""
_MORE_PASSAGES = 12
_OWN_WEIGHT = 1.5
_KEYWORD_WEIGHT = 0.7


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
    return query, index.search(queries, limit=_MORE_PASSAGES if more else FEW_PASSAGES)
