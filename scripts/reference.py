"""The reference: every public name of Moot with its signature and its docstring, as Markdown, a page for each room.

    .venv/bin/python scripts/reference.py FOLDER

The docstrings are the reference; this only sets them in order. Nothing of it is committed, so it cannot go out of date.
"""

from __future__ import annotations

import argparse
import ast
import enum
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

import moot  # noqa: E402

__all__ = ["Entry", "entries", "write"]

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Entry(NamedTuple):
    """A public name: the room that it lies in, and what is said about it."""

    name: str
    room: str
    summary: str
    text: str


def entries() -> list[Entry]:
    """What is said about each name of ``moot.__all__``, from A to Z."""
    return [_entry(name, getattr(moot, name)) for name in sorted(moot.__all__, key=str.lower)]


def write(folder: Path) -> None:
    """Write a page for each room into the folder, and a README that leads to each name."""
    folder.mkdir(parents=True, exist_ok=True)
    rooms: dict[str, list[Entry]] = {}
    for entry in entries():
        rooms.setdefault(entry.room, []).append(entry)
    index = ["# Reference", "", "All of it is imported from `moot`.", ""]
    for room, of_room in sorted(rooms.items()):
        (folder / f"{room}.md").write_text("\n\n".join([f"# {room}", *(one.text for one in of_room)]) + "\n")
        index += [f"## {room}", ""]
        index += [f"* [`{one.name}`]({room}.md#{one.name.lower()}): {one.summary}" for one in of_room]
        index += [""]
    (folder / "README.md").write_text("\n".join(index))


def _entry(name: str, thing: Any) -> Entry:
    node = _tree(thing)
    doc = _markdown(ast.get_docstring(node) or "")
    source = Path(inspect.getsourcefile(thing) or "").relative_to(ROOT)
    parts = [f"## `{name}`", f"```python\n{_header(node)}\n```", doc, f"In `{source}`."]
    if inspect.isclass(thing):
        parts += _members(thing)
    room = thing.__module__.split(".")[1]
    return Entry(name, room, " ".join(doc.partition("\n\n")[0].split()), "\n\n".join(part for part in parts if part))


def _tree(thing: Any) -> ast.ClassDef | Function:
    node = ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]
    assert isinstance(node, ast.ClassDef | Function)
    return node


def _header(node: ast.ClassDef | Function) -> str:
    """The line that begins a class or a function, without its decorators and its body."""
    bare = type(node)(**{**vars(node), "decorator_list": [], "body": [ast.Expr(ast.Constant(...))]})
    return ast.unparse(bare).removesuffix("...").rstrip().removesuffix(":")


def _members(cls: type) -> list[str]:
    """The fields and methods that a user of the class sees, those that it inherits from other classes of ours too."""
    found: dict[str, str] = {}
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] != "moot":
            continue
        for name, text in _described(base):
            found.setdefault(name, text)
    return list(found.values())


def _described(cls: type) -> Iterator[tuple[str, str]]:
    body = _tree(cls).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, Function):
            name, title, doc = node.name, _header(node), ast.get_docstring(node) or ""
            marks = {ast.unparse(one).rpartition(".")[2] for one in node.decorator_list}
            if marks & {"overload", "setter"}:
                continue
            if "property" in marks and node.returns is not None:
                title = f"{name}: {ast.unparse(node.returns)}"
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            name, title, doc = ast.unparse(target), ast.unparse(node), _doc_after(after)
            if isinstance(node, ast.Assign) and not doc and not issubclass(cls, enum.Enum):
                continue
        else:
            continue
        if not name.startswith("_") or name == "__init__":
            yield name, f"### `{name}`\n\n```python\n{title}\n```\n\n{_markdown(doc)}".rstrip()


def _doc_after(node: ast.stmt | None) -> str:
    """The text that stands under a field."""
    match node:
        case ast.Expr(ast.Constant(str(text))):
            return inspect.cleandoc(text)
    return ""


def _markdown(doc: str) -> str:
    """A docstring as Markdown: code in single backticks; arguments and what is raised as lists."""
    text, *sections = re.split(r"^(Args|Raises):\n", doc.replace("``", "`").replace("::\n", ":\n"), flags=re.MULTILINE)
    parts = [text.strip()]
    for title, section in zip(sections[::2], sections[1::2], strict=True):
        parts.append(f"{title}:\n\n" + re.sub(r"^ {4}(?=\S)", "* ", section.rstrip(), flags=re.MULTILINE))
    return "\n\n".join(parts).strip()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the pages go")
    write(parser.parse_args().folder)
