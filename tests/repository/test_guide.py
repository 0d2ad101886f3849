"""Who looks for the place of a file finds it: the guides know every room of `src/moot`, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/moot"
ROOMS = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()} - {
    "__init__"
}
"""The folders and the single modules on the first level."""


def section(page: str, heading: str) -> str:
    """The text under a heading of the second level, up to the next one."""
    return (ROOT / page).read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_the_five_questions_lead_to_every_room() -> None:
    named = set(re.findall(r"`(\w+)`", section("CONTRIBUTING.md", "Where does my file go?")))

    assert named == ROOMS


def test_the_map_in_the_readme_has_a_row_for_every_room() -> None:
    rows = re.findall(r"^\| `moot\.(\w+)` \| .+ \|$", section("README.md", "Map of the package"), re.MULTILINE)

    assert set(rows) == ROOMS
    assert len(rows) == len(ROOMS)
