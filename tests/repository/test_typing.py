"""The type checkers refuse what the API forbids; what they must accept is `typing/api.py`, which the gate checks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

WRONG = """
from moot import AgentManager, Request

class Measure(Request[float]):
    place: str

async def outside(manager: AgentManager) -> None:
    answer = await manager.ask("station", Measure(place="oslo"))
    text: str = answer
    Measure(plaec="oslo")
    Measure(place=1)
    Measure(place="oslo").place = "rome"
"""

COMPLAINTS = {
    9: 'expression has type "float", variable has type "str"',
    10: 'Unexpected keyword argument "plaec"',
    11: 'Argument "place" to "Measure" has incompatible type "int"',
    12: "is read-only",
}


@pytest.mark.slow
def test_mypy_refuses_a_wrong_reply_type_and_wrong_fields(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(WRONG)

    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(wrong)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    errors = [line for line in done.stdout.splitlines() if "error:" in line]
    for line, complaint in COMPLAINTS.items():
        assert any(f"wrong.py:{line}:" in error and complaint in error for error in errors), done.stdout
