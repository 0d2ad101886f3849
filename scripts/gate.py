"""The gate's steps: format, lint, types, import contracts, package, start-up, tests.

Called by scripts/test inside the environment that it set up. Each step is one line with its seconds; the first red one
ends the run with its name. The tests come last, and their closing line is the last thing printed.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
UV = ROOT / ".venv-tools" / "bin" / "uv"
BYTECODE = ROOT / ".venv-tools" / "bytecode"

IMPORT_LIMIT = 0.120
HELP_LIMIT = 0.180


class Step(NamedTuple):
    """A named check; ``run`` says whether it holds."""

    name: str
    run: Callable[[], bool]


def call(*command: str | Path, cwd: Path = ROOT, quiet: bool = False) -> bool:
    """Run a command; with ``quiet`` its output is shown only when it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        check=False,
        text=True,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
    )
    if done.returncode and quiet:
        print(done.stdout)
    return done.returncode == 0


def build_and_smoke() -> bool:
    """Build sdist and wheel (from the sdist), install the wheel in clean environments and use it."""
    with tempfile.TemporaryDirectory(prefix="moot-package-") as folder:
        out = Path(folder)
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
            and quick("import moot", IMPORT_LIMIT, out, plain / "bin/python", "-W", "error", "-c", "import moot")
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
    done = subprocess.run(
        [str(environment / "bin/moot"), "version"], cwd=cwd, check=False, text=True, capture_output=True
    )
    lines = done.stderr.strip().splitlines()
    good = done.returncode == 2 and len(lines) == 1 and "pip install 'moot[cli]'" in lines[0]
    if not good:
        print(f"expected exit 2 and one line with the install command, got {done.returncode}:\n{done.stderr}")
    return good


def quick(what: str, limit: float, cwd: Path, *command: str | Path) -> bool:
    """Median CPU time of eleven runs within ``limit`` seconds, stretched by how much slower this machine is.

    How slow the machine is shows in what asyncio and msgspec alone take to import: 70 ms where the limits were set.
    They are imported in turn with the command, so that what else the machine does hits both.
    """
    python = Path(command[0]).with_name("python")
    taken = [(cpu_seconds(cwd, python, "-c", "import asyncio, msgspec"), cpu_seconds(cwd, *command)) for _ in range(11)]
    usual, best = (float(statistics.median(values)) for values in zip(*taken, strict=True))
    limit *= max(1.0, usual / 0.070)
    print(f"  {what}: {best * 1000:.0f} ms of CPU (limit {limit * 1000:.0f}; asyncio and msgspec {usual * 1000:.0f})")
    return best <= limit


def cpu_seconds(cwd: Path, *command: str | Path) -> float:
    """User and system time of one run of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([str(part) for part in command], cwd=cwd, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def tests(*options: str) -> Callable[[], bool]:
    """Pytest with these options."""
    return side_by_side(options)


def side_by_side(*runs: tuple[str, ...]) -> Callable[[], bool]:
    """Runs of pytest at the same time, each with its options; the output of the first is passed on as it comes.

    Closing lines are kept. A run that is red ends the others.
    """

    def run() -> bool:
        with tempfile.TemporaryDirectory(prefix="moot-tests-") as folder:
            started = [start(options, Path(folder) / str(number)) for number, options in enumerate(runs)]
            good = True
            for process, output in started:
                good = follow(process, output) and good
                if not good:
                    for other, _ in started:
                        other.terminate()
        return good

    return run


def start(options: tuple[str, ...], output: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """Begin a run of pytest that writes to ``output``.

    The hundreds of processes that the tests start share their bytecode, also where the shell forbids to write it beside
    the sources: compiling in each takes longer than what many of them test.
    """
    command = [sys.executable, "-m", "pytest", *options]
    environment = os.environ | {"PYTHONPYCACHEPREFIX": str(BYTECODE), "PYTHONDONTWRITEBYTECODE": ""}
    with output.open("wb") as file:
        return subprocess.Popen(command, cwd=ROOT, stdout=file, env=environment), output


def follow(process: subprocess.Popen[bytes], output: Path) -> bool:
    """Pass on what a run has written, up to its end; whether it is green."""
    with output.open(errors="replace") as file:
        while True:
            try:
                is_over = process.wait(0.2) is not None
            except subprocess.TimeoutExpired:
                is_over = False
            for line in iter(file.readline, ""):
                print(line, end="", flush=True)
                if re.search(r"\d+ (passed|failed|error).* in [\d.]+s", line):
                    closing.append(line.rstrip())
            if is_over:
                return process.returncode == 0


closing: list[str] = []

MANY_RUNS = [
    "tests/backends/test_conformance.py",
    "tests/backends/test_lives.py",
    "tests/patterns/market/test_laws.py",
    "tests/patterns/swarm",
    "tests/patterns/test_suite.py",
    "tests/replication",
    "tests/simulation",
    "tests/state",
    "tests/test_deadlock_random.py",
    "tests/test_flood.py",
    "tests/test_memory.py",
    "tests/test_random_programs.py",
]
"""Tests that run the same lines very often: measuring coverage would make them much slower, and find nothing more."""

FAST = [
    Step("format", lambda: call(BIN / "ruff", "format", "--check", ".")),
    Step("lint", lambda: call(BIN / "ruff", "check", "--quiet", ".")),
    Step("types (mypy)", lambda: call(BIN / "mypy")),
    Step("import contracts", lambda: call(BIN / "lint-imports", quiet=True)),
    Step("quick tests", tests("-q", "-m", "not slow and not model")),
]
FULL = [
    *FAST[:3],
    Step("types (pyright)", lambda: call(BIN / "pyright", "--warnings")),
    FAST[3],
    Step("package", build_and_smoke),
    Step(
        "tests, and tests of many runs",
        side_by_side(
            ("-q", "--durations=5", *MANY_RUNS),
            ("-q", "--durations=5", "--cov", "--cov-report=term", *(f"--ignore={one}" for one in MANY_RUNS)),
        ),
    ),
]


def main() -> int:
    """Run the steps in order, up to the first red one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="format, lint, types, import contracts and quick tests")
    steps = FAST if parser.parse_args().fast else FULL
    os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    if shutil.which("git"):
        call("git", "log", "-1", "--format=commit %h, %cs", quiet=False)
    spent: list[str] = []
    for step in steps:
        print(f"-- {step.name}", flush=True)
        started = time.monotonic()
        good = step.run()
        seconds = time.monotonic() - started
        spent.append(f"{step.name} {seconds:.1f} s")
        if not good:
            print(
                f"RED: {step.name} failed after {seconds:.1f} s; green before it: {', '.join(spent[:-1]) or 'nothing'}"
            )
            return 1
    print("green: " + ", ".join(spent))
    if closing:
        print(closing[-1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
