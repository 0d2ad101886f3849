"""PDF as text with numbered lines, one heading a page ("page 3").

Optional: pypdf reads the pages. Lines are kept as the page has them, so that a
quote can be opened in the extracted text.
"""

from __future__ import annotations

import io

from moot.teams.research.text.sentences import Block

__all__ = ["UnreadablePdf", "pdf_blocks"]

_PAGE_LIMIT = 2_000


class UnreadablePdf(ValueError):
    """The PDF is damaged, encrypted, or holds no text (a scan)."""


def pdf_blocks(raw: bytes) -> tuple[str, str, list[Block]]:
    """Title, extracted text and blocks of a PDF."""
    try:
        from pypdf import PdfReader
        from pypdf.errors import PyPdfError
    except ImportError as error:
        raise ModuleNotFoundError(
            "reading PDF needs pypdf; install it with: python -m pip install 'moot[pdf]'"
        ) from error
    try:
        reader = PdfReader(io.BytesIO(raw))
        pages = [page.extract_text() or "" for page in reader.pages[:_PAGE_LIMIT]]
        title = str(reader.metadata.title or "") if reader.metadata else ""
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        # a damaged file surfaces in many ways inside the parser
        raise UnreadablePdf(str(error) or type(error).__name__) from error
    return title, *_lay_out(pages)


def _lay_out(pages: list[str]) -> tuple[str, list[Block]]:
    pieces: list[str] = []
    blocks: list[Block] = []
    length = 0
    for number, page in enumerate(pages, start=1):
        heading = f"# page {number}\n"
        pieces.append(heading)
        length += len(heading)
        for paragraph in page.split("\n\n"):
            body = paragraph.strip("\n")
            if body.strip():
                blocks.append(Block(length, length + len(body), (f"page {number}",)))
                pieces.append(body + "\n\n")
                length += len(body) + 2
    if not blocks:
        raise UnreadablePdf("no text in it (scanned pages?)")
    return "".join(pieces), blocks
