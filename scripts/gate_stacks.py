"""What the processes of a hanging step are doing: their stacks, Python's and native, seen from outside.

Every tool may be missing, forbidden or stuck, so each has a limit and all of them together have one, and the last
resort needs none: `faulthandler`, which a test process has set up to answer a signal even while another of its threads
holds the interpreter's lock.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from gate_watch import descendants, name_of, output_of

__all__ = ["answers", "print_stacks"]

PY_SPY = str(Path(sys.executable).with_name("py-spy"))
QUIET = ("auto-load off", "debuginfod enabled off", "print frame-arguments presence", "print thread-events off")

PYTHON_TOOLS = [[PY_SPY, "dump", "--native", "--pid"], [PY_SPY, "dump", "--pid"]]
NATIVE_TOOLS = [
    ["gdb", "-batch", "-nx", *(f"-iex=set {one}" for one in QUIET), "-ex=thread apply all backtrace 20", "-p"]
]
TOOL_LIMIT = 15.0
ALL_LIMIT = 60.0
PROCESSES = 10
LINES = 80

answers: dict[int, Path] = {}
"""Processes that, at SIGUSR1, write their stacks to a file: `faulthandler` of the plugin has been told to."""


def print_stacks(first: int | None = None) -> None:
    """Print the stacks of all that this process has started, those of ``first`` before the others."""
    until = time.monotonic() + ALL_LIMIT
    found = sorted(descendants(), key=lambda pid: pid != first)
    for pid in found[:PROCESSES]:
        print(f"---- stacks of {pid}: {name_of(pid)}", flush=True)
        python = _first_that_works(PYTHON_TOOLS, pid, until) or _answer(pid)
        native = _first_that_works(NATIVE_TOOLS, pid, until)
        print(_cut(python) + _cut(native) or "no tool could tell", flush=True)
    for pid in found[PROCESSES:]:
        print(f"---- also there: {pid}: {name_of(pid)}", flush=True)


def _first_that_works(tools: list[list[str]], pid: int, until: float) -> str:
    for tool in tools:
        left = min(TOOL_LIMIT, until - time.monotonic())
        if left > 0 and shutil.which(tool[0]):
            code, output = output_of(*tool, str(pid), seconds=left)
            if code == 0:
                return output
    return ""


def _answer(pid: int) -> str:
    """The stacks that the process itself writes."""
    file = answers.get(pid)
    if file is None or not file.exists():
        return ""
    with suppress(OSError):
        os.kill(pid, signal.SIGUSR1)
    until, size = time.monotonic() + 2, -1
    while time.monotonic() < until and (size <= 0 or size != file.stat().st_size):
        size = file.stat().st_size
        time.sleep(0.1)
    return file.read_text(errors="replace")


def _cut(text: str) -> str:
    """Both ends of a long text, in lines of bounded length."""
    lines = [f"  {line[:200]}\n" for line in text.splitlines()]
    if len(lines) > LINES:
        lines[LINES // 2 : -LINES // 2] = ["  …\n"]
    return "".join(lines)
