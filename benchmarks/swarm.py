"""Flocks: agent-steps a second by engine and size, against Mesa, and with an agent for each boid; writes SWARM.md.

    .venv/bin/python benchmarks/swarm.py            # 9 rounds
    .venv/bin/python benchmarks/swarm.py --quick    # 3 rounds, about a minute

All is measured once in each round, one after the other. Time is CPU time; the best of the rounds, which other work on
the machine can only lower, stands beside their median. The rival needs `benchmarks/rivals/setup.sh` first.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from measure import Watch
from moot import AgentManager
from moot.patterns.swarm import Boids, Box, Flock, Fly, swarm_of
from moot.patterns.swarm.flock import EngineName
from run import described, machine, summary

HERE = Path(__file__).resolve().parent
RIVAL_PYTHON = HERE.parent / ".venv-mesa/bin/python"
RIVAL = (RIVAL_PYTHON, HERE / "rivals/mesa_flock.py")
NEIGHBOURS = 20.0
MESA_LIKE = Boids(r=10.0, speed=1.0)
AGENTS = 1_000
MUST_RIVAL = 60


class Row(NamedTuple):
    """A measurement: what it is, how often a second something happens, and how often it must."""

    text: str
    rate: Callable[[], float]
    must: float | None = None


def flown(engine: EngineName, n: int, steps: int) -> float:
    """Agent-steps a second, from random places and headings, about 20 neighbours each."""
    flock = Flock(n, box=Box.around(n, neighbours=NEIGHBOURS), seed=1, engine=engine).step()
    watch = Watch()
    flock.step(steps)
    return n * steps / watch.stop().cpu


def as_mesa(engine: EngineName, n: int, steps: int) -> float:
    """The same at the density of Mesa's defaults: about three neighbours."""
    flock = Flock(n, MESA_LIKE, box=Box.cube(10.0 * n**0.5), seed=1, engine=engine).step()
    watch = Watch()
    flock.step(steps)
    return n * steps / watch.stop().cpu


def mesa(n: int, steps: int) -> float:
    """Agent-steps a second of the rival, in its own process."""
    command = [str(part) for part in (*RIVAL, n, steps)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return n / float(json.loads(done.stdout.splitlines()[-1])["cpu_s"])


def with_agents(ticks: int = 20) -> float:
    """Ticks a second of a thousand boids, each an agent, about twelve neighbours each."""

    async def main() -> float:
        async with AgentManager() as manager:
            for agent in swarm_of(Flock(AGENTS, seed=1, engine="kdtree"), patience=60.0):
                await manager.register(agent)
            await manager.ask("swarm", Fly(1), timeout=60)
            watch = Watch()
            await manager.ask("swarm", Fly(1 + ticks), timeout=600)
            return ticks / watch.stop().cpu

    return asyncio.run(main())


SPEEDS = [
    Row("numba, 1,000 boids", lambda: flown("numba", 1_000, 100)),
    Row("numba, 10,000", lambda: flown("numba", 10_000, 30), 1_000_000),
    Row("numba, 100,000", lambda: flown("numba", 100_000, 4), 1_000_000),
    Row("kdtree, 1,000", lambda: flown("kdtree", 1_000, 50), 150_000),
    Row("kdtree, 10,000", lambda: flown("kdtree", 10_000, 8), 150_000),
    Row("kdtree, 100,000", lambda: flown("kdtree", 100_000, 2), 150_000),
    Row("numpy (the definition), 1,000", lambda: flown("numpy", 1_000, 3)),
]
AGAINST = [
    Row("numba", lambda: as_mesa("numba", 1_000, 300)),
    Row("kdtree", lambda: as_mesa("kdtree", 1_000, 300)),
    Row("Mesa", lambda: mesa(1_000, 15)),
]
ACTORS = Row(f"{AGENTS:,} boids, each an agent", with_agents, 20)


def measured(rounds: int) -> dict[str, list[float]]:
    """Each row's rates, interleaved."""
    against = AGAINST if RIVAL_PYTHON.exists() else AGAINST[:-1]
    taken: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        for group, rows in (("", SPEEDS), ("against ", against), ("", [ACTORS])):
            for row in rows:
                if number:
                    taken.setdefault(group + row.text, []).append(row.rate())
                elif row.text.startswith("numba"):
                    row.rate()  # compiles
    return taken


def lines_of(rows: list[Row], taken: dict[str, list[float]]) -> list[str]:
    """Best and median of each row."""
    return [
        f"| {row.text} | {max(taken[row.text]):,.0f}/s | {statistics.median(taken[row.text]):,.0f}/s "
        f"| {f'≥ {row.must:,.0f}/s' if row.must else ''} |"
        for row in rows
    ]


def rivalry(taken: dict[str, list[float]]) -> list[str]:
    """Ours over Mesa's, round by round."""
    theirs = taken.get("against Mesa")
    if theirs is None:
        return ["Mesa was not set up.", ""]
    found = ["| 1,000 boids at Mesa's density | agent-steps/s, median | × Mesa, median (lowest–highest) | must |"]
    found.append("|---|---:|---:|---:|")
    for name, must in (("numba", ""), ("kdtree", f"≥ {MUST_RIVAL}"), ("Mesa", "")):
        ours = taken[f"against {name}"]
        ratio = summary(mine / other for mine, other in zip(ours, theirs, strict=True))
        text = f"**{ratio['median']:.0f}** ({ratio['low']:.0f}–{ratio['high']:.0f})" if name != "Mesa" else "1"
        found.append(f"| {name} | {statistics.median(ours):,.0f} | {text} | {must} |")
    return [*found, ""]


def missed(taken: dict[str, list[float]]) -> list[str]:
    """What did not reach in its best round what it must."""
    slow = [row.text for row in (*SPEEDS, ACTORS) if row.must and max(taken[row.text]) < row.must]
    theirs = taken.get("against Mesa")
    if theirs and statistics.median(taken["against kdtree"]) < MUST_RIVAL * statistics.median(theirs):
        slow.append("kdtree against Mesa")
    return slow


def main() -> int:
    """Measure, print, and write the table; exit 1 when a figure that must be reached is not."""
    rounds = 3 if "--quick" in sys.argv else 9
    about = machine()
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "scipy", "numba"))
    taken = measured(rounds)
    lines = [
        "# Swarm",
        "",
        described(about),
        "",
        f"{versions}, Mesa 3.3.1. CPU time, {rounds} interleaved rounds, best and median: where the two are far",
        "apart, other work was on the machine. In 2 dimensions, periodic, from random headings.",
        "",
        "| agent-steps, about 20 neighbours | best | median | must |",
        "|---|---:|---:|---:|",
        *lines_of(SPEEDS, taken),
        "",
        "| ticks, about 12 neighbours | best | median | must |",
        "|---|---:|---:|---:|",
        *lines_of([ACTORS], taken),
        "",
        *rivalry(taken),
        "Mesa's `boid_flockers` has the same three rules; its boids move one after the other, with weights of its own.",
        "Both begin with random headings and have about three neighbours. The ratio is that of the same round.",
        "",
        "Rerun: `benchmarks/rivals/setup.sh && .venv/bin/python benchmarks/swarm.py`",
        "",
    ]
    text = "\n".join(lines)
    print(text)
    (HERE / "SWARM.md").write_text(text)
    if slow := missed(taken):
        print("not reached:", ", ".join(slow), file=sys.stderr)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
