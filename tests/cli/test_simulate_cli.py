"""`moot simulate` tries seeds, reports the first that fails, how to run it again, and ends with 0, 1 or 2."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.testing.simulation.feeding import FEEDING

PROGRAM = f"""{FEEDING}
holds = fed

async def breaks(manager):
    seen = await holds(manager)
    await asyncio.sleep(30)
    assert 7 in seen, "item 7 never came"

async def hashes(manager):
    await manager.register(Sink("sink", []))
    for name in {{"ada", "bob", "eve", "kim", "joe", "sue"}}:
        await manager.tell("sink", Item(number=len(name)), message_type=name)
    raise ValueError("broken")

number = 1
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


def moot(here: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from moot.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)


def test_seeds_that_hold_are_counted(here: Path) -> None:
    done = moot(here, "simulate", "program:holds", "--seeds", "5", "--faults", "delay=0.2")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5 seed(s) hold: 55 turns")
    assert "delay" in done.stdout


def test_the_first_seed_that_fails_is_reported_and_its_line_runs_it_again(here: Path) -> None:
    done = moot(here, "simulate", "program:breaks", "--start", "100", "--faults", "drop=0.2,delay=0.2")

    assert done.returncode == 1
    assert "item 7 never came" in done.stdout
    assert "faults that struck: 1: drop@feeder>sink#8" in done.stdout
    assert "not repeatable" not in done.stdout
    replay = done.stdout.splitlines()[-1].removeprefix("replay: ")
    again = moot(here, *shlex.split(replay)[1:])
    assert again.returncode == 1
    assert again.stdout.partition("digest ")[2].split()[0] == done.stdout.partition("digest ")[2].split()[0]


def test_the_result_can_be_had_as_json(here: Path) -> None:
    done = moot(here, "simulate", "program:breaks", "--faults", "drop=0.2", "--json")

    result = json.loads(done.stdout)

    assert done.returncode == 1
    assert result["failing"]["faults"] == ["drop@feeder>sink#8"]
    assert result["failing"]["failure"] == "AssertionError"
    assert result["repeatable"] is True
    assert result["replay"].startswith("moot simulate program:breaks --seed")


def test_a_failure_that_depends_on_the_order_of_hashes_is_said_to(here: Path) -> None:
    done = moot(here, "simulate", "program:hashes", "--seeds", "1")

    assert done.returncode == 1
    assert "not repeatable: in another process the digest is" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["program:nothing"], "has no 'nothing'"),
        (["program:number"], "is of type int, not a function"),
        (["program:holds", "--faults", "fire=1"], "there is no fault 'fire'"),
        (["program:holds", "--faults", "drop=2"], "between 0 and 1"),
        (["program:holds", "--only", "drop"], "is no fault"),
        (["program"], "is not MODULE:APP"),
    ],
    ids=["unknown", "no function", "unknown fault", "probability", "only", "no target"],
)
def test_what_cannot_be_run_is_one_line_and_exit_code_2(here: Path, arguments: list[str], says: str) -> None:
    done = moot(here, "simulate", *arguments)

    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
