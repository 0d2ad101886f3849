"""The passage index: SQLite FTS5 over stems, with title and headings as columns of their own.

Full-text search of the standard library found as much as any other engine that
was tried, and costs nothing to install. The columns hold stems made by
`moot.teams.research.text.stems`, so document frequencies and queries agree.
"""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from moot.teams.research.sources.ingest import SourceError, read_sources
from moot.teams.research.text.stems import stems
from moot.teams.research.values import Document, IndexedFile, Passage, SkippedFile

__all__ = ["Hit", "PassageIndex"]

_SCHEMA = """
CREATE TABLE passage (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, packed BLOB NOT NULL);
CREATE TABLE extract (path TEXT PRIMARY KEY, text TEXT NOT NULL);
CREATE VIRTUAL TABLE word USING fts5(
    title, heading, body, content='', tokenize="unicode61 remove_diacritics 0 tokenchars '_'"
);
CREATE VIRTUAL TABLE vocabulary USING fts5vocab('word', 'row');
"""
_QUERY_LIMIT = 40


class Hit(NamedTuple):
    """A passage and its rank (from 0) in the fused result."""

    passage: Passage
    rank: int


class PassageIndex:
    """Passages of all sources. Filled once, then only read; reads may come from any thread.

    Its database is open from the start, and whoever makes an index closes it. After that every call ends with
    `sqlite3.ProgrammingError`, also one that still fills it in another thread.
    """

    def __init__(self, path: str = ":memory:") -> None:
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._lock = threading.Lock()
        try:
            self._connection.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + _SCHEMA)
        except BaseException:  # an SQLite without full-text search
            self._connection.close()
            raise
        self._frequencies: dict[str, int] = {}
        self.size = 0
        self.indexed: list[IndexedFile] = []
        self.skipped: list[SkippedFile] = []

    def fill(self, sources: Iterable[str]) -> None:
        """Read the sources into it.

        Raises:
            SourceError: there is nothing to read.
        """
        for item in read_sources(sources):
            if isinstance(item, SkippedFile):
                self.skipped.append(item)
            else:
                self.add(*item)
        if not self.size:
            reasons = "; ".join(f"{skipped.path}: {skipped.reason}" for skipped in self.skipped[:3])
            raise SourceError(f"nothing to read in the sources ({reasons or 'no files'})")

    def add(self, document: Document, remark: str = "") -> None:
        """Add a document's passages; a passage whose text is known already is left out."""
        words = sum(len(passage.text.split()) for passage in document.passages)
        rows = [(passage, _columns(passage)) for passage in document.passages]  # slow, so before others have to wait
        with self._lock:
            self._connection.execute("BEGIN")
            kept = sum(self._insert(passage, columns) for passage, columns in rows)
            if document.kind in ("html", "pdf"):
                self._connection.execute("INSERT OR REPLACE INTO extract VALUES (?, ?)", (document.path, document.text))
            self._connection.execute("COMMIT")
        self.size += kept
        self._frequencies.clear()
        self.indexed.append(
            IndexedFile(path=document.path, kind=document.kind, passages=kept, words=words, remark=remark)
        )

    def search(self, queries: Iterable[tuple[float, Iterable[str]]], limit: int = 8) -> list[Hit]:
        """The best passages for weighted queries (each a set of stems): ranks fused as sum of weight/(10 + rank)."""
        fused: dict[int, float] = {}
        for weight, words in queries:
            for rank, key in enumerate(self._match(words, limit=50)):
                fused[key] = fused.get(key, 0.0) + weight / (10 + rank)
        best = sorted(fused, key=lambda key: (-fused[key], key))[:limit]
        return [Hit(self._passage(key), rank) for rank, key in enumerate(best)]

    def frequency(self, word: str) -> int:
        """In how many passages a stem occurs (title and headings count)."""
        known = self._frequencies.get(word)
        if known is None:
            with self._lock:
                row = self._connection.execute("SELECT doc FROM vocabulary WHERE term = ?", (word,)).fetchone()
            known = self._frequencies[word] = int(row[0]) if row else 0
        return known

    def idf(self, word: str) -> float:
        """The weight of a stem: the rarer in the sources, the larger."""
        return math.log((self.size + 1) / (self.frequency(word) + 0.5))

    def extracted(self, path: str) -> str | None:
        """The text that was extracted from an HTML or PDF source; None when the file is its own text."""
        with self._lock:
            row = self._connection.execute("SELECT text FROM extract WHERE path = ?", (path,)).fetchone()
        return str(row[0]) if row else None

    def close(self) -> None:
        """Release the database; waits for a read under way in another thread, which SQLite would not survive."""
        with self._lock:
            self._connection.close()

    def _insert(self, passage: Passage, columns: tuple[str, str, str]) -> int:
        cursor = self._connection.execute(
            "INSERT OR IGNORE INTO passage (id, packed) VALUES (?, ?)", (passage.id, msgspec.msgpack.encode(passage))
        )
        if cursor.rowcount != 1:
            return 0
        self._connection.execute(
            "INSERT INTO word (rowid, title, heading, body) VALUES (?, ?, ?, ?)", (cursor.lastrowid, *columns)
        )
        return 1

    def _match(self, words: Iterable[str], limit: int) -> list[int]:
        terms = list(dict.fromkeys(words))[:_QUERY_LIMIT]
        if not terms:
            return []
        query = " OR ".join(f'"{term}"' for term in terms)
        with self._lock:
            rows = self._connection.execute(
                "SELECT rowid FROM word WHERE word MATCH ? ORDER BY bm25(word, 2.0, 2.0, 1.0), rowid LIMIT ?",
                (query, limit),
            ).fetchall()
        return [int(row[0]) for row in rows]

    def _passage(self, key: int) -> Passage:
        with self._lock:
            row = self._connection.execute("SELECT packed FROM passage WHERE key = ?", (key,)).fetchone()
        return msgspec.msgpack.decode(row[0], type=Passage)


def _columns(passage: Passage) -> tuple[str, str, str]:
    """The stems of title, headings and body."""
    headings = " ".join(passage.headings)
    return (
        " ".join(stems(passage.frame.removesuffix(headings))),
        " ".join(stems(headings)),
        " ".join(stems(passage.text)),
    )
