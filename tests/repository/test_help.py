"""`scripts/help` names every command that a person runs, and no command that is not there."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def commands() -> list[str]:
    """The commands that `scripts/help` prints; each stands on a line with what it does, two spaces apart."""
    done = subprocess.run([str(ROOT / "scripts/help")], capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("  ")]
    return [re.fullmatch(r"  (\S.*?) {2,}\S.*", line)[1] for line in lines]  # type: ignore[index]


def run_by_hand(folder: str) -> set[str]:
    """The programs in a folder that can be executed, or whose docstring shows the command that runs them."""
    programs = {path for path in (ROOT / folder).iterdir() if path.is_file() and os.access(path, os.X_OK)}
    for path in (ROOT / folder).glob("*.py"):
        if f"python {folder}/{path.name}" in (ast.get_docstring(ast.parse(path.read_text())) or ""):
            programs.add(path)
    return {str(path.relative_to(ROOT)) for path in programs}


def test_every_program_that_is_named_is_there() -> None:
    named = re.findall(r"(?<![\w/.-])(?:scripts|benchmarks|examples|tests)/[\w./-]+", "\n".join(commands()))

    assert named != []
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_tool_that_is_named_is_in_the_environment() -> None:
    tools = set(re.findall(r"\.venv/bin/([\w-]+)", "\n".join(commands())))

    assert {"python", "pytest", "ruff", "mypy"} <= tools
    assert [tool for tool in tools if not (Path(sys.executable).parent / tool).exists()] == []


def test_every_program_that_a_person_runs_is_named() -> None:
    named = " ".join(commands())

    ours = run_by_hand("scripts") | run_by_hand("benchmarks")

    assert {"scripts/test", "scripts/demo", "benchmarks/run.py"} <= ours
    assert [program for program in sorted(ours - {"scripts/help"}) if program not in named] == []


def test_the_guide_for_contributors_points_to_the_list() -> None:
    assert "scripts/help" in (ROOT / "CONTRIBUTING.md").read_text()
