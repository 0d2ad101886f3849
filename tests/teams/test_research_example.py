"""The example of the research team prints what it claims, within 80 lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "08_research_team.py"


def test_the_example_answers_with_places_and_shows_where_sources_differ() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "MOOT_ENGINE"}

    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE)], capture_output=True, text=True, check=False, env=environment
    )

    assert done.returncode == 0, done.stderr
    assert "'writing': ['writer_1']" in done.stdout
    assert "20 million noisy physical qubits and about 8 hours. [quantum-algorithms.md:16]" in done.stdout
    assert "sources differ: 20 million noisy physical qubits against one million" in done.stdout
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 80
