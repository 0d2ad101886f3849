"""The concept page names tests as proof, so they must be there."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "concepts" / "engine.md"


def test_every_test_that_the_page_names_exists() -> None:
    tests = "".join(path.read_text("utf-8") for path in HERE.glob("test_*.py"))

    named = re.findall(r"`(test_\w+|\w+Machine)`", PAGE.read_text("utf-8"))

    assert len(named) >= 7
    assert [name for name in named if not re.search(rf"(def|class) {name}\b", tests)] == []
