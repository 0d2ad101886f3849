"""Every pattern gets to a right end under every fault, and in a system that is killed again and again.

In simulation the seeds are fresh in each run. On disk the process is killed with SIGKILL after a random number of
turns, until it has got to the end.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from moot import AgentManager, Supervision
from moot.testing import Crashed, Faults, SimulatedManager, simulate
from tests.patterns import life as lives
from tests.patterns import suite
from tests.patterns.scenarios import NAMES

ROOT = Path(__file__).resolve().parent.parent.parent
SEEDS = int(os.environ.get("MOOT_PATTERN_SEEDS", "300"))
KILLS = int(os.environ.get("MOOT_PATTERN_KILLS", "8"))
FAULTS = Faults(drop=0.02, duplicate=0.05, delay=0.05, reorder=0.1, crash=0.02, pause=0.02, slow=0.03)
RESTARTING = Supervision(directives=((Crashed, "restart"),), max_restarts=1000)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.timeout(max(600, SEEDS))
def test_it_ends_right_under_every_fault(name: str) -> None:
    scenario = suite.load(name)

    async def build(manager: SimulatedManager) -> None:
        await suite.play(scenario, manager, {"retry": suite.AGAIN})
        assert scenario.judge(await suite.state_of(manager.shared_state)) == []

    first = int(os.environ.get("MOOT_SIMULATE_START", random.SystemRandom().randrange(1_000_000_000)))
    for seed in range(first, first + SEEDS):
        simulate(
            build,
            seed=seed,
            faults=FAULTS,
            make=lambda **given: SimulatedManager(supervision=RESTARTING, **given),
        ).check()


def life(name: str, path: Path, turns: int) -> bool:
    """One life of a scenario in a file, which is killed after so many turns; whether it got to the end before."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", lives.__file__, name, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    ) as process:
        assert process.stdout is not None
        lines: list[str] = []
        while len(lines) < turns and (line := process.stdout.readline()):
            lines.append(line.strip())
        process.send_signal(signal.SIGKILL)
        rest, errors = process.communicate()
    assert "Traceback" not in errors, errors  # (dead letters are told there, and are no fault)
    return "over" in (*lines, *rest.splitlines())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.timeout(300)
def test_it_ends_right_in_a_system_that_is_killed_again_and_again(name: str, tmp_path: Path) -> None:
    path = tmp_path / "kept.db"
    choice = random.Random(os.environ.get("MOOT_KILL_SEED", name))
    is_over = False
    for kill in range(KILLS):
        is_over = life(name, path, choice.randint(1, 3 + 2 * kill))
        if is_over:
            break
    assert is_over or life(name, path, 1_000_000)

    async def left() -> list[str]:
        async with AgentManager(f"sqlite:///{path}") as manager:
            return suite.load(name).judge(await suite.state_of(manager.shared_state))

    assert asyncio.run(left()) == []
