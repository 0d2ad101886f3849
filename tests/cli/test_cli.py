"""The command line: plain output where nobody watches, exit codes that mean something, one line for what went wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

MOOT = str(Path(sys.executable).parent / "moot")
COMMANDS = "research run demo simulate models bench doctor inspect dlq vacuum version".split()

APPS = """
from moot import Agent, AgentContext, AgentManager, Payload, handles

class Hello(Payload):
    text: str

class Printer(Agent):
    @handles
    async def hello(self, message: Hello, ctx: AgentContext) -> None:
        print(message.text, flush=True)

    async def on_stop(self, ctx: AgentContext) -> None:
        print("printer stopped", flush=True)

async def fill(manager: AgentManager) -> None:
    await manager.register(Printer("printer"))

async def make() -> AgentManager:
    manager = AgentManager()
    await manager.register(Printer("printer"))
    return manager

ready = AgentManager()
nothing = 42

def forgetful() -> None: ...

def greedy(manager: AgentManager, more: int) -> None: ...
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_agents.py").write_text(APPS)
    (tmp_path / "broken_agents.py").write_text("import no_such_library\n")
    return tmp_path


def moot(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MOOT, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def test_help_names_every_command() -> None:
    done = moot("--help")

    assert done.returncode == 0
    for command in COMMANDS:
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    done = moot(command, "--help")

    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: moot {command} ")
    assert "\x1b[" not in done.stdout


def test_the_version_is_one_line_or_an_object() -> None:
    line, data = moot("version"), moot("version", "--json")

    assert line.stdout.startswith("moot 0.")
    assert json.loads(data.stdout)["moot"] == line.stdout.split()[1]


def test_an_unknown_command_is_a_usage_error() -> None:
    done = moot("sing")

    assert done.returncode == 2
    assert done.stdout == ""
    assert "No such command 'sing'" in done.stderr


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("my_agents", "is not MODULE:APP"),
        ("no_such_module:app", "there is no module 'no_such_module'"),
        ("broken_agents:app", "module 'broken_agents' needs 'no_such_library'"),
        ("my_agents:no_such_name", "it offers: "),
        ("my_agents:no_such_name", "it offers: fill, make, ready, forgetful, greedy\n"),
        ("my_agents:nothing", "is of type int, not an AgentManager or a function"),
        ("my_agents:greedy", "takes more than a manager"),
        ("../my_agents:fill", "is a path; name a module"),
        ("my_agents:forgetful", "it must return an AgentManager or take one"),
    ],
)
def test_run_says_in_one_line_what_it_cannot_run(target: str, words: str, folder: Path) -> None:
    done = moot("run", target, cwd=folder)

    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_run_names_the_engines_when_it_does_not_know_one(folder: Path) -> None:
    done = moot("run", "my_agents:fill", "--engine", "steam", cwd=folder)

    assert done.returncode == 2
    assert done.stderr.startswith("moot: unknown engine 'steam'; use one of: local, ")
    assert len(done.stderr.splitlines()) == 1


def test_a_full_disk_is_one_line() -> None:
    done = subprocess.run(["bash", "-c", f"{MOOT} version > /dev/full"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (1, "moot: cannot write: No space left on device\n")


@pytest.mark.parametrize("app", ["fill", "make", "ready"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_run_stops_in_order_on_a_signal(app: str, number: signal.Signals, code: int, folder: Path) -> None:
    with subprocess.Popen(
        [MOOT, "run", f"my_agents:{app}"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "is running" in process.stderr.readline()

        process.send_signal(number)
        printed, said = process.communicate(timeout=30)

    assert process.returncode == code
    assert printed == ("" if app == "ready" else "printer stopped\n")
    assert said == "moot: stopping\n"


def test_doctor_finds_the_core_working() -> None:
    done = moot("doctor", "--json")

    found = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 0
    assert found["core"]["status"] == "ok"
    assert set(found) == {"python", "cores", "memory", "core", "extras", "disk", "model", "engine"}


def test_doctor_says_how_to_get_a_model(tmp_path: Path) -> None:
    done = moot("doctor", MOOT_CACHE_DIR=str(tmp_path / "empty"))

    assert done.returncode == 0
    assert "moot models pull" in done.stdout


def test_bench_measures_and_reports_as_data() -> None:
    done = moot("bench", "ask", "--size", "200", "--json")

    (row,) = json.loads(done.stdout)
    assert row["name"] == "ask"
    assert row["cpu_us"] > 0


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; '{MOOT}' doctor --json | head -c 1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )

    assert done.stderr == ""
