"""A test marked `simulate` is run with many seeds; what fails is reported, with the line that runs it again."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.testing.simulation.feeding import FEEDING

TESTS = f"""{FEEDING}
import pytest
from moot.testing import Faults

async def all_seen(manager):
    seen = await fed(manager)
    await asyncio.sleep(30)
    return seen

RUNS = []

@pytest.mark.simulate(seeds=7, faults=Faults(delay=0.2))
async def test_holds(simulated, tmp_path):
    RUNS.append(tmp_path)
    assert sorted(await all_seen(simulated)) == list(range(10))

def test_ran_seven_times():
    assert len(RUNS) == 7
    assert len(set(RUNS)) == 1

@pytest.mark.simulate(seeds=500, faults=Faults(drop=0.1, delay=0.2))
async def test_breaks(simulated):
    assert 7 in await all_seen(simulated), "item 7 never came"

def test_unmarked(simulated):
    pass
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers -p moot.testing.pytest_plugin\n")
    return tmp_path


def run(here: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)


def test_a_marked_test_is_run_with_many_seeds(here: Path) -> None:
    done = run(here, "-k", "holds or seven")

    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_a_failure_shows_the_report_and_its_line_runs_it_again(here: Path) -> None:
    done = run(here, "-k", "breaks")

    assert done.returncode == 1
    assert "item 7 never came" in done.stdout
    assert "faults that struck: 1: drop@feeder>sink#8" in done.stdout
    replay = next(line for line in done.stdout.splitlines() if line.startswith("replay: ")).removeprefix("replay: ")
    again = run(here, *shlex.split(replay)[1:])
    assert again.returncode == 1
    assert replay in again.stdout


def test_the_number_of_seeds_can_be_given(here: Path) -> None:
    done = run(here, "-k", "holds or seven", "--simulate-seeds", "2")

    assert "assert 2 == 7" in done.stdout


def test_the_fixture_needs_the_mark(here: Path) -> None:
    done = run(here, "-k", "unmarked")

    assert done.returncode == 1
    assert "mark the test with @pytest.mark.simulate" in done.stdout
