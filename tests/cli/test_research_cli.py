"""``moot research`` ends in one clear line and a documented exit code, whatever it is given."""

from __future__ import annotations

import contextlib
import errno
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import typer
from typer.testing import CliRunner, Result

from moot.cli import research_work
from moot.cli.research import research
from moot.engine.base import Engine
from moot.engine.errors import EngineError, EngineUnavailable
from moot.engine.scripted import ScriptedEngine

CORPUS = str(Path(__file__).parents[2] / "examples" / "corpus")
QUESTION = "How many noisy qubits are needed to factor RSA-2048?"

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(research)


@pytest.fixture(autouse=True)
def _no_engine_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MOOT_ENGINE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _run(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=stdin)


def _use(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    monkeypatch.setattr(research_work, "chosen_engine", lambda *_: engine)


def _assert_one_line(result: Result, text: str) -> None:
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("moot research:"))
    assert text in line
    assert "Traceback" not in result.stderr


def test_a_report_goes_to_stdout_and_progress_to_stderr() -> None:
    result = _run(QUESTION, "--sources", CORPUS, "--engine", "none")

    assert result.exit_code == 0
    assert result.stdout.startswith(f"# {QUESTION}\n")
    assert "20 million" in result.stdout
    assert "researcher_1: reads the sources" in result.stderr


def test_quiet_means_quiet() -> None:
    assert _run(QUESTION, "--sources", CORPUS, "--engine", "none", "-q").stderr == ""


def test_json_is_json() -> None:
    result = _run(QUESTION, "--sources", CORPUS, "--engine", "none", "--json")

    assert json.loads(result.stdout)["status"] == "extracts"


def test_several_sources_may_follow_one_option() -> None:
    files = [f"{CORPUS}/quantum-algorithms.md", f"{CORPUS}/error-correction.md"]

    result = _run(QUESTION, "--sources", *files, "--engine", "none", "--json")

    assert [file["path"] for file in json.loads(result.stdout)["indexed"]] == files


def test_the_report_can_go_to_a_file(tmp_path: Path) -> None:
    result = _run(QUESTION, "--sources", CORPUS, "--engine", "none", "--output", str(tmp_path / "report.md"))

    assert (result.exit_code, result.stdout) == (0, "")
    assert (tmp_path / "report.md").read_text(encoding="utf-8").startswith(f"# {QUESTION}")


def test_not_found_is_exit_1() -> None:
    result = _run("Who invented the laser?", "--sources", CORPUS, "--engine", "none")

    assert result.exit_code == 1
    assert "Not found in the sources" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["", "--sources", CORPUS], "no question"),
        ([QUESTION], "no sources"),
        ([QUESTION, "--sources", "/nowhere"], "no such file or folder: /nowhere"),
        ([QUESTION, "--sources", CORPUS, "--model", "gigantic"], "unknown model 'gigantic'"),
        ([QUESTION, "--sources", CORPUS, "--engine", "steam"], "unknown engine 'steam'"),
        ([QUESTION, "--sources", CORPUS, "--model", "/nowhere/model.gguf"], "/nowhere/model.gguf"),
        ([QUESTION, "--sources", CORPUS, "--engine", "none", "--output", "/nowhere/r.md"], "no such folder"),
        ([QUESTION, "--sources", CORPUS, "--engine", "none", "--output", CORPUS], "it is a folder"),
        (
            [QUESTION, "--sources", CORPUS, "--engine", "none", "--output", f"{CORPUS}/error-correction.md"],
            "the sources",
        ),
        ([QUESTION, "--sources", "a" * 5_000, "--engine", "none"], "cannot open"),
        ([QUESTION, "--sources", "~nobody_here/x.md", "--engine", "none"], "cannot open"),
        ([QUESTION, "--sources", CORPUS, "--engine", "openai:x@127.0.0.1:9/v1"], "openai:MODEL@http://host:port/v1"),
        ([QUESTION, "--sources", CORPUS, "--engine", "openai:x@http://localhost:99999/v1"], "not an http(s) URL"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments: list[str], text: str) -> None:
    _assert_one_line(_run(*arguments), text)


@pytest.mark.parametrize(("raw", "text"), [(b"", "empty"), (b"\0\1\2\3", "binary")])
def test_a_source_that_cannot_be_read_is_one_line_and_exit_2(tmp_path: Path, raw: bytes, text: str) -> None:
    (tmp_path / "file.txt").write_bytes(raw)

    _assert_one_line(_run(QUESTION, "--sources", str(tmp_path / "file.txt"), "--engine", "none"), text)


def test_an_engine_that_cannot_start_is_one_line_and_exit_2(monkeypatch: pytest.MonkeyPatch) -> None:
    class Down(ScriptedEngine):
        async def start(self) -> None:
            raise EngineError("no server answers at http://localhost:1")

    _use(monkeypatch, Down())

    _assert_one_line(_run(QUESTION, "--sources", CORPUS), "no server answers at http://localhost:1")


def test_an_engine_that_never_answers_is_one_line_and_exit_2(monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, ScriptedEngine(lambda _: EngineError("model overloaded")))

    _assert_one_line(_run(QUESTION, "--sources", CORPUS), "model overloaded")


def test_a_context_that_is_too_small_is_one_line_and_exit_2(monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, ScriptedEngine(context_size=256))

    _assert_one_line(_run(QUESTION, "--sources", CORPUS), "too small: 256 tokens")


def test_an_engine_that_fails_on_the_way_is_exit_3_with_the_partial_report(monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, ScriptedEngine(["factoring\n", EngineError("server gone")]))

    result = _run(QUESTION, "--sources", CORPUS)

    assert result.exit_code == 3
    assert "Partial result" in result.stdout
    assert "server gone" in result.stdout
    assert "20 million" in result.stdout
    assert "moot research: The engine failed, so the rest is quotes: server gone" in result.stderr.splitlines()


def test_an_engine_that_dies_during_the_first_call_leaves_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, ScriptedEngine(lambda _: EngineUnavailable("there", "the connection broke")))

    result = _run(QUESTION, "--sources", CORPUS)

    assert result.exit_code == 3
    assert "20 million" in result.stdout
    assert "the connection broke" in result.stderr


def test_a_report_that_its_file_does_not_take_goes_to_stdout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)

    result = _run(QUESTION, "--sources", CORPUS, "--engine", "none", "--output", str(tmp_path / "report.md"))

    assert result.exit_code == 2
    assert "No space left on device; the report went to stdout" in result.stderr
    assert "20 million" in result.stdout


def _shell(command: str) -> subprocess.CompletedProcess[str]:
    moot = f"{Path(sys.executable).parent / 'moot'} research '{QUESTION}' -s {CORPUS} --engine none"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command.format(moot)}"], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("command", "code", "line"),
    [
        ("{} -q | true", 0, ""),
        ("{} -q > /dev/full", 2, "moot research: cannot write the report to stdout: No space left on device"),
        ("{} -q >&-", 2, "moot research: there is no stdout to write to; name a file with --output"),
        ("{} 2>&- | grep -q '20 million'", 0, ""),
        ("{} 2>/dev/full | grep -q '20 million'", 0, ""),
    ],
)
def test_where_nobody_reads_there_is_no_traceback(command: str, code: int, line: str) -> None:
    done = _shell(command)

    assert (done.returncode, done.stderr.strip()) == (code, line)


def test_serve_ends_when_nobody_reads_the_answers() -> None:
    request = '{"from": "me", "to": "researcher_1", "message_type": "research_request", "content": {"topic": "Willow"}}'

    with subprocess.Popen(
        [Path(sys.executable).parent / "moot", "research", "--serve", "-q", "-s", CORPUS, "--engine", "none"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(request + "\n")
        process.stdin.flush()

        code = process.wait(timeout=30)

        assert (code, process.stderr.read()) == (0, "")


def test_sigterm_before_the_first_quote_is_an_interruption() -> None:
    slow = _HANGING.replace(
        'ScriptedEngine(["factoring\\n", hang])',
        'type("Slow", (ScriptedEngine,), {"start": lambda self: hang(None)})()',
    )
    with _hanging(slow) as process:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)

    assert process.returncode == 130
    assert errors.splitlines() == ["moot research: interrupted"]


def test_serve_answers_each_line_and_ends_with_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        {
            "from": "me",
            "to": "researcher_1",
            "message_type": "research_request",
            "id": "a",
            "content": {"topic": "Willow"},
        },
        {"from": "me", "to": "researcher_1", "message_type": "research_request", "id": "b", "content": {"topic": 5}},
        {"from": "me", "to": "nobody", "message_type": "research_request", "id": "c", "content": {"topic": "x"}},
        {"from": "me", "to": "researcher_1", "message_type": "greet", "id": "d", "content": {}},
    ]
    written: list[bytes] = []

    async def stdin() -> object:
        for line in [*map(msgspec.json.encode, lines), b"no message", b"  "]:
            yield line

    monkeypatch.setattr(research_work, "stdin_lines", stdin)
    monkeypatch.setattr(research_work, "write_line", written.append)

    result = _run("--serve", "--sources", CORPUS, "--engine", "none")

    assert result.exit_code == 0
    replies = {reply.get("causation"): reply for reply in map(msgspec.json.decode, written)}
    assert replies["a"]["message_type"] == "research_report"
    assert replies["a"]["to"] == "me"
    assert replies["a"]["content"]["claims"]
    assert [replies[key]["content"]["error"] for key in ("b", "c")] == ["InvalidPayload", "UnknownAgent"]
    assert replies["d"]["message_type"] == "error"
    assert replies[None]["content"]["error"] == "MessageError"


def test_a_missing_extra_is_one_line_that_names_the_command() -> None:
    code = (
        "import sys; sys.modules['snowballstemmer'] = None\n"
        "import typer\nfrom moot.cli.research import research\n"
        "app = typer.Typer()\napp.command()(research)\napp()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, QUESTION, "--sources", CORPUS, "--engine", "none"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "pip install 'moot[research]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_with_what_was_found(number: signal.Signals) -> None:
    with _hanging(_HANGING) as process:
        process.send_signal(number)
        printed, errors = process.communicate(timeout=30)

    assert process.returncode == 130, errors
    assert "Interrupted: this is what was found until then." in printed
    assert "20 million" in printed
    assert "Traceback" not in errors


def test_a_second_ctrl_c_does_not_lose_what_was_found() -> None:
    slow = _HANGING.replace(
        "ScriptedEngine([", 'type("Slow", (ScriptedEngine,), {"close": lambda self: hang("close")})(['
    )
    with _hanging(slow) as process:
        process.send_signal(signal.SIGTERM)  # in the model call
        _until_it_hangs(process)
        process.send_signal(signal.SIGTERM)  # in the closing
        printed, errors = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "20 million" in printed
    assert errors.splitlines() == ["moot research: interrupted"]


def test_a_question_of_a_page_is_one_line_of_progress() -> None:
    result = _run("qubits\nRSA-2048 " * 1_000, "--sources", CORPUS, "--engine", "none")

    assert result.exit_code == 0
    assert max(map(len, result.stderr.splitlines())) <= 400
    assert all(line.startswith(("researcher_1: ", "analyst_1: ", "writer_1: ")) for line in result.stderr.splitlines())


_HANGING = """
import asyncio, sys, typer
from moot.cli import research_work
from moot.cli.research import research
from moot.engine.scripted import ScriptedEngine

async def hang(request):
    print("hanging", file=sys.stderr, flush=True)
    await asyncio.Event().wait()

research_work.chosen_engine = lambda *_: ScriptedEngine(["factoring\\n", hang])
app = typer.Typer()
app.command()(research)
app()
"""


@contextlib.contextmanager
def _hanging(code: str) -> Iterator[subprocess.Popen[str]]:
    """A run of a program that says "hanging" on stderr, at the moment when it hangs."""
    command = [sys.executable, "-W", "error", "-c", code, QUESTION, "--sources", CORPUS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        _until_it_hangs(process)
        yield process


def _until_it_hangs(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    while "hanging" not in process.stderr.readline():
        assert process.poll() is None
