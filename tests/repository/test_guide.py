"""Who looks for a place or a word finds it: the guides know every room of `src/moot`, and name nothing that is gone."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/moot"
ROOMS = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
ROOMS -= {"__init__"}
"""The folders and the single modules on the first level."""
FOLDERS = {path.parent for path in SOURCE.rglob("__init__.py")} - {SOURCE}
"""The folders of all levels."""
WORDS = {"policies", "errors", "clock", "ids"}
CORE = {"agent", "manager", "messaging", "resilience", "runtime"}
"""The rooms of which each file is described: what is in them, nobody knows from elsewhere."""
GLOSSARY = ROOT / "docs/glossary.md"


def section(page: str, heading: str) -> str:
    """The text under a heading of the second level, up to the next one."""
    return (ROOT / page).read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the rows whose first cell is a name in code, without its backticks."""
    found = re.findall(r"^\| `([\w./]+)` \| (.+) \|$", section(page, heading), re.MULTILINE)
    return [[first, *rest.split(" | ")] for first, rest in found]


def imported(room: str) -> set[str]:
    """The other rooms that the files of a room import, for type checkers too; `moot` stands for the public names."""
    files = (SOURCE / room).rglob("*.py") if (SOURCE / room).is_dir() else [SOURCE / f"{room}.py"]
    line = re.compile(r"^ *(?:from|import) (moot[\w.]*)", re.MULTILINE)
    modules = {module for path in files for module in line.findall(path.read_text())}
    return {module.split(".")[1] if "." in module else "moot" for module in modules} - {room}


def allowed(cell: str, below: list[str]) -> set[str]:
    """The rooms that a cell of the column "may import" allows, in a row with these rooms below it."""
    named = set(re.findall(r"`(\w+)`", cell))
    if cell.startswith("everything below"):
        return {"moot", *below} - named
    return named | (WORDS if "words" in named else set())


def test_the_five_questions_lead_to_every_room() -> None:
    named = set(re.findall(r"`(\w+)`", section("CONTRIBUTING.md", "Where does my file go?")))

    assert named == ROOMS


def test_the_map_in_the_readme_has_a_row_for_every_room() -> None:
    named = [row[0].removeprefix("moot.") for row in rows("README.md", "Map of the package")]

    assert sorted(named) == sorted(ROOMS)


def test_the_table_of_rules_has_a_row_for_every_room() -> None:
    named = [row[0] for row in rows("docs/architecture.md", "Rooms and their rules")]

    assert sorted(named) == sorted(ROOMS)


def test_no_room_imports_what_the_table_of_rules_forbids() -> None:
    table = rows("docs/architecture.md", "Rooms and their rules")
    order = [row[0] for row in table]

    forbidden = {
        room: imported(room) - allowed(may_import, order[place + 1 :])
        for place, (room, _, may_import, _) in enumerate(table)
    }

    assert {room: others for room, others in forbidden.items() if others} == {}


@pytest.mark.parametrize("folder", sorted(FOLDERS), ids=lambda folder: str(folder.relative_to(SOURCE)))
def test_every_folder_and_each_file_of_the_core_is_described(folder: Path) -> None:
    table = rows("docs/architecture.md", "What lies where")
    described = {SOURCE / where: set(re.findall(r"`(\w+)`", what)) for where, what in table}
    rooms = {path.name for path in FOLDERS if path.parent == folder}
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}

    named = described.get(folder, set())

    assert folder in described or folder.name in described[folder.parent]
    assert named - rooms - files == set()
    assert rooms - named == set()
    assert folder.relative_to(SOURCE).parts[0] not in CORE or files - named == set()


def defined(path: Path) -> set[str]:
    """The classes, functions and methods of a file; a method after its class and a dot."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            found.add(node.name)
            found |= {
                f"{node.name}.{member.name}"
                for member in getattr(node, "body", ())
                if isinstance(member, (ast.FunctionDef, ast.AsyncFunctionDef))
            }
    return found


def test_names_in_the_walk_lead_to_where_they_are_defined() -> None:
    walk = section("docs/architecture.md", "One message, walked through")
    links = re.findall(r"\[`([\w.]+)`\]\(\.\./(src/[\w/.]+)\)", walk)

    gone = [(name, path) for name, path in links if name not in defined(ROOT / path)]

    assert len(links) > 30
    assert gone == []


def test_the_walk_names_nothing_without_a_link() -> None:
    walk = section("docs/architecture.md", "One message, walked through")
    linked = set(re.findall(r"\[`([\w.]+)`\]", walk))

    named = set(re.findall(r"`([A-Z]\w+\.\w+)`", walk))

    assert named - linked == set()


def test_names_in_the_glossary_lead_to_where_they_are_defined() -> None:
    links = re.findall(r"\[`(\w+)`\]\(\.\./([\w/.]+)\)", GLOSSARY.read_text())

    gone = [
        (name, path)
        for name, path in links
        if not (ROOT / path).is_file()
        or not re.search(rf"^(class|def|async def) {name}\b", (ROOT / path).read_text(), re.MULTILINE)
    ]

    assert len(links) > 100
    assert gone == []


def test_every_class_that_the_glossary_names_is_in_the_source() -> None:
    source = "\n".join(path.read_text() for path in SOURCE.rglob("*.py"))

    named = set(re.findall(r"`([A-Z]\w+)`", GLOSSARY.read_text()))

    assert named - set(re.findall(r"^class (\w+)", source, re.MULTILINE)) == set()
