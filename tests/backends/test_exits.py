"""However a program ends, the next one goes on as after a kill: nothing lost, nothing twice, nothing half.

The bank of the kill test is ended in every way of `tests.backends.exiting`: by signals at random moments, by timeouts,
by errors, by what its own handlers do. Its books are read after each.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.backends import bank, exiting

EXITS = int(os.environ.get("MOOT_EXITS", "21"))


def ended(path: Path, run: str, how: str, choice: random.Random) -> int:
    """Run the bank and let it end; how many deposits it had acknowledged by then."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", exiting.__name__, str(path), run, how, str(choice.random())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    seen = []
    if how in exiting.SIGNALS:
        for _ in range(choice.randrange(1, 60)):
            line = process.stdout.readline()
            if not line:
                break
            seen.append(line)
        for number in exiting.SIGNALS[how]:
            process.send_signal(number)
            time.sleep(choice.choice([0, 0.001, 0.01, 0.05]))  # nothing is waited for: it is the moment of the next one
    try:
        rest, errors = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        pytest.fail(f"run {run} does not end after {how!r}: {process.communicate()[1][-2000:]}")
    assert "ready" in "".join(seen) + rest or how in exiting.SIGNALS, errors
    assert "BackendDamaged" not in errors, errors
    return sum(line.strip().isdecimal() for line in (*seen, *rest.splitlines()))


@pytest.mark.timeout(3600)
def test_a_bank_that_ends_in_every_way_loses_and_repeats_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bank.db"
    choice = random.Random(os.environ.get("MOOT_EXIT_SEED", "1"))
    ways: list[str] = []
    acknowledged = tried = 0
    for run in range(EXITS):
        ways = ways or choice.sample(exiting.WAYS, len(exiting.WAYS))
        how = ways.pop()
        done = ended(path, str(run), how, choice)
        acknowledged += done
        tried += done + 1  # one more may have been accepted, and its line not be written
        wrong = bank.audit(path, acknowledged, tried) + bank.repeated_effects(tmp_path / "effects")

        assert not wrong, (run, how, wrong)
        assert not bank.dead_letters(path), (run, how)
    assert acknowledged > EXITS
