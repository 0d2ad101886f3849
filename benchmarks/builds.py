"""Two builds of Moot beside each other, interleaved in one run; prints the ratios.

    .venv/bin/python benchmarks/builds.py --against CHECKOUT               # 21 rounds
    .venv/bin/python benchmarks/builds.py --against CHECKOUT --rounds 5 --only tell ask

CHECKOUT is another checkout of this repository, an earlier commit for example. In each round both builds run each
workload three times, in processes of their own, one after the other, and the lowest CPU time of each counts. A figure
is the median over the rounds of that round's ratio: above 1 this build is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TRIES = 3

WORKLOADS = {
    "tell": 100_000,
    "ask": 20_000,
    "ask_in_turn": 20_000,
    "tell+on": 100_000,
    "ask+on": 20_000,
    "ask_in_turn+on": 20_000,
    "fan_out": 100,
    "fan_out_gather": 100,
    "hierarchy": 100,
    "tree": 11_111,
}
IMPORT = "import time; began = time.process_time(); from moot import *; print(time.process_time() - began)"


def output_of(root: Path, *command: str) -> str:
    """What Python prints for a command, with the build of that checkout."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{root}: {' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


def workload(name: str, size: int) -> Callable[[Path], float]:
    """CPU microseconds an operation of a workload of `ours`."""
    return lambda root: float(json.loads(output_of(root, "benchmarks/ours.py", name, str(size)))["cpu_us"])


def asks_on_a_file(root: Path) -> float:
    """CPU microseconds of an ask in a turn on a file; both builds run this build's workload."""
    ours = str(ROOT / "benchmarks/ours.py")
    return float(json.loads(output_of(root, ours, "ask_in_turn_durable", "5000"))["cpu_us"])


def durable(root: Path) -> float:
    """CPU microseconds of a durable turn."""
    return float(json.loads(output_of(root, "benchmarks/durable_ours.py", "64", "1"))["cpu_us"])


def importing(root: Path) -> float:
    """CPU seconds of the import of all public names."""
    return float(output_of(root, "-c", IMPORT))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--against", type=Path, required=True, help="another checkout")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--only", nargs="*", help="some of the rows")
    options = parser.parse_args()
    rows = {name: workload(name, size) for name, size in WORKLOADS.items()}
    rows |= {"durable turn": durable, "ask in a turn, durable": asks_on_a_file, "import all names": importing}
    chosen = {name: run for name, run in rows.items() if not options.only or name in options.only}
    ratios: dict[str, list[float]] = {name: [] for name in chosen}
    for turn in range(options.rounds):
        for name, run in chosen.items():
            sides = [options.against.resolve(), ROOT]
            if turn % 2:
                sides.reverse()
            lowest = {side: min(run(side) for _ in range(TRIES)) for side in sides}
            ratios[name].append(lowest[options.against.resolve()] / lowest[ROOT])
    print("| workload | this build to the other (lowest-highest) |\n|---|---:|")
    for name, values in ratios.items():
        print(f"| {name} | **{statistics.median(values):.3f}** ({min(values):.2f}-{max(values):.2f}) |")


if __name__ == "__main__":
    main()
