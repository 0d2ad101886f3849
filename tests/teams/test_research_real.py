"""With a real server: it is killed in the middle of a run, and what was found until then is kept.

The model's words do not matter here, so the smallest one will do.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from moot.engine.models.cache import ModelState, cached_path, model_state
from moot.engine.models.catalogue import find_model
from moot.engine.openai import OpenAIEngine
from moot.teams.research import Progress, Report, ResearchTeam

ROOT = Path(__file__).parents[2]
QUESTION = "How many noisy qubits are needed to factor RSA-2048?"


def _model() -> str:
    """``MOOT_TEST_MODEL``, or the tiny model of the cache, or nothing."""
    tiny = find_model("tiny")
    if tiny is not None and model_state(tiny) is ModelState.READY:
        return os.environ.get("MOOT_TEST_MODEL", str(cached_path(tiny)))
    return os.environ.get("MOOT_TEST_MODEL", "")


MODEL = _model()
pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(not Path(MODEL).is_file(), reason="MOOT_TEST_MODEL names no model file, and the cache has none"),
]


@pytest.fixture
def server() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    pytest.importorskip("xllamacpp")
    command = [sys.executable, str(ROOT / "tests" / "engine" / "llama_server.py"), MODEL]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
        process.kill()


def test_a_server_that_is_killed_leaves_a_partial_report(server: tuple[str, subprocess.Popen[str]]) -> None:
    address, process = server

    def kill_after_the_plan(progress: Progress) -> None:
        if "looks for" in progress.text:
            process.kill()
            process.wait()

    async def ask() -> Report:
        engine = OpenAIEngine("test", f"{address}/v1")
        try:
            async with ResearchTeam([ROOT / "examples" / "corpus"], engine=engine) as team:
                return await team.research(QUESTION, depth="brief", on_progress=kill_after_the_plan)
        finally:
            await engine.close()

    report = asyncio.run(ask())

    assert report.status == "partial"
    assert "not available" in report.notices[0]
    assert sum(use.calls for use in report.statistics.agents) == 1
    assert any("20 million" in note.quote for note in report.notes)
