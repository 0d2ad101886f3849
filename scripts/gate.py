"""The gate's steps: format, lint, types, import contracts, package, start-up, tests on each Python.

Called by scripts/test inside the environment that it set up. Each step says its seconds when it ends; the first red one
ends the run with its name. The tests come last, and their closing line is the last thing printed. Each step has a
limit, and so has each test: see gate_watch.py and gate_tests.py.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pythons
from gate_stacks import print_stacks
from gate_tests import Pytest, closing, side_by_side
from gate_watch import ROOT, Overdue, call, command, end_all, limit, output_of, patience, start, take_charge

BIN = Path(sys.executable).parent
UV = ROOT / ".venv-tools" / "bin" / "uv"

IMPORT_LIMIT = 0.120
IMPORT = "from moot import Agent, AgentManager, Request, handles"
HELP_LIMIT = 0.060


class Step(NamedTuple):
    """A named check; ``run`` gets an empty folder and says whether it holds."""

    name: str
    limit: float
    """In seconds: at least four times what it takes on two busy cores; a hung test is found much sooner."""
    run: Callable[[Path], bool]


def build_and_smoke(out: Path) -> bool:
    """Build sdist and wheel (from the sdist), install the wheel in clean environments and use it."""
    if not call(UV, "build", "--quiet", "--out-dir", out / "dist", quiet=True):
        return False
    wheel = next((out / "dist").glob("*.whl"))
    if next((out / "dist").glob("*.tar.gz"), None) is None:
        print("no sdist was built")
        return False
    plain, cli = out / "plain", out / "cli"
    return (
        install(plain, str(wheel))
        and call(plain / "bin/python", "-W", "error", "-c", "import moot", cwd=out)
        and call(plain / "bin/python", "-W", "error", ROOT / "examples/01_ping_pong.py", cwd=out, quiet=True)
        and quick(IMPORT, IMPORT_LIMIT, out, plain / "bin/python", "-W", "error", "-c", IMPORT)
        and says_how_to_install(plain, out)
        and install(cli, f"{wheel}[cli]")
        and call(cli / "bin/moot", "version", cwd=out)
        and quick("moot --help", HELP_LIMIT, out, cli / "bin/moot", "--help")
    )


def install(environment: Path, requirement: str) -> bool:
    """Make a clean environment with this requirement in it, compiled as pip leaves it.

    Otherwise the first import would compile it and, where the shell forbids Python to write bytecode, each one would.
    """
    pip = (UV, "pip", "install", "--quiet", "--compile-bytecode", "--python", environment / "bin/python")
    return call(UV, "venv", "--quiet", "--python", sys.executable, environment, quiet=True) and call(
        *pip, requirement, quiet=True
    )


def says_how_to_install(environment: Path, cwd: Path) -> bool:
    """Without its extra, the command ends with one line that names the install command."""
    code, output = output_of(environment / "bin/moot", "version", cwd=cwd)
    lines = output.strip().splitlines()
    good = code == 2 and len(lines) == 1 and "pip install 'moot[cli]'" in lines[0]
    if not good:
        print(f"expected exit 2 and one line with the install command, got {code}:\n{output}")
    return good


def quick(what: str, most: float, cwd: Path, *words: str | Path) -> bool:
    """Median CPU time of eleven runs within ``most`` seconds, stretched by how much slower this machine is.

    How slow the machine is shows in what asyncio and msgspec alone take to import: 70 ms where the limits were set.
    They are imported in turn with the command, so that what else the machine does hits both.
    """
    python = Path(words[0]).with_name("python")
    taken = [(cpu_seconds(cwd, python, "-c", "import asyncio, msgspec"), cpu_seconds(cwd, *words)) for _ in range(11)]
    usual, best = (float(statistics.median(values)) for values in zip(*taken, strict=True))
    most *= max(1.0, usual / 0.070)
    print(f"  {what}: {best * 1000:.0f} ms of CPU (limit {most * 1000:.0f}; asyncio and msgspec {usual * 1000:.0f})")
    return best <= most


def cpu_seconds(cwd: Path, *words: str | Path) -> float:
    """User and system time of one run of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    if code := start(*words, cwd=cwd, output=subprocess.DEVNULL).wait():
        raise subprocess.CalledProcessError(code, words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def commit(_folder: Path) -> bool:
    """Say what is tested."""
    if shutil.which("git"):
        call("git", "log", "-1", "--format=%h, %cs")
    return True


BOTH_WAYS = "tests/promises/test_both_ways.py"

MANY_RUNS = [
    "tests/backends/test_conformance.py",
    "tests/backends/test_lives.py",
    "tests/patterns/market/test_laws.py",
    "tests/patterns/swarm",
    "tests/patterns/test_suite.py",
    "tests/replication",
    "tests/testing/simulation",
    "tests/state",
    "tests/runtime/liveness/test_deadlock_random.py",
    BOTH_WAYS,
    "tests/promises/test_flood.py",
    "tests/promises/test_memory.py",
    "tests/promises/test_random_programs.py",
]
"""Tests that run the same lines very often: measuring coverage would make them much slower, and find nothing more."""

QUEUED = [
    "tests/agent",
    "tests/backends/test_conformance.py",
    "tests/manager",
    "tests/promises",
    "tests/runtime",
    f"--ignore={BOTH_WAYS}",
    "--ignore=tests/promises/test_flood.py",
]
"""What runs a second time with every ask through the queue of ready agents: half a minute of CPU."""


def all_tests(folder: Path) -> bool:
    """All tests on this Python, some with all asks queued, and the quick ones on the other Pythons.

    Those that stand last fill the core that becomes free first.
    """
    many = Pytest(("-q", "--durations=5", *MANY_RUNS))
    rest = Pytest(("-q", "--durations=5", "--cov", "--cov-report=term", *(f"--ignore={one}" for one in MANY_RUNS)))
    queued = Pytest(("-q", "--queued", *QUEUED))
    others = pythons.quick_tests([one for one in MANY_RUNS if one != BOTH_WAYS])
    return side_by_side(many, rest, queued, *others)(folder)


FAST = [
    Step("commit", 60, commit),
    Step("format", 120, command(BIN / "ruff", "format", "--check", ".")),
    Step("lint", 120, command(BIN / "ruff", "check", "--quiet", ".")),
    Step("types (mypy)", 600, command(BIN / "mypy")),
    Step("import contracts", 300, command(BIN / "lint-imports", quiet=True)),
    Step("quick tests", 1800, side_by_side(Pytest(("-q", "-m", "not slow and not model")))),
]
FULL = [
    *FAST[:4],
    Step("types (pyright)", 600, command(BIN / "pyright", "--warnings")),
    FAST[4],
    Step("package", 600, build_and_smoke),
    Step("environments of other Pythons", 900, pythons.prepare),
    Step("tests, tests of many runs, and quick tests on other Pythons", 2700, all_tests),
]


def run_steps(steps: Sequence[Step]) -> int:
    """Run the steps in order, up to the first red one; the gate's exit code."""
    take_charge()
    spent: list[str] = []
    for step in steps:
        print(f"-- {step.name}", flush=True)
        started = time.monotonic()
        is_green, hung = run_step(step)
        seconds = time.monotonic() - started
        print(f"-- {step.name}: {'green' if is_green else 'red'}, {seconds:.1f} s", flush=True)
        if not is_green:
            print(
                f"RED: {step.name} failed after {seconds:.1f} s{hung}; green before it: {', '.join(spent) or 'nothing'}"
            )
            return 1
        spent.append(f"{step.name} {seconds:.1f} s")
    print("green: " + ", ".join(spent))
    if pythons.skipped:
        print(f"skipped {len(pythons.skipped)}: {', '.join(pythons.skipped)}")
    print("\n".join(closing))
    return 0


def run_step(step: Step) -> tuple[bool, str]:
    """Run a step within its limit; whether it is green, and what of it hung. Nothing that it started is left."""
    with tempfile.TemporaryDirectory(prefix="moot-gate-", ignore_cleanup_errors=True) as folder:
        try:
            with limit(step.name, step.limit * patience()):
                return step.run(Path(folder)), ""
        except Overdue as overdue:
            print_stacks(overdue.pid)
            return False, f": {overdue}"
        finally:
            end_all()


def main() -> int:
    """Run all steps, or the fast ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="format, lint, types, import contracts and quick tests")
    steps = FAST if parser.parse_args().fast else FULL
    os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return run_steps(steps)


if __name__ == "__main__":
    sys.exit(main())
