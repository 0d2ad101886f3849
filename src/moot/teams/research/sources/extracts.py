"""Where the text of HTML and PDF sources is kept, so that a citation's line can be opened.

A file of plain text per source, named by its content, in the cache that the models are in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from moot.engine.errors import ModelUnavailable
from moot.engine.models.cache import cache_dir
from moot.teams.research.sources.index import PassageIndex

__all__ = ["save_extracts"]


def save_extracts(index: PassageIndex, paths: Iterable[str], folder: Path | None = None) -> dict[str, str]:
    """Write the extracted text of these sources; source to text file. What cannot be written is left out."""
    try:
        target = folder or cache_dir() / "extracts"
    except ModelUnavailable:  # no home directory, so nowhere to write
        return {}
    saved = {}
    for path in sorted(paths):
        text = index.extracted(path)
        if text is None:
            continue
        name = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
        file = target / f"{name}.txt"
        try:
            target.mkdir(parents=True, exist_ok=True)
            if not file.exists():
                file.write_text(text, encoding="utf-8", errors="replace", newline="")
        except OSError:
            continue
        saved[path] = str(file)
    return saved
