"""The graph of imports of a source tree, and the circles in it: sets of files of which none can be read alone.

Every import counts: those for type checkers and those inside functions, too. Who reads a file has to know its types.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from importlib.util import resolve_name
from pathlib import Path

__all__ = ["circles", "import_graph", "modules"]


def modules(source: Path) -> dict[str, Path]:
    """The modules below ``source``, by name."""
    names = {path: path.relative_to(source).with_suffix("").parts for path in sorted(source.rglob("*.py"))}
    return {".".join(parts[:-1] if parts[-1] == "__init__" else parts): path for path, parts in names.items()}


def import_graph(source: Path) -> dict[str, set[str]]:
    """For each module below ``source`` those of them that it imports."""
    paths = modules(source)
    return {name: {*_imported(name, path, paths)} - {name} for name, path in paths.items()}


def circles(graph: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """The strongly connected components of more than one module: each imports each, if over others."""
    reached = {name: _reached(name, graph) for name in graph}
    rings = (frozenset(other for other in reached[name] if name in reached[other]) for name in graph)
    return {ring for ring in rings if ring}


def _imported(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), package)
            named = [f"{origin}.{alias.name}" for alias in node.names]
            found = {inner if inner in known else origin for inner in named}  # a module, or a name in one
            yield from found & known.keys()


def _reached(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    """The modules that are reached from ``start``, which is one of them only if it lies on a circle."""
    found: set[str] = set()
    rest = [start]
    while rest:
        new = graph[rest.pop()] - found
        found |= new
        rest += new
    return found
