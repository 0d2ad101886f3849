"""Durable turns against a bare writer thread and against rivals, interleaved in one run; writes DURABLE.md.

    .venv/bin/python benchmarks/durable.py            # 9 rounds, about 11 minutes
    .venv/bin/python benchmarks/durable.py --quick    # 3 rounds; prints only

All at full sync. A figure is the median over the rounds of that round's ratio of turns a second, above 1 Moot is
faster. Turns a second are of wall time, because what is measured is mostly the waiting for a disk; CPU time is beside.
The rivals need `benchmarks/rivals/setup.sh` first.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from run import described, machine, summary

HERE = Path(__file__).resolve().parent
RIVALS_PYTHON = HERE.parent / ".venv-durable/bin/python"


class Load(NamedTuple):
    """A row: so many agents; ``busy`` is the share of the time that something else keeps the event loop busy."""

    text: str
    agents: int
    busy: float = 0.0
    must: float | None = None
    rivals: bool = False


LOADS = [
    Load("1 agent", 1),
    Load("8 agents", 8, rivals=True),
    Load("64 agents", 64, must=0.6, rivals=True),
    Load("64 agents, loop half busy", 64, busy=0.5),
]
RIVALS = {"LangGraph": "langgraph_durable.py", "DBOS": "dbos_durable.py"}


def measure(*command: str | Path) -> dict[str, float]:
    """Run a program; its figures."""
    done = subprocess.run([str(part) for part in command], check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def compare(load: Load, rounds: int, seconds: float) -> dict[str, list[dict[str, float]]]:
    """All programs, interleaved."""
    taken: dict[str, list[dict[str, float]]] = {}
    arguments = (str(load.agents), str(seconds), *((str(load.busy),) if load.busy else ()))
    for _ in range(rounds):
        for name in ("floor", "ours"):
            figures = measure(sys.executable, HERE / f"durable_{name}.py", *arguments)
            taken.setdefault(name, []).append(figures)
        for name, program in RIVALS.items() if load.rivals and RIVALS_PYTHON.exists() else ():
            steps = max(10, 400 // load.agents)
            figures = measure(RIVALS_PYTHON, HERE / "rivals" / program, str(load.agents), str(steps))
            taken.setdefault(name, []).append(figures)
    return taken


def ratio(taken: dict[str, list[dict[str, float]]], name: str) -> str:
    """Ours over theirs, with the range of the rounds."""
    if name not in taken:
        return ""
    figure = summary(
        ours["turns_s"] / theirs["turns_s"] for ours, theirs in zip(taken["ours"], taken[name], strict=True)
    )
    digits = 0 if figure["median"] >= 10 else 2
    return f"**{figure['median']:,.{digits}f}** ({figure['low']:,.{digits}f}–{figure['high']:,.{digits}f})"


def row(load: Load, taken: dict[str, list[dict[str, float]]]) -> str:
    """One load's line."""

    def median(name: str, figure: str) -> float:
        return statistics.median(figures[figure] for figures in taken[name])

    return " | ".join(
        [
            f"| {load.text}",
            f"{median('ours', 'turns_s'):,.0f}",
            f"{median('ours', 'cpu_us'):.1f} µs",
            f"{median('floor', 'turns_s'):,.0f}",
            f"{median('floor', 'cpu_us'):.1f} µs",
            ratio(taken, "floor"),
            f"≥ {load.must}" if load.must else "",
            *(ratio(taken, name) for name in list(RIVALS)[:-1]),
            f"{ratio(taken, list(RIVALS)[-1])} |",
        ]
    )


def main() -> int:
    """Run everything and report; exit 1 when a figure that must be reached is not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 rounds; writes nothing")
    options = parser.parse_args()
    rounds, seconds = (3, 1.0) if options.quick else (9, 2.0)
    results = [(load, compare(load, rounds, seconds)) for load in LOADS]
    lines = [
        "# Durable turns",
        "",
        described(machine()),
        "",
        "A turn takes a message, changes its agent's state and sends the next message; when the time is taken, all of",
        "it is on the disk, fully synced. Turns a second of wall time, CPU time a turn; a ratio is the median of",
        f"{rounds} interleaved rounds (lowest–highest), above 1 Moot is faster. The floor is a bare writer thread: it",
        "commits the same rows in batches; its tasks wait for each commit, where Moot goes on and holds back only what",
        "leaves the process, so a batch of Moot's may hold several turns of an agent. LangGraph 1.2.22 with its",
        "asynchronous SQLite saver (WAL, full sync, `durability=sync`) and DBOS 3.4.0 (rollback journal, as it comes)",
        "do the same work as a node that loops and as a workflow of steps; a step of theirs passes a state on and",
        "sends no mail.",
        "",
        "| load | Moot, turns/s | CPU | floor, turns/s | CPU | × floor | must | × LangGraph | × DBOS |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(row(load, taken) for load, taken in results),
        "",
        "Rerun: `benchmarks/rivals/setup.sh && .venv/bin/python benchmarks/durable.py`",
        "",
    ]
    text = "\n".join(lines)
    print(text)
    if not options.quick:
        (HERE / "DURABLE.md").write_text(text)
    missed = [
        load.text
        for load, taken in results
        if load.must
        and load.must
        > statistics.median(
            ours["turns_s"] / floor["turns_s"] for ours, floor in zip(taken["ours"], taken["floor"], strict=True)
        )
    ]
    for name in missed:
        print(f"missed: {name}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
