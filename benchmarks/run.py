"""Compare Moot with its floors, a rival and a Rust program, interleaved in one run, and write the table.

    .venv/bin/python benchmarks/run.py            # 9 rounds; writes RESULTS.md and RESULTS.json
    .venv/bin/python benchmarks/run.py --quick    # 3 rounds, smaller; prints only

In each round every program runs each workload three times, in processes of their own, one program after the other,
and its lowest CPU time counts: a neighbour on the machine can only make it longer. A figure is the median over the
rounds of that round's ratio, so that what else the machine did in a round hits both sides. Above 1 is faster than the
other side. The rival and the Rust program need `benchmarks/rivals/setup.sh` first; without it their columns are empty.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

TRIES = 3

HERE = Path(__file__).resolve().parent
RIVAL_PYTHON = HERE.parent / ".venv-autogen/bin/python"
RUST_PROGRAM = HERE / "rivals/rust_reference/target/release/rustref"

Figures = dict[str, float]


class Program(NamedTuple):
    """One side of the comparison: what runs it, and how its sizes compare (a slow program runs fewer operations)."""

    name: str
    command: tuple[str, ...]
    share: float = 1.0


class Workload(NamedTuple):
    """A row of the table. ``must`` is the least ratio to the floor, ``must_rival`` the least to the rival.

    The others run what is ``NAME`` for them where ours runs ``NAME+on``: the same, with every mechanism switched on.
    """

    name: str
    text: str
    size: int
    must: float | None = None
    must_rival: float | None = None
    has_rival: bool = True
    is_in_rust: bool = False


OURS = Program("moot", (sys.executable, str(HERE / "ours.py")))
FLOOR = Program("floor", (sys.executable, str(HERE / "floor.py")))
RIVAL = Program("autogen-core", (str(RIVAL_PYTHON), str(HERE / "rivals/autogen.py")), share=0.05)
RUST = Program("Rust reference", (str(RUST_PROGRAM),), share=10)

COMPARED = [
    Workload("tell", "tell", 100_000, 1.0, is_in_rust=True),
    Workload("ask", "ask from outside", 20_000, 1.4, 25, is_in_rust=True),
    Workload("ask_in_turn", "ask in a turn", 20_000, 1.1, 22),
    Workload("tell+on", "tell, everything on", 100_000, 0.9),
    Workload("ask+on", "ask from outside, everything on", 20_000, 0.9, 20),
    Workload("ask_in_turn+on", "ask in a turn, everything on", 20_000, 0.7, 20),
    Workload("fan_out", "fan out to 100 and collect, by messages", 100, 0.8),
    Workload("fan_out_gather", "fan out to 100 and collect, by `gather`", 100, 0.85),
    Workload("hierarchy", "a manager delegates 100 parts to 100 workers", 200, 0.56, 10),
    Workload("tree", "tree of 11,111 actors, made and asked", 11_111, 0.55, has_rival=False),
]
IDLE = Workload("idle", "100,000 idle agents", 100_000, has_rival=False)
LAG = Workload("lag", "500 asks that compute for 1 ms each, beside a timer of 2 ms", 500, has_rival=False)
GROWTH = Workload("growth", "memory growth from 100,000 to 1,000,000 messages", 1_000_000, has_rival=False)


def measure(program: Program, workload: Workload, shrink: float) -> Figures:
    """Run one workload of one program in a fresh process."""
    size = workload.size
    if workload.name != "tree":
        least = 1000 if size > 1000 else 5
        size = max(least, int(size * shrink * program.share))
    name = workload.name if program is OURS else workload.name.removesuffix("+on")
    command = [*program.command, name, str(size)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    figures: Figures = json.loads(done.stdout)
    return figures


def compare(workload: Workload, rounds: int, shrink: float) -> dict[str, Any]:
    """All programs, ``rounds`` times, interleaved."""
    programs = [FLOOR, OURS]
    if workload.has_rival and RIVAL_PYTHON.exists():
        programs.append(RIVAL)
    if workload.is_in_rust and RUST_PROGRAM.exists():
        programs.append(RUST)
    taken: dict[str, list[float]] = {program.name: [] for program in programs}
    for _ in range(rounds):
        tries = [[measure(program, workload, shrink)["cpu_us"] for program in programs] for _ in range(TRIES)]
        for program, values in zip(programs, zip(*tries, strict=True), strict=True):
            taken[program.name].append(min(values))
    ours = taken[OURS.name]
    return {
        "workload": workload.name,
        "cpu_us": {name: statistics.median(values) for name, values in taken.items()},
        "ratios": {
            name: summary(theirs / mine for theirs, mine in zip(values, ours, strict=True))
            for name, values in taken.items()
            if name != OURS.name
        },
        "raw_cpu_us": taken,
    }


def summary(ratios: Iterable[float]) -> Figures:
    """Median and range."""
    values = sorted(ratios)
    return {"median": statistics.median(values), "low": values[0], "high": values[-1]}


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    rival = "not set up"
    if RIVAL_PYTHON.exists():
        code = "import autogen_core; print(autogen_core.__version__)"
        rival = subprocess.run([RIVAL_PYTHON, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} x {cpu}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "moot": metadata.version("moot"),
        "msgspec": metadata.version("msgspec"),
        "autogen-core": rival,
        "rust": version_of("rustc") if RUST_PROGRAM.exists() else "not built",
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def version_of(command: str) -> str:
    """The version that a command tells."""
    if shutil.which(command) is None:
        return "unknown"
    told = subprocess.run([command, "--version"], check=True, capture_output=True, text=True).stdout
    return told.split()[1]


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    idle, growth, lag, rounds = results["idle"], results["growth"], results["lag"], results["rounds"]
    ours, floor = idle["moot"], idle["floor"]
    lines = [
        "# Benchmarks",
        "",
        described(results["machine"]),
        "",
        f"CPU time per operation; a ratio is the median of {rounds} interleaved rounds (lowest–highest) of the best of",
        f"{TRIES} runs each, above 1 Moot is faster. The floor is a bare `asyncio.Queue` actor without types, bounds,",
        'errors or retries; for asks (and for `gather`), a future per request over the same queues. "Everything on" is',
        "a dropping mailbox, run timeouts, restarting supervision, circuit breakers, deadlock detection and liveness,",
        "at once; `features.py` says what each costs, and rate limits, an observer and deduplication. The Rust",
        "reference is a program in Rust that delivers and answers messages, without mailboxes, retries or supervision",
        "(`rivals/rust_reference`). The ratios count, not the times.",
        "",
        "| workload | Moot | floor | × floor | must | × autogen-core | must | × Rust reference |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        *(row(workload, result) for workload, result in zip(COMPARED, results["compared"], strict=True)),
        "",
        "| figure | Moot | floor | must |",
        "|---|---:|---:|---:|",
        f"| idle agent, bytes | {ours['bytes_per_agent']:,.0f} | {floor['bytes_per_agent']:,.0f} | ≤ 560 |",
        f"| 100,000 agents registered, CPU seconds | {ours['cpu_s']:.2f} | {floor['cpu_s']:.2f} | ≤ 3 |",
        f"| a timer of 2 ms beside asks that compute for 1 ms each, ms late at most | {lag['worst_ms']:.1f} | | ≤ 5 |",
        f"| memory after 1,000,000 messages less after 100,000, MB | {growth['grown_mb']:.2f} | | ≤ 5 |",
        "",
        "Rerun: `benchmarks/rivals/setup.sh && .venv/bin/python benchmarks/run.py`",
        "",
    ]
    return "\n".join(lines)


def write_into_readme(text: str) -> None:
    """Put the results, but for their title, between the README's marks."""
    readme = HERE.parent / "README.md"
    before, begin, rest = readme.read_text().partition("<!-- figures: written by benchmarks/run.py -->\n")
    _, end, after = rest.partition("<!-- end of figures -->")
    figures = text.partition("\n\n")[2]
    readme.write_text(f"{before}{begin}\n{figures}\n{end}{after}")


def described(about: dict[str, str]) -> str:
    """When, on what and with which versions."""
    return (
        f"{about['date']}, {about['machine']}, {about['system']}, Python {about['python']}, plain asyncio on all "
        f"sides; moot {about['moot']}, msgspec {about['msgspec']}, autogen-core {about['autogen-core']}, "
        f"Rust {about['rust']}; load at the start {about['load']}."
    )


def row(workload: Workload, result: dict[str, Any]) -> str:
    """One workload's line."""
    cpu, ratios = result["cpu_us"], result["ratios"]
    floor, rival, rust = ratios["floor"], ratios.get(RIVAL.name), ratios.get(RUST.name)
    return " | ".join(
        [
            f"| {workload.text}",
            f"{cpu['moot']:,.2f} µs",
            f"{cpu['floor']:,.2f} µs",
            f"**{floor['median']:.2f}** ({floor['low']:.2f}–{floor['high']:.2f})",
            f"≥ {workload.must}" if workload.must else "",
            f"{rival['median']:.0f} ({rival['low']:.0f}–{rival['high']:.0f})" if rival else "",
            f"≥ {workload.must_rival:.0f}" if workload.must_rival else "",
            f"{rust['median']:.2f} ({rust['low']:.2f}–{rust['high']:.2f}) |" if rust else "|",
        ]
    )


def main() -> int:
    """Run everything and report; exit 1 when a figure that must be reached is not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 rounds of a fifth of the size; writes nothing")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    rounds, shrink = (3, 0.2) if options.quick else (options.rounds, 1.0)
    results: dict[str, Any] = {"machine": machine(), "rounds": rounds, "compared": []}
    for workload in COMPARED:
        result = compare(workload, rounds, shrink)
        results["compared"].append(result)
        print(row(workload, result), file=sys.stderr, flush=True)
    results["idle"] = {program.name: measure(program, IDLE, 1.0) for program in (FLOOR, OURS)}
    results["lag"] = measure(OURS, LAG, 1.0)
    results["growth"] = measure(OURS, GROWTH, 1.0)
    text = table(results)
    print(text)
    if not options.quick:
        (HERE / "RESULTS.md").write_text(text)
        write_into_readme(text)
        (HERE / "RESULTS.json").write_text(json.dumps(results, indent=1) + "\n")
    missed = list(misses(results))
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if missed else 0


def misses(results: dict[str, Any]) -> Iterable[str]:
    """The figures that did not reach what they must."""
    for workload, result in zip(COMPARED, results["compared"], strict=True):
        floor, rival = result["ratios"]["floor"]["median"], result["ratios"].get(RIVAL.name)
        if workload.must and floor < workload.must:
            yield f"{workload.text}: {floor:.2f} of the floor, must be {workload.must}"
        if workload.must_rival and rival and rival["median"] < workload.must_rival:
            yield f"{workload.text}: {rival['median']:.1f} times the rival, must be {workload.must_rival}"
    idle = results["idle"]["moot"]
    if idle["bytes_per_agent"] > 560:
        yield f"an idle agent takes {idle['bytes_per_agent']:.0f} bytes, must be 560"
    if results["lag"]["worst_ms"] > 5:
        yield f"a timer comes {results['lag']['worst_ms']:.1f} ms late beside asks, must be 5"
    if idle["cpu_s"] > 3:
        yield f"registering 100,000 agents takes {idle['cpu_s']:.1f} s, must be 3"
    if results["growth"]["grown_mb"] > 5:
        yield f"memory grew by {results['growth']['grown_mb']:.1f} MB, must be 5"


if __name__ == "__main__":
    sys.exit(main())
