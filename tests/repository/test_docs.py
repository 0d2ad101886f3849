"""The README and the docs are true: every Python block in them runs, a page in one namespace, in its own process.

A page's blocks are joined in order, so that a later block may use what an earlier one defined. A block whose fence says
`python no-run` is shown only; a `text` block directly after a block that prints is what the page must print.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [
    *(ROOT / page for page in ("README.md", "CONTRIBUTING.md", "examples/README.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]
FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|mailto:|#)(?P<target>[^)#\s]+)(#[^)]*)?\)")


class Block(NamedTuple):
    """A fenced block and the line it begins on."""

    info: str
    body: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [Block(m["info"].strip(), m["body"], text.count("\n", 0, m.start()) + 2) for m in FENCE.finditer(text)]


def program(page: Path) -> str:
    """The page's Python blocks as one program whose line numbers are those of the page."""
    lines: list[str] = []
    for block in blocks(page):
        if block.info == "python":
            lines += [""] * (block.line - 1 - len(lines))
            lines += block.body.splitlines()
    return "\n".join(lines) + "\n"


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


RUNNABLE = [page for page in PAGES if program(page).strip()]


@pytest.mark.parametrize("page", RUNNABLE, ids=name)
def test_a_page_runs_from_top_to_bottom_and_prints_what_it_says(page: Path, tmp_path: Path) -> None:
    script = tmp_path / f"{page.stem}.py"
    script.write_text(program(page))

    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    printed = "".join(block.body for block in blocks(page) if block.info == "text")
    assert done.stdout == printed


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_says_what_it_is(page: Path) -> None:
    known = {"mermaid", "python", "python no-run", "text", "console", "toml", "json", "sh"}

    assert [block for block in blocks(page) if block.info not in known] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    targets = [m["target"] for m in LINK.finditer(page.read_text())]

    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = re.findall(r"`((?:tests|src|scripts|benchmarks|examples|docs)/[\w./-]+)`", page.read_text())

    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_readme_shows_the_figures_of_the_committed_run() -> None:
    figures = (ROOT / "benchmarks/RESULTS.md").read_text().partition("\n\n")[2]

    assert figures in (ROOT / "README.md").read_text()


DECISIONS = sorted(ROOT.glob("docs/decisions/0*.md"))
ROW = re.compile(r"^\| \[(\d{4})\]\((?P<page>[\w-]+\.md)\) \| .+? \| (?P<tests>.+?) \| (?P<by>.+?) \|$", re.MULTILINE)


@pytest.mark.parametrize("page", DECISIONS, ids=name)
def test_a_decision_has_its_parts_on_one_page(page: Path) -> None:
    text = page.read_text()

    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)

    assert headings == ["Context", "Options", "Decision", "Consequences", "Held by"]
    assert len(text.splitlines()) <= 60


@pytest.mark.parametrize("page", DECISIONS, ids=name)
def test_a_decision_has_a_row_that_names_the_tests_that_hold_it(page: Path) -> None:
    rows = {row["page"]: row for row in ROW.finditer((page.parent / "README.md").read_text())}

    held_by = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", rows[page.name]["tests"])

    assert held_by != []
    for path, test in held_by:
        assert path in page.read_text().partition("## Held by")[2]
        assert (ROOT / path).is_file()
        assert not test or re.search(rf"^(async )?def {test}\(", (ROOT / path).read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", DECISIONS, ids=name)
def test_a_decision_that_was_replaced_says_so_first_and_in_its_row(page: Path) -> None:
    rows = {row["page"]: row for row in ROW.finditer((page.parent / "README.md").read_text())}

    in_row = [link["target"] for link in LINK.finditer(rows[page.name]["by"])]

    assert in_row == re.findall(r"replaced by \[\d{4}\]\(([\w-]+\.md)\)", page.read_text().partition("## Context")[0])
    assert in_row != [] or rows[page.name]["by"] == "–"
