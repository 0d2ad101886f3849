"""HTML as text with numbered lines: what a reader sees, one block a line, headings marked as in Markdown.

A quote from a page is opened in this extracted text, whose lines can be
counted; the page's own source interrupts sentences with tags. Navigation,
scripts and footers are left out: they are dense in words and say nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from moot.teams.research.text.sentences import Block, BlockKind

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

__all__ = ["html_blocks"]

_SKIPPED = frozenset("script style noscript template svg nav footer form button select iframe head link meta".split())
_SKIPPED_CLASS = re.compile(
    r"\b(?:toc|navheader|navfooter|nav|navbar|sidebar|sphinxsidebar|breadcrumbs?|menu|footer|related|headerlink)\b"
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = frozenset("p li dt dd blockquote figcaption caption address summary td th".split())
_DEPTH_LIMIT = 400


def html_blocks(source: str) -> tuple[str, str, list[Block]]:
    """Title, extracted text and blocks of a page."""
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError as error:
        raise ModuleNotFoundError(
            "reading HTML needs the package selectolax; install it with: python -m pip install 'moot[research]'"
        ) from error
    tree = LexborHTMLParser(source)
    head = tree.css_first("title")
    title = " ".join(head.text().split()) if head is not None else ""
    extract = _Extract()
    if tree.body is not None:
        extract.walk(tree.body, 0)
        extract.flush()
    return title, "".join(extract.pieces), extract.blocks


class _Extract:
    """Walks the tree, gathers inline text and writes a line at the end of each block."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.blocks: list[Block] = []
        self._length = 0
        self._inline: list[str] = []
        self._headings: list[tuple[int, str]] = []

    def walk(self, node: LexborNode, depth: int) -> None:
        child = node.child
        while child is not None:
            self._node(child, depth)
            child = child.next

    def flush(self, kind: BlockKind = "prose") -> None:
        """Write the gathered inline text as a line of its own."""
        text = "".join(self._inline)
        self._inline.clear()
        text = text.strip("\n").rstrip() if kind == "code" else " ".join(text.split())
        if text.strip():
            start = self._write(text + "\n")
            self.blocks.append(Block(start, start + len(text), tuple(title for _, title in self._headings), kind))

    def _node(self, node: LexborNode, depth: int) -> None:
        tag = node.tag or ""
        if tag == "-text":
            self._inline.append(node.text_content or "")
        elif tag == "br":
            self._inline.append("\n")
        elif tag in _SKIPPED or tag.startswith("-") or _is_furniture(node):
            return
        elif depth > _DEPTH_LIMIT:  # no page for readers; its text still counts
            self._inline.append(node.text(deep=True, separator=" "))
        elif tag in _HEADINGS:
            self.flush()
            self._heading(_HEADINGS[tag], node)
        elif tag == "pre":
            self.flush()
            self._inline.append(node.text(deep=True))
            self.flush("code")
        elif tag == "tr":
            self.flush()
            self._row(node)
        elif tag in _BLOCKS or tag in ("div", "section", "article", "main", "table", "ul", "ol", "dl", "hr"):
            self.flush()
            self.walk(node, depth + 1)
            self.flush()
        else:
            self.walk(node, depth + 1)

    def _heading(self, level: int, node: LexborNode) -> None:
        title = " ".join(node.text(deep=True).replace("\u00b6", "").split())[:120]
        if not title:
            return
        while self._headings and self._headings[-1][0] >= level:
            self._headings.pop()
        self._headings.append((level, title))
        self._write(f"{'#' * level} {title}\n")

    def _row(self, node: LexborNode) -> None:
        cells: list[str] = []
        child = node.child
        while child is not None:
            if child.tag in ("td", "th"):
                if child.css_first("p, ul, pre, table") is not None and child.next is None and not cells:
                    self.walk(child, 1)  # a layout table: one cell around a whole page
                    self.flush()
                    return
                cells.append(" ".join(child.text(deep=True).split()))
            child = child.next
        self._inline.append(" | ".join(cell for cell in cells if cell))
        self.flush("row" if len(cells) > 1 else "prose")

    def _write(self, text: str) -> int:
        start = self._length
        self.pieces.append(text)
        self._length += len(text)
        return start


def _is_furniture(node: LexborNode) -> bool:
    attributes = node.attributes
    marks = f"{attributes.get('class') or ''} {attributes.get('id') or ''} {attributes.get('role') or ''}"
    return bool(_SKIPPED_CLASS.search(marks.lower())) if marks.strip() else False
