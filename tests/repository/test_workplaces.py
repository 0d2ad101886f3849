"""Whoever starts with pre-commit or in a container gets what the gate uses: the locked ruff, and `scripts/setup.sh`."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def container() -> dict[str, Any]:
    """What `.devcontainer/devcontainer.json` says."""
    settings: dict[str, Any] = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    return settings


def test_pre_commit_formats_and_lints_with_the_ruff_of_the_environment_and_does_nothing_else() -> None:
    settings = (ROOT / ".pre-commit-config.yaml").read_text()

    commands = re.findall(r"^ +entry: (\S+ \w+)", settings, re.MULTILINE)

    assert commands == [".venv/bin/ruff format", ".venv/bin/ruff check"]
    assert re.findall(r"repo: (.+)", settings) == ["local"]


def test_the_container_has_the_oldest_python_that_we_name(container: dict[str, Any]) -> None:
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")

    assert container["image"].endswith(f":{needed}")
    assert container["containerEnv"]["PYTHON"] == f"python{needed}"


def test_the_container_sets_up_as_the_gate_does(container: dict[str, Any]) -> None:
    gate = re.search(r"^set_up .+$", (ROOT / "scripts/test").read_text(), re.MULTILINE)
    assert gate is not None

    command = container["postCreateCommand"]

    assert command == f"bash -c 'source scripts/setup.sh && {gate[0]}'"
    words = command.replace(gate[0], "type -t set_up")
    assert (
        subprocess.run(words, cwd=ROOT, shell=True, capture_output=True, text=True, check=True).stdout == "function\n"
    )
