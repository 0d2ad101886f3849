"""The checks of `moot doctor`: each is one finding, with what to do about it where something is wrong."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from moot import AgentManager, Request
from moot.engine.models.cache import ModelState, cache_dir, model_state
from moot.engine.models.catalogue import CATALOGUE, Model

__all__ = ["Finding", "file_findings", "findings"]

GIB = 2**30

EXTRAS = {
    "local": "xllamacpp",
    "openai": "openai",
    "research": "selectolax",
    "pdf": "pypdf",
    "hub": "huggingface_hub",
    "uvloop": "uvloop",
    "swarm": "scipy",
    "numba": "numba",
    "plot": "matplotlib",
    "signing": "cryptography",
}
"""Extras by the module that shows whether they are there (``cli`` is, or this would not run)."""


class Finding(msgspec.Struct, frozen=True):
    """One check: ``failed`` means that Moot cannot work here, ``missing`` that a part of it cannot."""

    name: str
    status: Literal["ok", "missing", "failed"]
    text: str


def findings() -> list[Finding]:
    """All checks, in the order in which they are worth reading."""
    checks: list[Callable[[], Finding]] = [python, cores, memory, core, extras, disk, model, engine]
    return [check() for check in checks]


def file_findings(file: Path, *, accept: bool) -> list[Finding]:
    """What is found in the file of a durable system, after its loss was accepted if that is wished."""
    from moot.backends.sqlite.check import check
    from moot.backends.sqlite.repair import repairing
    from moot.cli.files import printing, safe

    with printing("let it run: it has found its file whole"):
        if accept:
            with repairing(file, accept=True) as held:
                said = LOST.format(held.lost) if held.lost else LOG_LOST if held.is_torn else NOTHING_LOST
                print(f"moot: {said}", file=sys.stderr)
                held.accept()
        return [Finding(one.name, "ok" if one.ok else "failed", safe(one.text)) for one in check(file)]


LOST = (
    "the last {} batches of changes are lost, and the system goes on without them: mail, states and answers are "
    "as before; what was handled since is handled again, and what was accepted since is not there"
)
LOG_LOST = (
    "what the log held is lost, and the system goes on without: mail, states and answers are as they were before; "
    "what was handled since is handled again, and what was accepted since is not there"
)
NOTHING_LOST = "nothing is missing, so there is nothing to accept"


def python() -> Finding:
    version = platform.python_version()
    good = sys.version_info >= (3, 11)
    return Finding("python", "ok" if good else "failed", version if good else f"{version}; Moot needs 3.11 or newer")


def cores() -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Finding("cores", "ok", f"{usable} usable, load average {os.getloadavg()[0]:.1f}")


def memory() -> Finding:
    total, free = memory_bytes()
    if total is None:
        return Finding("memory", "ok", "not known on this system")
    text = f"{total / GIB:.1f} GiB" + (f", {free / GIB:.1f} available" if free is not None else "")
    if free is not None and free < 2 * GIB:
        return Finding("memory", "missing", f"{text}; the default model wants about 2: use --model small or tiny")
    return Finding("memory", "ok", text)


def memory_bytes() -> tuple[int | None, int | None]:
    """Total and available memory; None where the system does not say."""
    facts = Path("/proc/meminfo")
    if facts.exists():
        lines = dict(line.split(":", 1) for line in facts.read_text().splitlines())
        return int(lines["MemTotal"].split()[0]) * 1024, int(lines["MemAvailable"].split()[0]) * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), None
    return None, None


def core() -> Finding:
    """A message to an agent and its answer, on this installation."""
    try:
        answer = asyncio.run(asyncio.wait_for(one_ask(), timeout=5))
    except Exception as error:  # noqa: BLE001 - whatever is wrong is the finding
        return Finding("core", "failed", f"an agent could not be asked: {type(error).__name__}: {error}")
    return Finding("core", "ok", answer)


class Check(Request[str]):
    text: str


async def checker(message: Check) -> str:
    return message.text


async def one_ask() -> str:
    async with AgentManager() as manager:
        await manager.register(checker)
        return await manager.ask("checker", Check(text="an agent was asked and answered"), timeout=4)


def extras() -> Finding:
    there = [name for name, module in EXTRAS.items() if importlib.util.find_spec(module) is not None]
    missing = [name for name in EXTRAS if name not in there]
    text = f"here: cli, {', '.join(there)}" if there else "here: cli"
    if missing:
        text += f"; not here: {', '.join(missing)} (python -m pip install 'moot[{','.join(missing)}]')"
    return Finding("extras", "ok" if "local" in there or "openai" in there else "missing", text)


def disk() -> Finding:
    folder = cache_dir()
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    text = f"{free / GIB:.1f} GiB free for {folder}"
    if not os.access(there, os.W_OK):
        return Finding("disk", "missing", f"{text}, which cannot be written; set MOOT_CACHE_DIR to a folder that can")
    if free < 3 * GIB and not ready_models():
        return Finding("disk", "missing", f"{text}; the default model needs about 2.4 while it is put together")
    return Finding("disk", "ok", text)


def ready_models() -> list[Model]:
    """The models in the cache, smallest first."""
    return sorted(
        (model for model in CATALOGUE if model_state(model) is ModelState.READY), key=lambda model: model.size
    )


def model() -> Finding:
    ready = ready_models()
    if not ready:
        return Finding("model", "missing", "none in the cache; run: moot models pull")
    names = ", ".join(f"{model.name} ({model.title})" for model in reversed(ready))
    return Finding("model", "ok", f"{names} in {cache_dir()}")


def engine() -> Finding:
    """Whether the embedded engine loads, and answers on the smallest model that is here."""
    if importlib.util.find_spec("xllamacpp") is None:
        return Finding("engine", "missing", "the embedded engine is an extra: python -m pip install 'moot[local]'")
    ready = ready_models()
    code = "import xllamacpp" if not ready else TRY_ENGINE
    done = subprocess.run(
        [sys.executable, "-c", code, *(model.name for model in ready[:1])],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return Finding("engine", "missing", f"the embedded engine does not work here: {reason}; use --engine openai:…")
    return Finding("engine", "ok", done.stdout.strip() or "the embedded engine loads; no model to try it on")


TRY_ENGINE = """
import asyncio, sys, time
from moot.engine.choose import open_engine
from moot.engine.base import ChatMessage, EngineRequest, SamplingParams

async def main():
    engine = open_engine(f"local:{sys.argv[1]}")
    started = time.monotonic()
    request = EngineRequest(messages=(ChatMessage("user", "Hello"),), sampling=SamplingParams(max_tokens=4))
    await engine.generate(request)
    await engine.close()
    print(f"{engine.name} loaded and answered in {time.monotonic() - started:.1f} s")

asyncio.run(main())
"""
"""Run in a process of its own: a library that does not fit the processor ends the process, not the doctor."""
