"""The quick tests on every other Python that we name and that this machine has.

The gate itself runs on one Python. What differs between them (a warning that is new, a message in other words, asyncio)
is seen by tests that are quick, so only those run here; each Python has an environment of its own beside the tools,
with what uv.lock says. A Python that is absent is named and counted, and is no failure.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from gate_tests import Pytest
from gate_watch import ROOT, call

__all__ = ["NAMED", "Python", "environment", "installed", "prepare", "quick_tests", "ready", "skipped"]

TOOLS = ROOT / ".venv-tools"
UV = TOOLS / "bin" / "uv"

NAMED = ("3.11", "3.12", "3.13", "3.14")
"""Those that pyproject.toml names, and the one that comes next."""

SAME_EVERYWHERE = [
    "tests/patterns/test_voting_methods.py",
    "tests/repository/test_architecture.py",
    "tests/cli/test_demos.py",
    "tests/repository/test_docs.py",
    "tests/repository/test_examples.py::test_an_example_prints_what_it_claims[23_voting]",
]
"""Tests that say the same on each Python: arithmetic, what the sources and the documents say. They take 35 s."""

_WORKS = "import ensurepip, sqlite3, ssl, sys, venv; print(*sys.version_info[:2], sep='.'); print(sys.version)"

skipped: list[str] = []
"""Why a Python was left out, a line each."""
ready: list[Path] = []
"""The interpreters of the environments that are made."""


class Python(NamedTuple):
    """An interpreter that works; ``build`` tells its exact version and how it was built."""

    name: str
    path: Path
    build: str


def installed() -> list[Python]:
    """One interpreter of each named Python but our own: from PATH, else the newest of pyenv."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = []
    for name in NAMED:
        if name == own:
            continue
        works = (python for path in _candidates(name) if (python := _tried(name, path)) is not None)
        if (python := next(works, None)) is not None:
            found.append(python)
        else:
            skipped.append(f"python{name} is not installed")
    return found


def environment(python: Python) -> Path | None:
    """The interpreter of an environment with the locked dependencies and this checkout; None if it cannot be made.

    What is there already is kept, if it was made by this very build.
    """
    folder = TOOLS / f"python{python.name}"
    own = folder / "bin" / "python"
    locked = TOOLS / "locked.txt"
    there = _tried(python.name, own)
    into = ("pip", "install", "--quiet", "--python", own)
    steps: list[tuple[str | Path, ...]] = [
        ("export", "--quiet", "--frozen", "--no-emit-project", "--all-extras", "--all-groups", "--output-file", locked),
        (*into, "--require-hashes", "-r", locked),
        (*into, "--no-deps", "--editable", ROOT),
    ]
    if there is None or there.build != python.build:
        steps.insert(0, ("venv", "--quiet", "--clear", "--python", python.path, folder))
    for step in steps:
        if not call(UV, *step, quiet=True):
            print(f"python{python.name}: no environment could be made (uv {step[0]})")
            return None
    return own


def prepare(_folder: Path) -> bool:
    """The step that makes the environments; whether all could be made. Those that are absent are named."""
    for python in installed():
        own = environment(python)
        if own is None:
            return False
        ready.append(own)
        print(f"  python{python.name}: {python.path}")
    for why in skipped:
        print(f"  skipped: {why}")
    return True


def quick_tests(left_out: Collection[str]) -> list[Pytest]:
    """A run of the quick tests on each Python that is ready, without the tests ``left_out``; a minute of CPU each."""
    options = ["-q", "-m", "not slow and not model", *(f"--ignore={one}" for one in left_out)]
    options += [f"--deselect={one}" for one in SAME_EVERYWHERE]
    return [Pytest(tuple(options), own) for own in ready]


def _candidates(name: str) -> list[Path]:
    on_path = shutil.which(f"python{name}")
    pyenv = Path(os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")) / "versions"  # noqa: PTH111 - no home is no error
    versions = sorted(pyenv.glob(f"{name}.*/bin/python{name}"), key=_patch, reverse=True)
    return [*([Path(on_path)] if on_path else ()), *versions]


def _patch(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path.parent.parent.name)]


def _tried(name: str, path: Path) -> Python | None:
    """Whether it runs, is the Python of this name, and can make environments: a name alone may be a shim of nothing."""
    try:
        done = subprocess.run([path, "-c", _WORKS], check=False, capture_output=True, text=True)
    except OSError:
        return None
    version, _, build = done.stdout.partition("\n")
    return Python(name, path, build.strip()) if done.returncode == 0 and version == name else None
