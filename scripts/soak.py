"""The soak: the suites of the simulation with many seeds, and their figures as a table. Called by scripts/soak.

Prints a line a suite; `--write` puts the table into benchmarks/SOAK.md. The first seed that fails ends it, with its
report. The suites are those of the gate, which runs a few fresh seeds of each.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.testing.simulation import workflow  # noqa: E402
from tests.testing.simulation.test_workflow import FAULTS, STORM, restarting, stopped_at_a_random_moment  # noqa: E402

from moot.testing import Build, Faults, Search, SimulatedManager, report, search  # noqa: E402


class Suite(NamedTuple):
    """What is simulated, and with which faults."""

    build: Build
    faults: Faults
    make: Callable[..., SimulatedManager] = SimulatedManager


SUITES = {
    "workflow": Suite(workflow.build, FAULTS, restarting),
    "workflow in a storm": Suite(workflow.build, STORM, restarting),
    "workflow, no faults": Suite(workflow.build, Faults()),
    "stop at a random moment": Suite(stopped_at_a_random_moment, FAULTS, restarting),
    "stop, no faults": Suite(stopped_at_a_random_moment, Faults()),
}

HEAD = """\
| suite | seeds | failed | turns | virtual hours | faults | dead letters | minutes |
|---|---|---|---|---|---|---|---|"""


def row(name: str, found: Search, seconds: float) -> str:
    """A suite's line of the table."""
    faults = ", ".join(f"{kind} {count:,}" for kind, count in sorted(found.struck.items())) or "none"
    dead = ", ".join(f"{reason} {count:,}" for reason, count in sorted(found.dead_letters.items())) or "none"
    failed = 0 if found.first is None else 1
    return (
        f"| {name} | {found.seeds:,} | {failed} | {found.turns:,} | {found.seconds / 3600:,.1f} "
        f"| {faults} | {dead} | {seconds / 60:.1f} |"
    )


def main() -> int:
    """Run the suites; 0 if all seeds hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--suite", choices=SUITES)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    rows = [HEAD]
    print(HEAD, flush=True)
    for name, suite in SUITES.items():
        if options.suite not in (None, name):
            continue
        began = time.monotonic()
        seeds = range(options.start, options.start + options.seeds)
        found = search(suite.build, seeds=seeds, faults=suite.faults, make=suite.make)
        rows.append(row(name, found, time.monotonic() - began))
        print(rows[-1], flush=True)
        if found.shrunk is not None:
            line = f"scripts/soak --suite {name!r} --start {found.shrunk.seed} --seeds 1"
            print(f"\n{report(found.shrunk, line)}")
            return 1
    if options.write:
        machine = f"Python {platform.python_version()}, {os.cpu_count()} cores"
        command, today = f"scripts/soak --seeds {options.seeds} --start {options.start}", datetime.now(UTC).date()
        text = f"# Soak\n\n`{command}`, {today}, {machine}.\n\n"
        (ROOT / "benchmarks/SOAK.md").write_text(text + "\n".join(rows) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
