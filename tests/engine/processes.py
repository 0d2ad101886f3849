"""What the tests of llama.cpp's process share: planted children, facts about processes, and programs to kill."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from moot.engine.llama import process
from moot.engine.local import LocalEngine, ProcessPolicy

PROLOGUE = """
import json, os, signal, socket, sys, threading, time
settings = json.loads(sys.argv[1])
control = socket.socket(fileno=os.dup(0))
def say(**facts): control.sendall(json.dumps(facts).encode() + b"\\n")
def ready(): say(context_size=settings["context_size"], pid=os.getpid())
def connection():
    data, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    if not data: os._exit(0)
    taken = socket.socket(fileno=descriptors[0])
    taken.makefile("rb").readline()
    taken.sendall(b'{"taken": true}\\n')
    return taken
def beat(quiet=0.0):
    while True:
        say(quiet=quiet, longest=0.0)
        time.sleep(settings["beat"])
def beats(quiet=0.0): threading.Thread(target=beat, args=(quiet,), daemon=True).start()
def answer(taken):
    taken.sendall(b'{"choices": [{"delta": {"content": "yes"}, "finish_reason": "stop"}]}\\n{}\\n')
    taken.close()
"""
"""A child that a test plants speaks the same protocol with these words."""


@contextlib.contextmanager
def planted(monkeypatch: pytest.MonkeyPatch, folder: Path, body: str) -> Iterator[Path]:
    """Let engines run this script instead of llama.cpp; gives a file that passes for a model."""
    script = folder / "planted.py"
    script.write_text(PROLOGUE + textwrap.dedent(body), "utf-8")
    monkeypatch.setattr(process, "CHILD", script)
    model = folder / "planted.gguf"
    model.write_bytes(b"GGUF")
    yield model
    assert living(script) == []


def played(
    monkeypatch: pytest.MonkeyPatch, folder: Path, body: str, main: Callable[[Path], Coroutine[Any, Any, None]]
) -> None:
    """Run ``main(model)`` while engines run ``body`` instead of llama.cpp."""
    with planted(monkeypatch, folder, body) as model:
        asyncio.run(main(model))


def engine_on(model: Path, *, silence: float | None = None, **options: Any) -> LocalEngine:
    return LocalEngine(model, name="planted", threads=1, process=ProcessPolicy(silence=silence), **options)


def living(mark: Path | str) -> list[int]:
    """The processes that run and whose command line has ``mark``, zombies left out."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [pid for pid in pids if str(mark) in command_line(pid)]


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return ""


def open_files(pid: int) -> list[str]:
    """What a process's descriptors stand for, as Linux names it."""
    return [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]


def working_folder(pid: int) -> Path:
    return Path(f"/proc/{pid}/cwd").readlink()


def told_by_proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text("utf-8").strip()


def wait_until_gone(pid: int, seconds: float) -> bool:
    """Whether the process ends within ``seconds``; a process that is nobody's child is watched by its descriptor."""
    import select

    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


@contextlib.contextmanager
def program(code: str, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program whose lines can be read; killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    with process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)


def said(process: subprocess.Popen[str]) -> str:
    """The next line that a program prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()
