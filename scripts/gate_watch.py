"""The watchdog of the gate: every process is started here, has a limit, and is ended with all that it started.

It stands outside the processes that it watches. A native library that waits while it holds the interpreter's lock stops
every timer inside its process, that of pytest-timeout too; so the clock and the means to end such a process must be
elsewhere. Nobody here waits for a process to close a pipe: output goes to the gate's own output or to a file.
"""

from __future__ import annotations

import atexit
import ctypes
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO

__all__ = [
    "ROOT",
    "Overdue",
    "call",
    "command",
    "descendants",
    "end_all",
    "limit",
    "name_of",
    "output_of",
    "patience",
    "reap_orphans",
    "start",
    "take_charge",
]

ROOT = Path(__file__).resolve().parent.parent

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
END_LIMIT = 10.0
"""Seconds after which a process that SIGKILL does not end is given up: it waits in the kernel."""
REMIND = 10.0

SET_CHILD_SUBREAPER = 36


class Overdue(Exception):
    """Something took longer than its limit; ``pid`` is its process, where that is known."""

    def __init__(self, what: str, seconds: float, pid: int | None = None) -> None:
        super().__init__(f"{what} took longer than {seconds:g} s")
        self.what, self.seconds, self.pid = what, seconds, pid


def patience() -> float:
    """The number by which a slow machine stretches all limits."""
    text = os.environ.get("MOOT_GATE_PATIENCE") or "1"
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise SystemExit(f"MOOT_GATE_PATIENCE is a number by which the limits are stretched, such as 2, not {text!r}")


@contextmanager
def limit(what: str, seconds: float) -> Iterator[None]:
    """Raise `Overdue` in the body after so many seconds, whatever it waits for.

    Again from time to time: Python drops what is raised in a destructor.
    """

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise Overdue(what, seconds)

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, REMIND)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def take_charge() -> None:
    """Let orphans become children of this process, and let nothing outlive it that a signal ends, or an error."""
    atexit.register(end_all)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


_started: list[subprocess.Popen[bytes]] = []


def start(
    *words: str | Path,
    cwd: Path = ROOT,
    output: IO[bytes] | int | None = None,
    errors: IO[bytes] | int | None = None,
    environment: dict[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Begin a command in a session of its own, so that a signal to its group reaches nothing else."""
    process = subprocess.Popen(
        [str(word) for word in words],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        env=environment,
        start_new_session=True,
    )
    _started.append(process)
    return process


def call(*words: str | Path, cwd: Path = ROOT, quiet: bool = False) -> bool:
    """Run a command; with ``quiet`` its output is shown only when it fails."""
    if not quiet:
        return start(*words, cwd=cwd).wait() == 0
    code, output = output_of(*words, cwd=cwd)
    if code:
        print(output)
    return code == 0


def output_of(*words: str | Path, cwd: Path = ROOT, seconds: float | None = None) -> tuple[int, str]:
    """The exit code of a command, and what it wrote; after so many seconds it is killed."""
    with tempfile.TemporaryFile() as file:
        process = start(*words, cwd=cwd, output=file, errors=subprocess.STDOUT)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            code = -signal.SIGKILL
        file.seek(0)
        return code, file.read().decode(errors="replace")


def command(*words: str | Path, quiet: bool = False) -> Callable[[Path], bool]:
    """A step that is one command."""
    return lambda _folder: call(*words, quiet=quiet)


def descendants() -> list[int]:
    """The children of this process, their children and so on, parents first; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [os.getpid()]
    for pid in found:
        found += children.get(pid, [])
    return found[1:]


def name_of(pid: int) -> str:
    """The command line of a process; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").strip()[:200]
    except OSError:
        return ""


def reap_orphans(ours: Collection[int]) -> None:
    """Let the orphans that have ended vanish, as they would under init: a test may wait for that.

    ``ours`` have a `Popen` that wants their exit code.
    """
    if sys.platform != "linux":
        return
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    with suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, options)) is not None and ended.si_pid not in ours:
            os.waitpid(ended.si_pid, 0)


def end_all() -> None:
    """Kill all that this process has started, directly or not; say what was still running.

    SIGKILL only: a process that waits in native code handles no other signal. Orphans come to this process, so walking
    down from it finds also what moved to a session of its own. The signals that end the gate wait meanwhile.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [*ENDING, signal.SIGALRM])
    try:
        found = descendants()
        running = [f"{pid} {name[:80]}" for pid in found if (name := name_of(pid))]
        _kill([*found, *(-process.pid for process in _started if process.returncode is None)])
        give_up = time.monotonic() + END_LIMIT
        while left := descendants():  # a process may start another while it is found
            _kill(left)
            time.sleep(0.01)
            reap_orphans(())
            if time.monotonic() > give_up:
                break
        _started.clear()
        if running:
            print("  was still running: " + "; ".join(running[:10]) + ("; …" if running[10:] else ""), flush=True)
        if left:
            print(f"  could not be ended: {left}", flush=True)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _kill(pids: list[int]) -> None:
    """A negative number is a group."""
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
