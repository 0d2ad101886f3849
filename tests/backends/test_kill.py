"""A system that is killed at any moment goes on as if nothing had happened: nothing lost, nothing twice, nothing half.

SIGKILL leaves the page cache, so this proves atomicity and recovery; that a sync comes before an acknowledgement is
proved in simulation (`test_lives.py`).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.backends import bank

KILLS = int(os.environ.get("MOOT_KILLS", "24"))


def killed_after(path: Path, run: str, lines: int) -> int:
    """Run the bank, kill it after so many lines; how many deposits it had acknowledged by then."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", bank.__file__, str(path), run],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    seen = []
    for _ in range(lines):
        line = process.stdout.readline()
        if not line:
            break
        seen.append(line)
    process.send_signal(signal.SIGKILL)
    rest, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    assert not errors, errors
    return sum(line.strip().isdecimal() for line in (*seen, *rest.splitlines()))


@pytest.mark.timeout(600)
def test_ten_agents_that_are_killed_again_and_again_lose_and_repeat_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bank.db"
    choice = random.Random(os.environ.get("MOOT_KILL_SEED", "1"))
    acknowledged = tried = 0
    for run in range(KILLS):
        done = killed_after(path, str(run), choice.randrange(60))
        acknowledged += done
        tried += done + 1  # one more may have been accepted, and its line not be written
        wrong = bank.audit(path, acknowledged, tried) + bank.repeated_effects(tmp_path / "effects")

        assert not wrong, (run, wrong)
    assert acknowledged > KILLS
