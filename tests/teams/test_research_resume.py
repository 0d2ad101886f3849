"""``moot research --durable``, killed at calls of the engine, finishes the report and repeats no call that ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CORPUS = str(Path(__file__).parents[2] / "examples" / "corpus")
QUESTION = "How many noisy qubits are needed to factor RSA-2048?"

_PROGRAM = """
import hashlib, os, signal, sys
import msgspec
from moot.cli import research_work
from moot.cli.app import run
from moot.engine.scripted import ScriptedEngine

log, limit = sys.argv[1], int(sys.argv[2])

class Deadly(ScriptedEngine):
    asked = 0

    async def generate(self, request):
        Deadly.asked += 1
        prompt = hashlib.blake2b(msgspec.msgpack.encode(request.messages), digest_size=8).hexdigest()
        dies = Deadly.asked == limit
        with open(log, "a") as file:
            file.write(f"{'dies' if dies else 'answered'} {prompt}\\n")
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().generate(request)

research_work.chosen_engine = lambda *_: Deadly(["20 million noisy qubits are needed to factor RSA-2048.\\n"] * 50)
sys.exit(run(sys.argv[3:]))
"""


def _moot(log: Path, limit: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line; the engine kills the process at its call number ``limit``, before it answers."""
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(log), str(limit), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=log.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def _ask(file: Path) -> tuple[str, ...]:
    return ("research", QUESTION, "--sources", CORPUS, "--durable", str(file), "--json", "--quiet")


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_was_not(tmp_path: Path, limit: int) -> None:
    whole = _moot(tmp_path / "whole.log", 0, *_ask(tmp_path / "whole.db"))
    assert whole.returncode == 0, whole.stderr
    log, file = tmp_path / "killed.log", tmp_path / "killed.db"

    killed = _moot(log, limit, *_ask(file))
    kills = 0
    while killed.returncode == -signal.SIGKILL and kills < 20:
        kills += 1
        killed = _moot(log, limit if limit > 1 else kills % 2 * 2, "resume", str(file), "--json", "--quiet")

    assert killed.returncode == 0, killed.stderr
    assert kills >= 1
    lines = [line.split() for line in log.read_text().splitlines()]
    answered = [prompt for word, prompt in lines if word == "answered"]
    assert sorted(answered) == sorted(line.split()[1] for line in (tmp_path / "whole.log").read_text().splitlines())
    for index, (word, prompt) in enumerate(lines[:-1]):
        if word == "dies":
            assert lines[index + 1][1] == prompt, "it went on elsewhere than where it was killed"
    assert _essence(killed.stdout) == _essence(whole.stdout)


def _essence(report: str) -> object:
    """A report without what says when and how long."""
    fields = json.loads(report)
    return {name: fields[name] for name in ("question", "status", "claims", "notes", "differences")}


def test_a_finished_run_is_printed_again_and_asks_nothing(tmp_path: Path) -> None:
    log, file = tmp_path / "log", tmp_path / "run.db"
    first = _moot(log, 0, *_ask(file))
    asked = log.read_text()

    again = _moot(log, 0, "resume", str(file), "--json", "--quiet")

    assert (first.returncode, again.returncode) == (0, 0), again.stderr
    assert _essence(first.stdout) == _essence(again.stdout)
    assert log.read_text() == asked


def test_a_file_that_holds_another_run_is_refused(tmp_path: Path) -> None:
    log, file = tmp_path / "log", tmp_path / "run.db"
    _moot(log, 0, *_ask(file))

    other = _moot(log, 0, "research", "What is a qubit?", "--sources", CORPUS, "--durable", str(file))

    assert other.returncode == 2
    assert "holds another run: 'How many noisy qubits" in other.stderr
    assert "moot resume" in other.stderr


@pytest.mark.parametrize(("make", "text"), [(False, "there is no file"), (True, "is damaged")])
def test_a_file_that_holds_no_run_is_one_clear_line(tmp_path: Path, make: bool, text: str) -> None:
    file = tmp_path / "run.db"
    if make:
        file.write_text("no database")

    result = _moot(tmp_path / "log", 0, "resume", str(file))

    assert result.returncode == 2
    assert text in result.stderr
    assert "Traceback" not in result.stderr
