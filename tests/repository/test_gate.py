"""The gate ends what hangs, says which test it was, and leaves no process behind.

Each test plants steps or test files in a gate of its own, which is a process. Its limits are short where something
hangs for ever, and long where it must end by itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

HEAD = """
import sys
sys.path.insert(0, "scripts")
import gate_stacks
from gate import Step, run_steps
from gate_tests import Margins, Pytest, side_by_side
from gate_watch import command
"""

HOLD = """
import ctypes, os, pathlib, subprocess, sys

def hold_the_lock():
    library, lock = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
    library.pthread_mutex_lock(lock)
    library.pthread_mutex_lock(lock)

def leave_a_process():
    started = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    pathlib.Path(__file__).with_name("pid").write_text(str(started.pid))
"""
"""For a planted test: a library that waits for ever and, as it is a PyDLL, keeps the interpreter's lock."""

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "MOOT_GATE_PATIENCE"} | {
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTEST_ADDOPTS": "",
}


def gate(*lines: str, patience: str = "1") -> subprocess.CompletedProcess[str]:
    """Run a gate with these lines of Python, to its end and that of all that holds its output."""
    return subprocess.run(
        [sys.executable, "-c", "\n".join([HEAD, *lines])],
        cwd=ROOT,
        env=ENVIRONMENT | {"MOOT_GATE_PATIENCE": patience},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def plant(folder: Path, body: str, *more: str, name: str = "test_planted.py") -> str:
    """Write a test file; the words that run it in pytest, with ``more`` options."""
    (folder / name).write_text(f"{HOLD}\n{body}\n")
    (folder / "pytest.ini").write_text("[pytest]\n")
    options = ("-q", "-ra", "-p", "pytest_timeout", "-c", str(folder / "pytest.ini"), "--rootdir", str(folder))
    return f"Pytest({(*options, *more, '-p', 'no:cacheprovider', str(folder / name))!r})"


def last(done: subprocess.CompletedProcess[str]) -> str:
    """The last line of its output."""
    return done.stdout.rstrip().rpartition("\n")[2]


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def left_by(folder: Path) -> int:
    return int((folder / "pid").read_text())


def test_a_test_that_holds_the_interpreters_lock_is_ended_and_named_with_its_stacks(tmp_path: Path) -> None:
    planted = plant(
        tmp_path,
        "import pytest\n"
        "leave_a_process()\n"
        "@pytest.mark.timeout(0.5)\n"
        "def test_hangs():\n    hold_the_lock()\n"
        "def test_next():\n    pass",
    )

    done = gate(f"sys.exit(run_steps([Step('planted', 40, side_by_side({planted}, margins=Margins(test=0.5)))]))")

    assert done.returncode == 1, done.stdout + done.stderr
    assert last(done).startswith("RED: planted failed after")
    assert "test_planted.py::test_hangs took longer than 1 s" in last(done)
    assert "hold_the_lock" in done.stdout
    assert not is_there(left_by(tmp_path))


@pytest.mark.parametrize("tools", ["[['sleep', '1000']]", "[['no-such-tool']]"])
def test_the_stacks_do_not_depend_on_the_tools_that_dump_them(tmp_path: Path, tools: str) -> None:
    planted = plant(tmp_path, "def test_hangs():\n    hold_the_lock()", "--timeout=0.5")

    done = gate(
        f"gate_stacks.PYTHON_TOOLS = gate_stacks.NATIVE_TOOLS = {tools}",
        "gate_stacks.TOOL_LIMIT = 0.2",
        f"sys.exit(run_steps([Step('planted', 40, side_by_side({planted}, margins=Margins(test=0.5)))]))",
    )

    assert done.returncode == 1, done.stdout + done.stderr
    assert "test_planted.py::test_hangs took longer than 1 s" in last(done)
    assert "in hold_the_lock" in done.stdout


def test_a_test_process_that_hangs_outside_of_its_tests_is_ended_and_named(tmp_path: Path) -> None:
    planted = plant(tmp_path, "hold_the_lock()")

    done = gate(f"sys.exit(run_steps([Step('planted', 40, side_by_side({planted}, margins=Margins(between=1)))]))")

    assert done.returncode == 1, done.stdout + done.stderr
    assert "before the first test took longer than 1 s" in last(done)


def test_a_step_that_hangs_is_ended_and_named_and_ends_the_gate() -> None:
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"

    done = gate(
        f"deaf = command(sys.executable, '-c', {ignore!r})",
        "steps = [Step('first', 40, command('true')), Step('deaf', 1, deaf), Step('third', 40, command('true'))]",
        "sys.exit(run_steps(steps))",
        patience="1.5",
    )

    assert done.returncode == 1, done.stdout + done.stderr
    assert "deaf took longer than 1.5 s" in last(done)
    assert "green before it: first" in last(done)
    assert "third" not in done.stdout
    assert "---- stacks of" in done.stdout


def test_what_a_green_test_leaves_running_in_a_session_of_its_own_is_ended(tmp_path: Path) -> None:
    planted = plant(tmp_path, "def test_leaves():\n    leave_a_process()")

    done = gate(f"sys.exit(run_steps([Step('planted', 40, side_by_side({planted}))]))")

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{left_by(tmp_path)} sleep 1000" in done.stdout
    assert not is_there(left_by(tmp_path))


def test_a_green_gate_names_the_seconds_of_each_step_and_ends_with_pytests_closing_line(tmp_path: Path) -> None:
    planted = plant(tmp_path, "def test_good():\n    pass")

    done = gate(
        f"sys.exit(run_steps([Step('one', 40, command('true')), Step('planted', 40, side_by_side({planted}))]))"
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert last(done).startswith("1 passed in")
    assert "-- one: green, 0." in done.stdout
    assert "-- planted: green, " in done.stdout


def test_runs_beyond_two_wait_for_a_place_and_are_heard_in_their_order(tmp_path: Path) -> None:
    runs = [plant(tmp_path, f"def test_{name}():\n    pass", name=f"test_{name}.py") for name in ("a", "b", "c")]

    done = gate(f"sys.exit(run_steps([Step('planted', 40, side_by_side({', '.join(runs)}))]))")

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("1 passed in") == 6  # each run, and each closing line again at the end
    planted = plant(tmp_path, "def test_bad():\n    raise AssertionError")
    done = gate(f"sys.exit(run_steps([Step('planted', 40, side_by_side({runs[0]}, {runs[1]}, {planted}))]))")
    assert done.returncode == 1
    assert "test_planted.py::test_bad" in done.stdout


def test_the_settings_of_this_project_hold_in_its_runs() -> None:
    done = gate(
        "markers = Pytest(('--markers', '-p', 'pytest_timeout'))",
        "sys.exit(run_steps([Step('markers', 1000, side_by_side(markers))]))",
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "@pytest.mark.slow: " in done.stdout


def test_a_red_run_is_named_and_ends_the_run_beside_it(tmp_path: Path) -> None:
    slow = plant(tmp_path, "def test_waits():\n    leave_a_process()\n    hold_the_lock()", name="test_slow.py")
    bad = plant(
        tmp_path,
        "def test_bad():\n"
        "    while not pathlib.Path(__file__).with_name('pid').exists(): pass\n"
        "    raise AssertionError",
        name="test_bad.py",
    )

    done = gate(f"sys.exit(run_steps([Step('planted', 1000, side_by_side({slow}, {bad}))]))")

    assert done.returncode == 1, done.stdout + done.stderr
    assert "test_bad.py::test_bad" in done.stdout
    assert last(done).startswith("RED: planted failed after")
    assert "-- planted: red, " in done.stdout
    assert not is_there(left_by(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_ends_the_gate_ends_all_that_it_started(tmp_path: Path, number: signal.Signals) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text(f"{HOLD}\nleave_a_process()\nprint(os.getpid(), flush=True)\nhold_the_lock()")
    code = f"{HEAD}\nsys.exit(run_steps([Step('planted', 40, command(sys.executable, {str(planted)!r}))]))"

    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE
    ) as started:
        assert started.stdout is not None
        pid = next(int(line) for line in started.stdout if line.strip().isdecimal())
        started.send_signal(number)
        started.stdout.read()

    assert started.returncode == 128 + number
    assert not is_there(pid)
    assert not is_there(left_by(tmp_path))
