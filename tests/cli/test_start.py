"""The start of a command line is quick, since it loads what it needs and no more; what it shows is what typer would."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from typer.main import get_command

from moot.cli.app import run
from moot.cli.commands import COMMANDS, overview
from moot.cli.group import app

LOADED = """
import json, sys
before = set(sys.modules)
from moot.cli.app import run
run({words})
print(json.dumps(sorted(set(sys.modules) - before)))
"""

SLOW = {"asyncio", "msgspec", "pydantic", "rich", "sqlite3", "typing_extensions"}
RUNTIME = ("agent", "backends", "engine", "manager", "runtime", "state", "teams", "testing")


def loaded(*words: str) -> set[str]:
    """The modules that a command line loads."""
    code = LOADED.format(words=words)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def completions(words: str) -> list[str]:
    environment = {"_MOOT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [sys.executable, "-c", "from moot.cli import main; main()", *words.split()[1:]],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split()


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_the_help_loads_the_table_of_commands_and_no_typer(option: str) -> None:
    found = loaded(option)

    assert {name for name in found if name.partition(".")[0] == "moot"} == {
        "moot",
        "moot.cli",
        "moot.cli.app",
        "moot.cli.commands",
        "moot.errors",
        "moot.lazy",
    }
    assert found & {*SLOW, "typer", "inspect"} == set()


@pytest.mark.parametrize("words", [*COMMANDS, "dlq list", "models pull"])
def test_the_help_of_a_command_loads_neither_the_runtime_nor_slow_libraries(words: str) -> None:
    found = loaded(*words.split(), "--help")

    assert "typer" in found
    assert found & {*SLOW, *(f"moot.{room}" for room in RUNTIME)} == set()


def test_a_command_whose_options_are_flags_loads_no_pydantic() -> None:
    assert "pydantic" not in loaded("version")


def test_the_help_is_what_typer_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    command = get_command(app)

    context = command.make_context("moot", [], resilient_parsing=True)

    assert overview() == command.get_help(context)


def test_on_a_narrow_terminal_the_help_is_wrapped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")

    assert run(["--help"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == overview().splitlines()[0]
    assert max(map(len, lines)) <= 60


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("moot re", ["research", "resume"]),
        ("moot run --en", ["--engine"]),
        ("moot dlq re", ["requeue"]),
        ("moot --show", ["--show-completion"]),
    ],
)
def test_a_shell_completes_commands_and_their_options(words: str, found: list[str]) -> None:
    assert completions(words) == found
