"""The reference has an entry for each public name with its docstring, and all that the name has and inherits."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import moot

ROOT = Path(__file__).parents[2]
ENTRY = re.compile(
    r"^## `(\w+)`\n\n```python\n(?:async )?(?:class|def) \1.*\n```\n\n(?!In `)(?P<doc>\S.+)$", re.MULTILINE
)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The pages that `scripts/reference.py` writes, by their names."""
    folder = tmp_path_factory.mktemp("reference")
    script = str(ROOT / "scripts/reference.py")
    subprocess.run([sys.executable, "-W", "error", script, str(folder)], capture_output=True, check=True)
    return {path.name: path.read_text() for path in folder.iterdir()}


def members(page: str, name: str) -> set[str]:
    entry = page.partition(f"\n## `{name}`\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^### `(\w+)`$", entry, re.MULTILINE))


def test_every_public_name_has_an_entry_with_its_docstring(pages: dict[str, str]) -> None:
    found = [entry[1] for page in pages.values() for entry in ENTRY.finditer(page)]

    assert sorted(found) == sorted(moot.__all__)


def test_the_index_leads_to_every_entry(pages: dict[str, str]) -> None:
    links = re.findall(r"^\* \[`(\w+)`\]\((\w+\.md)#(\w+)\): \S", pages["README.md"], re.MULTILINE)

    assert sorted(name for name, _, _ in links) == sorted(moot.__all__)
    assert [
        name for name, page, anchor in links if f"\n## `{name}`\n" not in pages[page] or anchor != name.lower()
    ] == []


def test_what_is_inherited_from_a_class_that_is_not_public_is_shown_too(pages: dict[str, str]) -> None:
    assert {"ask", "send", "publish", "state", "spawn"} <= members(pages["agent.md"], "AgentContext")
    assert {"register", "ask", "tell", "stop"} <= members(pages["manager.md"], "AgentManager")


def test_fields_stand_with_their_text_and_private_names_do_not(pages: dict[str, str]) -> None:
    agents = pages["agent.md"]

    assert (
        "### `topics`\n\n```python\ntopics: ClassVar[tuple[str, ...]] = ()\n```\n\nThe topics that the agent" in agents
    )
    assert [
        name for page in pages for name in re.findall(r"^### `(_\w*)`", pages[page], re.MULTILINE) if name != "__init__"
    ] == []


def test_what_is_raised_is_a_list(pages: dict[str, str]) -> None:
    assert re.search(r"^Raises:\n\n\* \w+: ", pages["manager.md"], re.MULTILINE)
    assert not re.search(r"^Raises:\n +\w", "".join(pages.values()), re.MULTILINE)
