"""The demos of `moot demo`: the same seed prints the same lines in every process, and no warning is raised."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from moot.cli.demo import DEMOS

SHOWN = {
    "saga": ["all undone"],
    "blackboard": ["solved after"],
    "market": ["theory 667", "\nenglish", "\nvickrey", "\nfirst price", "\ndutch"],
}


def shown(name: str, hash_seed: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "from moot.cli import main; main()", "demo", name, "--seed", "3"],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", DEMOS)
def test_a_demo_shows_the_same_for_the_same_seed(name: str) -> None:
    lines = shown(name, "1")

    assert len(lines.splitlines()) > 3
    assert shown(name, "2") == lines
    assert [text for text in SHOWN.get(name, []) if text not in lines] == []
