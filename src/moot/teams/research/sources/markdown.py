"""Markdown and plain text as blocks: paragraphs, list items, table rows and listings, each under its headings.

Only block structure is read, line by line; inline marks stay in the text,
because a quote must be found character for character in the file.
"""

from __future__ import annotations

import re

from moot.teams.research.text.sentences import Block, BlockKind

__all__ = ["markdown_blocks", "text_blocks"]

_ATX = re.compile(r"^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_UNDERLINE = re.compile(r"^(={3,}|-{3,}|~{3,}|\^{3,}|\*{3,})\s*$")
_FENCE = re.compile(r"^\s*(`{3,}|~{3,})")
_ITEM = re.compile(r"^\s*(?:[-+*\u2022]|\d{1,3}[.)])\s+(?=\S)")
_ROW = re.compile(r"^\s*\|.*\|\s*$")
_RULE_ROW = re.compile(r"^[\s|:+=-]+$")
_HEADING_LIMIT = 300  # a longer line is no heading, and the patterns take quadratic time on hostile ones
_CAPS = re.compile(r"^[A-Z][A-Z0-9 ,/&()'-]{2,58}$")


def markdown_blocks(text: str) -> list[Block]:
    """Blocks of a Markdown document; front matter is left out."""
    return _Walk(text, is_markdown=True).blocks()


def text_blocks(text: str) -> list[Block]:
    """Blocks of plain text: underlined lines and lines in capitals (as in manual pages) are headings."""
    return _Walk(text, is_markdown=False).blocks()


class _Walk:
    """One pass over the lines, with the heading stack and the paragraph that is open."""

    def __init__(self, text: str, *, is_markdown: bool) -> None:
        self._text = text
        self._is_markdown = is_markdown
        self._found: list[Block] = []
        self._headings: list[tuple[int, str]] = []
        self._open: tuple[int, int, BlockKind] | None = None
        self._fence: str | None = None

    def blocks(self) -> list[Block]:
        lines = self._lines()
        position = _front_matter(lines) if self._is_markdown else 0
        while position < len(lines):
            position += self._line(lines, position)
        self._close()
        return self._found

    def _lines(self) -> list[tuple[int, str]]:
        lines = []
        offset = 0
        for line in self._text.split("\n"):
            lines.append((offset, line))
            offset += len(line) + 1
        return lines

    def _line(self, lines: list[tuple[int, str]], position: int) -> int:
        start, line = lines[position]
        end = start + len(line)
        if self._in_fence(start, line):
            return 1
        if not line.strip() or line.strip() == "+":
            self._close()
            return 1
        below = lines[position + 1][1] if position + 1 < len(lines) else ""
        if self._open is None and _UNDERLINE.match(below) and len(line) < 120 and not _ITEM.match(line):
            self._push(1 if below[0] == "=" else 2, line)
            return 2
        if len(line) <= _HEADING_LIMIT and self._heading(line):
            return 1
        if _ROW.match(line) or (self._is_markdown and _RULE_ROW.match(line)):
            self._close()
            if not _RULE_ROW.match(line):
                self._found.append(self._block(start, end, "row"))
        elif item := _ITEM.match(line):
            self._close()
            self._open = (start + item.end(), end, "prose")
        elif self._open is not None:
            self._open = (self._open[0], end, self._open[2])
        else:
            is_code = self._is_markdown and line.startswith(("    ", "\t"))
            self._open = (start, end, "code" if is_code else "prose")
        return 1

    def _in_fence(self, start: int, line: str) -> bool:
        match = _FENCE.match(line) if self._is_markdown else None
        if self._fence is None:
            if match is None:
                return False
            self._close()
            self._fence = match.group(1)
            return True
        if match is not None and line.strip().startswith(self._fence) and not line.strip().strip(self._fence[0]):
            self._fence = None
            self._close()
        elif self._open is None:
            self._open = (start, start + len(line), "code")
        else:
            self._open = (self._open[0], start + len(line), "code")
        return True

    def _heading(self, line: str) -> bool:
        if self._is_markdown:
            match = _ATX.match(line)
            if match:
                self._push(len(match.group(1)), match.group(2))
            return match is not None
        if self._open is None and _CAPS.match(line) and not line.startswith(" "):
            self._push(1, line)
            return True
        return False

    def _push(self, level: int, title: str) -> None:
        self._close()
        while self._headings and self._headings[-1][0] >= level:
            self._headings.pop()
        cleaned = re.sub(r"[*`]|\[([^\]]*)\]\([^)]*\)", r"\1", title).strip()
        self._headings.append((level, " ".join(cleaned.split())[:120]))

    def _close(self) -> None:
        if self._open is not None:
            self._found.append(self._block(*self._open))
            self._open = None

    def _block(self, start: int, end: int, kind: BlockKind) -> Block:
        return Block(start, end, tuple(title for _, title in self._headings if title), kind)


def _front_matter(lines: list[tuple[int, str]]) -> int:
    if lines[0][1].strip() != "---":
        return 0
    for position, (_, line) in enumerate(lines[1:60], start=1):
        if line.strip() == "---":
            return position + 1
    return 0
