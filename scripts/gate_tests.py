"""The runs of pytest in the gate: side by side, and each test of them with a limit that is judged from outside."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import gate_stacks
from gate_watch import ROOT, Overdue, patience, reap_orphans, start

__all__ = ["Margins", "Pytest", "closing", "side_by_side"]

BYTECODE = ROOT / ".venv-tools" / "bytecode"

AT_ONCE = 2
"""Runs at a time: as many as the cores of the smallest machine that runs the gate."""

closing: list[str] = []
"""The closing lines of the runs so far."""


class Margins(NamedTuple):
    """Seconds until a test process is held to hang, stretched by the patience."""

    test: float = 60
    """In a test: on top of what pytest-timeout gives it."""
    between: float = 180
    """Between tests, before the first and after the last one; and in a test that has no timeout of its own."""
    end: float = 5
    """For a run that is told to end, as the run beside it is red."""


MARGINS = Margins()


class Pytest(NamedTuple):
    """A run of pytest with these options, on this Python."""

    options: tuple[str, ...]
    python: str | Path = sys.executable


def side_by_side(*runs: Pytest, margins: Margins = MARGINS) -> Callable[[Path], bool]:
    """A step: runs of pytest, two at a time in the order given; closing lines are kept.

    The output of the first is passed on as it comes, that of the others after it. A run that is red ends the others.
    """

    def run(folder: Path) -> bool:
        started: list[Run] = []
        try:
            return _follow(started, [(one, folder / str(number), margins) for number, one in enumerate(runs)])
        except Overdue as overdue:
            if overdue.pid is not None:
                raise
            raise Overdue(f"{overdue.what} ({'; '.join(one.now for one in started)})", overdue.seconds) from None
        finally:
            for one in started:
                one.pass_on()

    return run


def _follow(started: list[Run], waiting: list[tuple[Pytest, Path, Margins]]) -> bool:
    """Start what waits as there is room, up to the end of all or of the first that is red; whether all are green."""
    going: list[Run] = []
    while going or waiting:
        while waiting and len(going) < AT_ONCE:
            going.append(Run(*waiting.pop(0)))
            started.append(going[-1])
        try:
            going[0].process.wait(0.2)
        except subprocess.TimeoutExpired:
            pass
        for one in going:
            one.judge()
        going = [one for one in going if one.process.poll() is None]
        reap_orphans([one.process.pid for one in started])
        for one in started:
            one.pass_on()
            if one in going:
                break
        if any(one.process.returncode for one in started):
            _end(going, started[0].margins.end)
            return False
    return True


def _end(going: list[Run], grace: float) -> None:
    """Ask these runs to end; who does not is killed when the step ends."""
    for one in going:
        one.process.terminate()
    for one in going:
        try:
            one.process.wait(grace)
        except subprocess.TimeoutExpired:
            print(f"  {one.now}: did not end by itself within {grace:g} s")


class Run:
    """A run of pytest: its process, what it writes, and what it says is running.

    The hundreds of processes that the tests start share their bytecode, also where the shell forbids to write it beside
    the sources: compiling in each takes longer than what many of them test.
    """

    def __init__(self, pytest: Pytest, output: Path, margins: Margins) -> None:
        told = output.with_suffix(".told")
        told.touch()
        environment = os.environ | {"PYTHONPYCACHEPREFIX": str(BYTECODE), "PYTHONDONTWRITEBYTECODE": ""}
        plugin = ("-p", "scripts.gate_plugin", f"--tell={told}")  # one word: else pytest looks there for its settings
        with output.open("wb") as file:
            self.process = start(
                *(pytest.python, "-m", "pytest", *plugin, *pytest.options), output=file, environment=environment
            )
        gate_stacks.answers[self.process.pid] = Path(f"{told}.stacks")
        self.now = "before the first test"
        self._limit = margins.between * patience()
        self._since = time.monotonic()
        self.margins = margins
        self._output, self._told = output.open(errors="replace"), told.open()
        self._rest = ""

    def judge(self) -> None:
        """Hear what is running now; raise `Overdue` when it is past its limit."""
        lines, _, self._rest = (self._rest + self._told.read()).rpartition("\n")
        if lines:
            self.now, own = json.loads(lines.rpartition("\n")[2])
            self._since = time.monotonic()
            test, between, _ = self.margins
            self._limit = own + test * patience() if own else between * patience()
        if self.process.poll() is None and time.monotonic() - self._since > self._limit:
            raise Overdue(self.now, self._limit, self.process.pid)

    def pass_on(self) -> None:
        """Print what it has written since the last time."""
        for line in iter(self._output.readline, ""):
            print(line, end="", flush=True)
            if re.search(r"\d+ (passed|failed|error).* in [\d.]+s", line):
                closing.append(line.rstrip())
