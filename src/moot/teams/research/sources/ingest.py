"""Reading the sources: which files, in which encoding, cut into passages, and why a file was left out.

Everything is bounded (size, number, depth, loops of links), because a folder of
documents is somebody else's and may hold anything. Nothing is fetched.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from moot.teams.research.sources.html import html_blocks
from moot.teams.research.sources.markdown import markdown_blocks, text_blocks
from moot.teams.research.sources.pdf import UnreadablePdf, pdf_blocks
from moot.teams.research.text.sentences import Block, LineMap, split_blocks
from moot.teams.research.values import Document, DocumentKind, Passage, Sentence, SkippedFile

__all__ = ["MAX_BYTES", "MAX_FILES", "SourceError", "check_sources", "read_bytes", "read_sources", "source_files"]

MAX_BYTES = 16 * 1024 * 1024
MAX_FILES = 20_000
_TARGET_WORDS = 130
_MAX_WORDS = 180

_KINDS: dict[str, DocumentKind] = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".txt": "text",
    ".text": "text",
    ".rst": "text",
    ".adoc": "text",
    ".asciidoc": "text",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
}
_SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__"})
_CHARSET = re.compile(rb"charset=[\"']?([\w-]+)", re.IGNORECASE)


class SourceError(ValueError):
    """The sources as a whole cannot be used: one does not exist, or there is nothing to read in them."""


class _Skip(Exception):
    """This file is not read; the text says why."""


def read_sources(sources: Iterable[str | os.PathLike[str]]) -> Iterator[tuple[Document, str] | SkippedFile]:
    """Each file below the sources as a document with a remark, or as skipped with the reason.

    Raises `SourceError` for a source that does not exist.
    """
    count = 0
    for path in source_files(sources):
        if isinstance(path, SkippedFile):
            yield path
            continue
        count += 1
        if count > MAX_FILES:
            yield SkippedFile(str(path), f"more than {MAX_FILES:,} files")
            return
        try:
            raw = _load(path)
            yield read_bytes(str(path), raw)
        except _Skip as reason:
            yield SkippedFile(str(path), str(reason))


def check_sources(sources: Iterable[str | os.PathLike[str]]) -> None:
    """Raise `SourceError` unless at least one source can be read; stops at the first that can."""
    skipped = []
    for item in read_sources(sources):
        if not isinstance(item, SkippedFile):
            return
        skipped.append(f"{item.path}: {item.reason}")
    raise SourceError(f"nothing to read in the sources ({'; '.join(skipped[:3]) or 'no files'})")


def source_files(sources: Iterable[str | os.PathLike[str]]) -> Iterator[Path | SkippedFile]:
    """The readable files below the sources in name order, each once; links that lead back are not followed."""
    seen: set[tuple[int, int]] = set()
    for source in sources:
        path = Path(source).expanduser()
        if not path.exists():
            raise SourceError(f"no such file or folder: {source}")
        if path.is_dir():
            yield from _folder(path, seen)
        elif _is_new(path, seen):
            yield path


def read_bytes(path: str, raw: bytes) -> tuple[Document, str]:
    """One file's bytes as a document, and a remark on anything odd."""
    kind = _KINDS.get(Path(path).suffix.lower(), "text")
    remark = ""
    title = ""
    if kind == "pdf" or raw[:5] == b"%PDF-":
        kind = "pdf"
        try:
            title, text, blocks = pdf_blocks(raw)
        except (UnreadablePdf, ModuleNotFoundError) as error:
            raise _Skip(f"PDF: {error}") from error
    else:
        text, remark = _decode(raw)
        if kind == "html":
            try:
                title, text, blocks = html_blocks(text)
            except ModuleNotFoundError as error:
                raise _Skip(str(error)) from error
        else:
            blocks = markdown_blocks(text) if kind == "markdown" else text_blocks(text)
    passages = _passages(path, title or _title(path, blocks), text, blocks)
    if not passages:
        raise _Skip("no text in it")
    return Document(path=path, kind=kind, title=passages[0].title, text=text, passages=passages), remark


def _folder(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path | SkippedFile]:
    if not _is_new(folder, seen):
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        yield SkippedFile(str(folder), f"cannot be opened: {error.strerror}")
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if not entry.exists():
            yield SkippedFile(str(entry), "broken or circular link")
        elif entry.is_dir():
            if entry.name not in _SKIPPED_FOLDERS:
                yield from _folder(entry, seen)
        elif not entry.is_file():
            yield SkippedFile(str(entry), "not a regular file")
        elif entry.suffix and entry.suffix.lower() not in _KINDS:
            yield SkippedFile(str(entry), f"unsupported type {entry.suffix}")
        elif _is_new(entry, seen):
            yield entry


def _is_new(path: Path, seen: set[tuple[int, int]]) -> bool:
    status = path.stat()
    key = (status.st_dev, status.st_ino)
    if key in seen:
        return False
    seen.add(key)
    return True


def _load(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise _Skip("not a regular file")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise _Skip(f"too big: {size:,} bytes, the limit is {MAX_BYTES:,}")
        raw = path.read_bytes()
    except OSError as error:
        raise _Skip(f"cannot be read: {error.strerror}") from error
    if not raw.strip():
        raise _Skip("empty")
    return raw


def _decode(raw: bytes) -> tuple[str, str]:
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if raw.startswith(mark):
            return raw.decode(encoding, errors="replace"), "" if encoding == "utf-8-sig" else f"decoded as {encoding}"
    if b"\0" in raw[:65_536]:
        raise _Skip("binary")
    try:
        text, remark = raw.decode("utf-8"), ""
    except UnicodeDecodeError:
        declared = _CHARSET.search(raw[:2048])
        encoding = declared.group(1).decode("ascii") if declared else "cp1252"
        try:
            text, remark = raw.decode(encoding, errors="replace"), f"decoded as {encoding}"
        except LookupError:
            text, remark = raw.decode("cp1252", errors="replace"), "decoded as cp1252"
    control = sum(1 for character in text[:4096] if character < " " and character not in "\t\n\r\f\x1b")
    if control > len(text[:4096]) * 0.05:
        raise _Skip("binary")
    return text, remark


def _title(path: str, blocks: list[Block]) -> str:
    first = next((block.headings[0] for block in blocks if block.headings), "")
    return first or Path(path).stem.replace("_", " ").replace("-", " ")


def _passages(path: str, title: str, text: str, blocks: list[Block]) -> tuple[Passage, ...]:
    passages = []
    for headings, sentences in split_blocks(text, blocks, LineMap(text)):
        for packed in _pack(sentences):
            body = " ".join(sentence.text for sentence in packed)
            identifier = hashlib.sha1(body.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()[:8]
            passages.append(Passage(id=identifier, path=path, title=title, headings=headings, sentences=tuple(packed)))
    return tuple(passages)


def _pack(sentences: list[Sentence]) -> Iterator[list[Sentence]]:
    packed: list[Sentence] = []
    words = 0
    for sentence in sentences:
        count = len(sentence.text.split())
        if packed and (words >= _TARGET_WORDS or words + count > _MAX_WORDS):
            yield packed
            packed, words = [], 0
        packed.append(sentence)
        words += count
    if packed:
        yield packed
