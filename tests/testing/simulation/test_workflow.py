"""A workflow of twenty agents holds under every fault, and stops at any moment without losing or leaving anything.

Under drop, duplicate, delay, reorder, crash, pause and slowness: messages of a pair are handled in order, take effect
once, every ask ends, nothing accepted is lost. Stopped at a random moment, draining for a random time or not at all:
no future is stranded, no accepted message is lost. The seeds are fresh in every run; a failure prints its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from moot import AgentManager, MootError, Supervision
from moot.testing import Crashed, Faults, SimulatedManager, simulate
from tests.testing.simulation import workflow

ROOT = Path(__file__).resolve().parent.parent.parent.parent
FAULTS = Faults(drop=0.03, duplicate=0.05, delay=0.05, reorder=0.1, crash=0.02, pause=0.02, slow=0.03)
STORM = Faults(drop=0.2, duplicate=0.2, delay=0.3, reorder=0.5, crash=0.2, pause=0.1, slow=0.2)
RESTARTING = Supervision(directives=((Crashed, "restart"),), max_restarts=1000)


def restarting(**given: Any) -> SimulatedManager:
    return SimulatedManager(supervision=RESTARTING, **given)


@pytest.mark.simulate(seeds=300, faults=FAULTS, make=restarting)
async def test_it_holds_under_every_fault(simulated: SimulatedManager) -> None:
    await workflow.build(simulated)


@pytest.mark.simulate(seeds=50, faults=STORM, make=restarting)
async def test_it_holds_in_a_storm_of_faults(simulated: SimulatedManager) -> None:
    await workflow.build(simulated)


@pytest.mark.simulate(seeds=50)
async def test_it_holds_in_any_order_when_nothing_fails(simulated: SimulatedManager) -> None:
    await workflow.build(simulated)


async def stopped_at_a_random_moment(manager: SimulatedManager) -> None:
    """Drive the workflow, and stop the manager in the middle of it."""
    driver = asyncio.ensure_future(workflow.build(manager))
    dice = manager.random
    await asyncio.sleep(dice.choice((0, 0.001, dice.random(), 20 * dice.random())))
    drain = dice.random() < 0.5
    await manager.stop(drain=drain, timeout=dice.choice((0.0, 0.5, 10.0)) if drain else 10.0)
    with contextlib.suppress(MootError):
        await driver


@pytest.mark.simulate(seeds=200, faults=FAULTS, make=restarting)
async def test_a_stop_at_any_moment_strands_and_loses_nothing(simulated: SimulatedManager) -> None:
    await stopped_at_a_random_moment(simulated)


@pytest.mark.simulate(seeds=100)
async def test_a_stop_at_any_moment_strands_and_loses_nothing_when_nothing_fails(simulated: SimulatedManager) -> None:
    await stopped_at_a_random_moment(simulated)


PRINT_DIGEST = """
from moot.testing import simulate
from tests.testing.simulation.test_workflow import FAULTS, restarting
from tests.testing.simulation.workflow import build
for seed in range(3):
    print(simulate(build, seed=seed, faults=FAULTS, make=restarting).digest)
"""


def digests(hash_seed: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PRINT_DIGEST],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_a_seed_is_the_same_run_in_every_process() -> None:
    here = [simulate(workflow.build, seed=seed, faults=FAULTS, make=restarting).digest for seed in range(3)]

    assert digests("1") == here
    assert digests("271828") == here
    assert len(set(here)) == 3


def test_what_runs_in_production_runs_in_simulation_as_it_is() -> None:
    async def program(manager: AgentManager) -> None:  # as `moot run` takes it
        await manager.register(workflow.Foreman("foreman"))

    assert simulate(program, seed=0).check().turns == 0
