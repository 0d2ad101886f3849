"""What each mechanism costs: the basic workloads with one of them switched on, against none, interleaved in one run.

    .venv/bin/python benchmarks/features.py            # 9 rounds; writes FEATURES.md
    .venv/bin/python benchmarks/features.py --quick    # 3 rounds; prints only

The ratio is CPU time with the mechanism over CPU time without, the median of the rounds: 1.10 is a tenth more.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from ours import FEATURES, RELIABILITY, WORKLOADS
from run import OURS, Workload, described, machine, measure

HERE = Path(__file__).resolve().parent
TITLES = {"on": ", ".join(RELIABILITY), "all": "all of these"}
SIZES = {"tell": 100_000, "ask": 20_000, "ask_in_turn": 20_000}


def costs(name: str, rounds: int) -> dict[str, float]:
    """The ratio of each feature, and of all of them, for one workload."""
    switches = ["", *(f"+{feature}" for feature in FEATURES), "+on", "+all"]
    taken: dict[str, list[float]] = {switch: [] for switch in switches}
    for _ in range(rounds):
        for switch in switches:
            workload = Workload(f"{name}{switch}", "", SIZES[name], has_rival=False)
            taken[switch].append(measure(OURS, workload, 1.0)["cpu_us"])
    return {
        switch.removeprefix("+"): statistics.median(
            with_it / without for with_it, without in zip(taken[switch], taken[""], strict=True)
        )
        for switch in switches[1:]
    }


def main() -> None:
    """Measure, print, and write the table."""
    quick = "--quick" in sys.argv
    by_workload = {name: costs(name, 3 if quick else 9) for name in WORKLOADS}
    lines = [
        "# What each mechanism costs",
        "",
        described(machine()),
        "",
        "CPU time with the mechanism over CPU time without; median of interleaved rounds. What is not listed is on in",
        "both: deadlock detection, supervision's bookkeeping, liveness.",
        "",
        "| mechanism | tell | ask from outside | ask in a turn |",
        "|---|---:|---:|---:|",
        *(
            f"| {TITLES.get(feature, feature)} | "
            + " | ".join(f"{by_workload[name][feature]:.2f}" for name in WORKLOADS)
            + " |"
            for feature in [*FEATURES, *TITLES]
        ),
        "",
        "Rerun: `.venv/bin/python benchmarks/features.py`",
        "",
    ]
    text = "\n".join(lines)
    print(text)
    if not quick:
        page = HERE / "FEATURES.md"
        _, heading, rest = page.read_text().partition("\n## ")  # (what was measured in other ways)
        page.write_text(text + heading + rest)


if __name__ == "__main__":
    main()
